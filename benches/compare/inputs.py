"""Rows and queries to compare with, and the true neighbours, found by measuring every row.

* `words`: 5,000 entries of WordNet as embeddings of 384 components, in the repository.
* `texts`: 50,000 of them, made out of packages by texts.py.
* `fashion`: Fashion-MNIST, 60,000 images of 784 components, from Debian's package dataset-fashion-mnist.
* a folder: `base.npy` and `query.npy`, or `base.f16.npy` and `query.f16.npy`.

Distances are squared Euclidean. Embeddings of texts are of unit length, so that distances order as cosines do.
"""

import gzip
import subprocess
import sys
from pathlib import Path

from environment import DATA, ROOT, unpacked

FASHION, MOST_QUERIES = "usr/share/datasets/fashion-mnist", 1000
SEED, K = 20261121, 10


def name_of(given):
    return Path(given).resolve().name if "/" in given else given


def source(given):
    """Rows and queries as they come."""
    import numpy as np

    if given == "fashion":
        folder = unpacked("dataset-fashion-mnist", FASHION)

        def images(file):
            return np.frombuffer(gzip.open(folder / file).read(), np.uint8, offset=16).reshape(-1, 784)

        return images("train-images-idx3-ubyte.gz"), images("t10k-images-idx3-ubyte.gz")
    folder = {"words": ROOT / "demo" / "data", "texts": DATA / "texts"}.get(given, Path(given))
    if given == "texts" and not (folder / "base.f16.npy").exists():
        subprocess.run([sys.executable, str(Path(__file__).with_name("texts.py"))], check=True)
    whole = (folder / "base.npy").exists()
    if not whole and not (folder / "base.f16.npy").exists():
        sys.exit(f"{given}: there is neither base.npy nor base.f16.npy in it; known names are words, texts and fashion")
    return tuple(np.load(folder / f"{part}{'' if whole else '.f16'}.npy") for part in ("base", "query"))


def prepared(given, most_rows=None):
    """A folder with `rows.npy` and `queries.npy` as float32, for every process to read; made anew if the source changed."""
    import numpy as np

    rows, queries = source(given)
    rows, queries = (np.ascontiguousarray(part, dtype=np.float32) for part in (rows[:most_rows], queries[:MOST_QUERIES]))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if np.all(np.abs(lengths - 1) < 0.01):
        rows, queries = rows / lengths, queries / np.linalg.norm(queries, axis=1, keepdims=True)
    folder = DATA / f"{name_of(given)}-{len(rows)}"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "rows.npy", rows)
    np.save(folder / "queries.npy", queries)
    return folder, rows, queries


class Live:
    """Rows under tags, as the engines are meant to have them now; and what a search of them has to find."""

    def __init__(self, rows, queries):
        self.rows, self.queries, self.at, self.limits = rows, queries, {}, None

    def insert(self, tags, places):
        self.at.update(zip(tags, places, strict=True))
        self.limits = None

    def delete(self, tags):
        for tag in tags:
            self.at.pop(tag, None)
        self.limits = None

    def _distances(self, places, queries):
        import numpy as np

        return np.square(self.rows[places].astype(np.float64) - queries[:, None].astype(np.float64)).sum(-1)

    def _limits(self):
        """Of each query the distance of its K-th neighbour: whatever is as near is a hit, so that ties count."""
        import numpy as np

        places = np.fromiter(self.at.values(), np.int64)
        rows = self.rows[places]
        scores = np.einsum("ij,ij->i", rows, rows) - 2 * self.queries @ rows.T
        # Some more than K, measured again without rounding.
        near = np.argpartition(scores, min(K + 20, len(places) - 1), axis=1)[:, : K + 20]
        return np.sort(self._distances(places[near], self.queries), axis=1)[:, min(K, len(places)) - 1]

    def recall(self, found):
        """Of the answers to the first queries, lists of tags: the part of the true neighbours that they hold."""
        import numpy as np

        if self.limits is None:
            self.limits = self._limits()
        hits = 0
        for query, limit, tags in zip(self.queries, self.limits, found, strict=False):
            places = [self.at[tag] for tag in set(tags[:K]) if tag in self.at]
            if places:
                hits += int(np.sum(self._distances(np.array(places), query[None])[0] <= limit * (1 + 1e-6)))
        return hits / (min(K, len(self.at)) * len(found))

    def sees(self, tags, found):
        """The part of searches for these tags' own rows that find them."""
        return sum(tag in answer for tag, answer in zip(tags, found, strict=True)) / len(tags)

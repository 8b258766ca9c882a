#!/usr/bin/env python3
"""Search and building beside peers, in turns in one run, one thread: hnswlib and the SymphonyQG graph of the RaBitQ library.

    python3 benches/compare/search_peers.py FOLDER [--metric cosine|l2] [--rounds 3 --passes 5]
    python3 benches/compare/search_peers.py fashion-mnist IDX_FOLDER OUT_FOLDER
    python3 benches/compare/search_peers.py descriptors PHOTOGRAPHS OUT_FOLDER

FOLDER has base.f16.npy, query.f16.npy and gt100.npy (row numbers of the nearest rows of each query); the second form makes such a folder
of the files of Fashion-MNIST, the third of photographs (as many as it takes: 60 of 4 to 15 megapixels make 875,000 rows of 128 bytes). Ours is searched through the public interface, a call for each query, with `Effort::Recall`,
and beside it with fixed numbers of lists; peers get all queries in one call, which spares them the cost of calls from Python. Of several passes
over the queries the fastest counts, of several rounds the median. Times between two settings are interpolated.

Graphs are built with M=16 and ef_construction=200, or degree 32 and ef 200, by `--threads` threads and kept beside the data; how long
that took is kept with them (`--build` builds them anew). Results are kept in benches/results/search.json, by data.

The first run makes an environment of its own (numpy, faiss-cpu, hnswlib, rabitqlib) under target/, or where STRATAVEC_PEERS says.
Needs a release build: cargo build --release -p stratavec-benches --bin ivf_query.
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import environment
from environment import DATA, ROOT, load, provenance

TOOL = environment.TARGET / "release" / "ivf_query"
PACKAGES = ("numpy", "hnswlib", "rabitqlib")
TARGETS = (0.95, 0.98, 0.99)
K = 10
EFS = (10, 14, 20, 28, 40, 56, 80, 110, 160, 220, 320, 450)
SEED = 42


class Data:
    def __init__(self, folder, metric):
        import numpy as np

        self.folder, self.metric = Path(folder), metric
        self.base = np.load(self.folder / "base.f16.npy").astype(np.float32)
        self.queries = np.load(self.folder / "query.f16.npy").astype(np.float32)
        self.truth = np.load(self.folder / "gt100.npy")[:, :K]
        self.name = self.folder.resolve().name

    def units(self):
        """Rows and queries for a peer that knows no cosine: of unit length, where L2 gives the same order."""
        import numpy as np

        if self.metric != "cosine":
            return self.base, self.queries
        return tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (self.base, self.queries))

    def recall(self, found):
        import numpy as np

        return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, self.truth)])) / K


def built(data, name, build, save, load_index, args):
    """An index that was kept, or is built now; and the seconds its building took."""
    DATA.mkdir(parents=True, exist_ok=True)
    file, note = DATA / f"{data.name}.{name}", DATA / f"{data.name}.{name}.json"
    if not args.build and file.exists() and note.exists():
        return load_index(str(file)), json.loads(note.read_text())["build_s"]
    start = time.perf_counter()
    index = build()
    spent = time.perf_counter() - start
    save(index, str(file))
    note.write_text(json.dumps({"build_s": spent}))
    return index, spent


def hnsw(data, args):
    import hnswlib

    space, dim = ("cosine" if data.metric == "cosine" else "l2"), data.base.shape[1]

    def build():
        index = hnswlib.Index(space, dim)
        index.init_index(len(data.base), ef_construction=200, M=16, random_seed=SEED)
        index.set_num_threads(args.threads)
        index.add_items(data.base)
        return index

    def read(file):
        index = hnswlib.Index(space, dim)
        index.load_index(file, max_elements=len(data.base))
        return index

    index, spent = built(data, "hnswlib", build, lambda index, file: index.save_index(file), read, args)

    def ask(ef):
        index.set_ef(ef)
        return index.knn_query(data.queries, k=K, num_threads=1)[0]

    return ask, spent


def symqg(data, args):
    import numpy as np
    import rabitqlib

    base, queries = (np.ascontiguousarray(x, dtype=np.float32) for x in data.units())

    def build():
        index = rabitqlib.SymqgIndex(base.shape[1], 32, "l2")
        index.build(base, 200, num_threads=args.threads)
        return index

    read = rabitqlib.SymqgIndex.load
    index, spent = built(data, "symqg", build, lambda index, file: index.save(file), read, args)

    def ask(ef):
        answer = index.search(queries, K, ef, num_threads=1)
        return next(part for part in answer if np.issubdtype(part.dtype, np.integer))

    return ask, spent


def sweep(data, ask, passes):
    """Recall and seconds per query of each setting."""
    points = []
    for ef in EFS:
        best, found = float("inf"), None
        for _ in range(passes):
            start = time.perf_counter()
            found = ask(ef)
            best = min(best, time.perf_counter() - start)
        points.append((data.recall(found), best / len(data.queries)))
        if points[-1][0] > 0.995:
            break
    return points


def ours(data, args):
    """What the benchmark program found: points of fixed numbers of lists, points by recall asked for, and all it said."""
    words = [f"metric={data.metric}", f"passes={args.passes}", "parts=eb"]
    variables = {**os.environ, "STRATAVEC_BENCH_VECTORS": str(data.folder)}
    done = subprocess.run([str(TOOL), *words], env=variables, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    result = json.loads((ROOT / "benches" / "results" / f"ivf-query-{data.name}.json").read_text())
    figures = result["figures"]["efforts"]
    point = lambda figure: (figure["recall"], figure["pass_us"] * 1e-6)
    fixed = [point(figure) for figure in figures if figure["effort"].startswith("nprobe")]
    asked = {figure["effort"].split()[1]: point(figure) for figure in figures if figure["effort"].startswith("recall")}
    return fixed, asked, result


def rate_at(points, target):
    """Queries per second at a recall."""
    for (low, fast), (high, slow) in zip(points, points[1:]):
        if low <= target <= high and high > low:
            return 1 / (fast + (target - low) / (high - low) * (slow - fast))
    return None


def median(rates):
    rates = [rate for rate in rates if rate]
    return statistics.median(rates) if rates else None


def compare(args):
    data = Data(args.folder, args.metric)
    peers, build_s = {}, {}
    for name, make in (("hnswlib", hnsw), ("symqg", symqg)):
        peers[name], build_s[name] = make(data, args)
    rates = {name: {target: [] for target in TARGETS} for name in ("ours", "ours, fixed lists", *peers)}
    gains, loads, batches, memory = {}, [], [], []
    for _ in range(args.rounds):
        fixed, asked, result = ours(data, args)
        loads.append(result["load_s"])
        memory.append(result.get("load_peak_bytes"))
        batches.append({f'{f["effort"]} {f["threads"]} threads': round(f["gain"], 2) for f in result["figures"]["batches"]})
        for part, (recall, seconds) in asked.items():
            best = rate_at(fixed, recall)
            gains.setdefault(part, []).append((recall, 1 / seconds, best and 1 / seconds / best))
        for target in TARGETS:
            rates["ours"][target].append(rate_at(sorted(asked.values()), target))
            rates["ours, fixed lists"][target].append(rate_at(fixed, target))
        for name, ask in peers.items():
            points = sweep(data, ask, args.passes)
            for target in TARGETS:
                rates[name][target].append(rate_at(points, target))
    build_s["ours"] = statistics.median(loads)
    middle = {name: {str(t): median(of[t]) for t in TARGETS} for name, of in rates.items()}
    ratio = lambda a, b: round(a / b, 2) if a and b else None
    report = {
        "provenance": provenance(SEED, "hnswlib", "rabitqlib"), "rows": len(data.base), "dim": data.base.shape[1],
        "metric": data.metric, "rounds": args.rounds, "qps": {n: {t: r and round(r) for t, r in m.items()} for n, m in middle.items()},
        "ours_to": {name: {t: ratio(middle["ours"][t], middle[name][t]) for t in middle[name]} for name in peers},
        "build_s": {name: round(spent, 2) for name, spent in build_s.items()},
        "build_to": {name: ratio(build_s[name], build_s["ours"]) for name in peers},
        "load_peak_bytes": memory[-1],
        "asked_for": {part: {"recall": round(statistics.median(r for r, _, _ in of), 4), "qps": round(median([q for _, q, _ in of])),
                             "to_best_fixed": ratio(median([g for _, _, g in of]), 1)} for part, of in gains.items()},
        "batches": batches, "load_after": load(),
    }
    print(json.dumps(report, indent=1))
    keep(data.name, report)


def keep(name, report):
    file = ROOT / "benches" / "results" / "search.json"
    all_reports = json.loads(file.read_text()) if file.exists() else {}
    all_reports[name] = report
    file.write_text(json.dumps(all_reports, indent=1) + "\n")


def fashion(idx, out):
    """Makes the files of a folder from those of Fashion-MNIST: all training images, the first thousand test images."""
    import faiss
    import numpy as np

    def images(name):
        file = next(file for file in (Path(idx) / name, Path(idx) / (name + ".gz")) if file.exists())
        data = (gzip.open(file) if file.suffix == ".gz" else open(file, "rb")).read()
        return np.frombuffer(data, np.uint8, offset=16).reshape(-1, 784).astype(np.float32)

    base, queries = images("train-images-idx3-ubyte"), images("t10k-images-idx3-ubyte")[:1000]
    index = faiss.IndexFlatL2(784)
    index.add(base)
    write(out, base, queries, index)


def descriptors(photographs, out):
    """Makes the files of a folder from photographs: SIFT descriptors, each once, in no order; a thousand are queries, and of the rest as many tens of
    thousands as there are."""
    import cv2
    import faiss
    import numpy as np

    found = []
    for file in sorted(Path(photographs).rglob("*")):
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) if file.is_file() else None
        if image is None:
            continue
        if max(image.shape) > 3840:
            scale = 3840 / max(image.shape)
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        _, described = cv2.SIFT_create(nfeatures=25_000, contrastThreshold=0.01).detectAndCompute(image, None)
        if described is not None and len(described) >= 1_500:
            found.append(described.astype(np.uint8))
    rows = np.unique(np.concatenate(found), axis=0)
    np.random.default_rng(9).shuffle(rows)
    count = (len(rows) - 1_000) // 10_000 * 10_000
    base, queries = rows[:count].astype(np.float32), rows[count : count + 1_000].astype(np.float32)
    index = faiss.IndexFlatL2(base.shape[1])
    index.add(base)
    write(out, base, queries, index)


def write(out, base, queries, index):
    import numpy as np

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "base.f16.npy", base.astype(np.float16))
    np.save(out / "query.f16.npy", queries.astype(np.float16))
    np.save(out / "gt100.npy", index.search(queries, 100)[1].astype(np.int32))


def main():
    if sys.argv[1:2] == ["descriptors"]:
        environment.enter("numpy", "faiss-cpu", "opencv-python-headless")
        return descriptors(*sys.argv[2:4])
    if sys.argv[1:2] == ["fashion-mnist"]:
        environment.enter("numpy", "faiss-cpu")
        return fashion(*sys.argv[2:4])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--metric", choices=("cosine", "l2"), default="cosine")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--build", action="store_true")
    args = parser.parse_args()
    environment.enter(*PACKAGES)
    compare(args)


if __name__ == "__main__":
    main()

"""Libraries without a store: an index in memory, or one file that is built once."""

import os

from . import Engine, lists_for


class Hnswlib(Engine):
    package, module, durable, changes = "hnswlib", "hnswlib", "file", True

    def start(self, ids, rows, folder, room):
        import hnswlib

        self.folder = folder
        self.index = hnswlib.Index("l2", rows.shape[1])
        self.index.init_index(room, ef_construction=200, M=16, random_seed=1, allow_replace_deleted=True)
        self.index.set_num_threads(1)
        self.index.add_items(rows, ids)

    def build(self, rows, folder):
        import numpy as np

        self.start(np.arange(len(rows)), rows, folder, len(rows))
        self.save(f"{folder}/index")

    def resume(self, folder, dim, room):
        import hnswlib

        self.folder = folder
        self.index = hnswlib.Index("l2", dim)
        self.index.load_index(f"{folder}/index", max_elements=room, allow_replace_deleted=True)
        self.index.set_num_threads(1)

    def open(self, folder, dim):
        self.resume(folder, dim, 0)

    def one(self, query, k, knob):
        self.index.set_ef(knob)
        return self.index.knn_query(query, k)[0][0]

    def insert(self, ids, rows):
        self.index.add_items(rows, ids, replace_deleted=True)

    def delete(self, ids):
        for number in ids.tolist():
            self.index.mark_deleted(number)

    def replace(self, ids, rows):
        self.index.add_items(rows, ids)

    def holds(self, ids):
        there = set(self.index.get_ids_list())
        return [number in there for number in ids.tolist()]

    def save(self, path):
        self.index.save_index(path)


class Usearch(Engine):
    package, module, durable, changes = "usearch", "usearch.index", "file", True

    def _empty(self, dim):
        from usearch.index import Index

        return Index(ndim=dim, metric="l2sq", dtype="bf16", connectivity=16, expansion_add=200)

    def start(self, ids, rows, folder, room):
        self.folder, self.index = folder, self._empty(rows.shape[1])
        self.insert(ids, rows)

    def build(self, rows, folder):
        import numpy as np

        self.start(np.arange(len(rows)), rows, folder, len(rows))
        self.save(f"{folder}/index")

    def resume(self, folder, dim, room):
        self.folder, self.index = folder, self._empty(dim)
        self.index.load(f"{folder}/index")

    def open(self, folder, dim):
        self.resume(folder, dim, 0)

    def one(self, query, k, knob):
        self.index.expansion_search = knob
        return self.index.search(query, k, threads=1).keys

    def insert(self, ids, rows):
        self.index.add(ids, rows, threads=1)

    def delete(self, ids):
        self.index.remove(ids, threads=1)

    def holds(self, ids):
        return self.index.contains(ids).tolist()

    def save(self, path):
        self.index.save(path)


class RabitqGraph(Engine):
    """SymphonyQG: codes of the neighbours beside each vertex of a graph."""

    package, module = "rabitqlib", "rabitqlib"
    knobs = (10, 16, 24, 32, 64, 128, 256)

    def build(self, rows, folder):
        import rabitqlib

        index = rabitqlib.SymqgIndex(rows.shape[1], 32, "l2")
        index.build(rows, 200, 1)
        index.save(f"{folder}/index")

    def open(self, folder, dim):
        import rabitqlib

        self.index = rabitqlib.SymqgIndex.load(f"{folder}/index")

    def one(self, query, k, knob):
        found = self.index.search(query[None], k, knob)
        return next(part for part in found if part.dtype.kind in "iu")[0]


class RabitqLists(Engine):
    """Seven bits for each component, in lists; no whole vectors. It numbers the rows itself."""

    package, module, durable, changes = "rabitqlib", "rabitqlib", "file", True
    knobs = (2, 4, 8, 16, 32, 64, 128, 256)

    def start(self, ids, rows, folder, room):
        import faiss
        import numpy as np
        import rabitqlib

        faiss.omp_set_num_threads(1)
        lists = lists_for(len(rows))
        means = faiss.Kmeans(rows.shape[1], lists, niter=10, seed=1)
        means.train(rows)
        nearest = means.index.search(rows, 1)[1][:, 0].astype(np.uint32)
        self.folder, self.index = folder, rabitqlib.IvfIndex(rows.shape[1], len(rows), lists, 7, "l2")
        self.index.build(rows, means.centroids, nearest, 1)
        self.names, self.places = list(ids.tolist()), {number: at for at, number in enumerate(ids.tolist())}

    def build(self, rows, folder):
        import numpy as np

        self.start(np.arange(len(rows)), rows, folder, len(rows))
        self.save(f"{folder}/index")

    def resume(self, folder, dim, room):
        import numpy as np
        import rabitqlib

        self.folder, self.index = folder, rabitqlib.IvfIndex.load(f"{folder}/index")
        self.names = np.load(f"{folder}/index.names.npy").tolist()
        self.places = {number: at for at, number in enumerate(self.names)}

    def open(self, folder, dim):
        self.resume(folder, dim, 0)

    def one(self, query, k, knob):
        found = self.index.search(query[None], k, knob)
        return [self.names[at] for at in next(part for part in found if part.dtype.kind in "iu")[0] if at < len(self.names)]

    def insert(self, ids, rows):
        for number, at in zip(ids.tolist(), self.index.add(rows).tolist(), strict=True):
            self.names.extend([-1] * (at + 1 - len(self.names)))
            self.names[at], self.places[number] = number, at

    def delete(self, ids):
        import numpy as np

        self.index.remove(np.array([self.places.pop(number) for number in ids.tolist()], np.uint32))

    def holds(self, ids):
        return [self.places.get(number, self.index.num_stored_points) < self.index.num_stored_points for number in ids.tolist()]

    def save(self, path):
        import numpy as np

        # Names first: a file of rows whose names are not there would be worth nothing.
        np.save(f"{self.folder}/names.npy", np.array(self.names))
        os.rename(f"{self.folder}/names.npy", f"{self.folder}/index.names.npy")
        self.index.save(path)


class DiskAnn(Engine):
    package, module = "diskannpy-rust", "diskannpy"
    knobs = (10, 20, 40, 80, 160)
    why_not = "its index on disk does not change; the one that does lives in memory"

    def build(self, rows, folder):
        import diskannpy

        diskannpy.build_disk_index(
            rows, "l2", folder, complexity=100, graph_degree=64, build_memory_maximum=8.0, num_threads=1, num_of_pq_chunks=rows.shape[1] // 4
        )
        os.remove(f"{folder}/ann_vectors.bin")  # What it was built from: searches do not read it.

    def open(self, folder, dim):
        import diskannpy

        self.index = diskannpy.StaticDiskIndex(folder, num_threads=1, beam_width=4)

    def one(self, query, k, knob):
        return self.index.search(query, k, max(knob, k)).identifiers

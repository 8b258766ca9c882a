"""One small adapter for each engine, all of one shape.

Every engine answers queries over rows that do not change: `build` makes an index of rows in a folder, `open` opens it, `one` answers one query with numbers
of rows. `knobs` are the values that are tried, from fast to thorough.

Those that `change` also take writes: `start` makes an index with first rows, `insert`, `delete` and `commit` change it, `resume` opens it again after
the process ended, `holds` says which ids are in it. `tidy` is the maintenance that the library leaves to its user.

One set of parameters each, near the library's own advice: M 16 and efConstruction 200, or lists as many as four times the root of the rows. Distances are
squared Euclidean, one thread where that can be said.
"""

import os


class Engine:
    package, module = None, None
    # What survives when `commit` returns: "power cut" (the library syncs), "kill" (the operating system has it), "file" (the library has no log: commit
    # writes the whole index to a file beside, syncs and renames it, as a careful program would), "nothing".
    durable = "nothing"
    knobs = (10, 16, 32, 64, 128, 256, 512)
    changes = False
    tidies = False
    why_not = "an index of it does not change once it is built"

    def refuses(self, rows):
        """Why it cannot search these rows, or None."""

    def build(self, rows, folder):
        raise NotImplementedError

    def open(self, folder, dim):
        raise NotImplementedError

    def one(self, query, k, knob):
        raise NotImplementedError

    def start(self, ids, rows, folder, room):
        """`room`: how many rows there will be at most."""
        raise NotImplementedError

    def resume(self, folder, dim, room):
        raise NotImplementedError

    def insert(self, ids, rows):
        raise NotImplementedError

    def delete(self, ids):
        raise NotImplementedError

    def replace(self, ids, rows):
        self.delete(ids)
        self.insert(ids, rows)

    def holds(self, ids):
        raise NotImplementedError

    def commit(self):
        """Everything written is as durable as the library makes it; most have done it before."""
        if self.durable == "file":
            self.save(f"{self.folder}/index.new")
            with open(f"{self.folder}/index.new", "rb") as file:
                os.fsync(file.fileno())
            os.rename(f"{self.folder}/index.new", f"{self.folder}/index")
            place = os.open(self.folder, os.O_RDONLY)
            os.fsync(place)
            os.close(place)

    def save(self, path):
        """The library's own way to write an index to a file."""
        raise NotImplementedError

    def tidy(self):
        """What makes searches fast again after writes, if that is left to the user."""


def lists_for(rows):
    return max(1, int(4 * rows**0.5))


from . import faiss, graphs, stores  # noqa: E402

ENGINES = {
    "stratavec": stores.Stratavec,
    "faiss-ivfpqfs-rflat": faiss.FastScan,
    "faiss-ivfflat": faiss.Flat,
    "hnswlib": graphs.Hnswlib,
    "usearch-bf16": graphs.Usearch,
    "lancedb-ivfrq": stores.Lancedb,
    "qdrant-edge": stores.QdrantEdge,
    "zvec-hnsw": stores.Zvec,
    "milvus-lite-hnsw": stores.MilvusLite,
    "rabitqlib-symqg": graphs.RabitqGraph,
    "rabitqlib-ivf7": graphs.RabitqLists,
    "diskann-rust": graphs.DiskAnn,
    "turbovec-4bit": stores.Turbovec,
    "sqlite-vec": stores.SqliteVec,
}

"""One small adapter for each engine, all of one shape.

`build` makes an index of rows in a folder, by one thread where that can be said; `open` opens it; `one` answers one query with numbers of rows. `knobs` are
the values that are tried, from fast to thorough. One set of parameters each, near the library's own advice: M 16 and efConstruction 200, or lists as
many as four times the root of the rows. Distances are squared Euclidean.
"""

import os


class Engine:
    package = None
    durable = "none"  # What is durable when a write returns: "power cut", "kill" or "none" (the file is written as a whole).
    knobs = (16, 32, 64, 128, 256, 512)

    def build(self, rows, folder):
        raise NotImplementedError

    def open(self, folder, rows):
        raise NotImplementedError

    def one(self, query, k, knob):
        raise NotImplementedError


class Stratavec(Engine):
    package, durable = "stratavec", "power cut"
    knobs = (2, 4, 8, 16, 32, 64, 128)

    def build(self, rows, folder):
        import numpy as np
        import stratavec

        with stratavec.open(f"{folder}/index", rows.shape[1], "l2", ids="u64", index="ivf") as c:
            c.bulk_load(np.arange(len(rows)), rows, progress=False)

    def open(self, folder, rows):
        import stratavec

        self.index = stratavec.open(f"{folder}/index", read_only=True)

    def one(self, query, k, knob):
        return self.index.search(query, k, nprobe=knob).ids


class Hnswlib(Engine):
    package = "hnswlib"

    def build(self, rows, folder):
        import hnswlib

        index = hnswlib.Index("l2", rows.shape[1])
        index.init_index(len(rows), ef_construction=200, M=16, random_seed=1)
        index.add_items(rows, num_threads=1)
        index.save_index(f"{folder}/index")

    def open(self, folder, rows):
        import hnswlib

        self.index = hnswlib.Index("l2", rows.shape[1])
        self.index.load_index(f"{folder}/index")
        self.index.set_num_threads(1)

    def one(self, query, k, knob):
        self.index.set_ef(knob)
        return self.index.knn_query(query, k)[0][0]


class FaissFastScan(Engine):
    """Product codes scanned fast, the best measured again with whole vectors."""

    package = "faiss-cpu"
    knobs = (2, 4, 8, 16, 32, 64, 128)

    def build(self, rows, folder):
        import faiss

        faiss.omp_set_num_threads(1)
        lists = int(4 * len(rows) ** 0.5)
        index = faiss.index_factory(rows.shape[1], f"IVF{lists},PQ{rows.shape[1] // 4}x4fs,RFlat")
        index.train(rows)
        index.add(rows)
        faiss.write_index(index, f"{folder}/index")

    def open(self, folder, rows):
        import faiss

        faiss.omp_set_num_threads(1)
        self.faiss, self.index = faiss, faiss.read_index(f"{folder}/index")

    def one(self, query, k, knob):
        terms = self.faiss.SearchParametersIVF(nprobe=knob)
        refine = self.faiss.IndexRefineSearchParameters(k_factor=8, base_index_params=terms)
        return self.index.search(query[None], k, params=refine)[1][0]


class FaissIvfFlat(FaissFastScan):
    """Whole vectors in lists."""

    def build(self, rows, folder):
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.index_factory(rows.shape[1], f"IVF{int(4 * len(rows) ** 0.5)},Flat")
        index.train(rows)
        index.add(rows)
        faiss.write_index(index, f"{folder}/index")

    def one(self, query, k, knob):
        return self.index.search(query[None], k, params=self.faiss.SearchParametersIVF(nprobe=knob))[1][0]


class Usearch(Engine):
    package = "usearch"

    def _index(self, dim):
        from usearch.index import Index

        return Index(ndim=dim, metric="l2sq", dtype="bf16", connectivity=16, expansion_add=200)

    def build(self, rows, folder):
        import numpy as np

        index = self._index(rows.shape[1])
        index.add(np.arange(len(rows)), rows, threads=1)
        index.save(f"{folder}/index")

    def open(self, folder, rows):
        self.index = self._index(rows.shape[1])
        self.index.load(f"{folder}/index")

    def one(self, query, k, knob):
        self.index.expansion_search = knob
        return self.index.search(query, k, threads=1).keys


class Lancedb(Engine):
    package = "lancedb"
    knobs = (4, 8, 16, 32, 64)

    def build(self, rows, folder):
        import lancedb
        import numpy as np
        import pyarrow as pa

        flat = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        table = lancedb.connect(folder).create_table("t", pa.table({"id": np.arange(len(rows)), "vector": flat}))
        lists = max(1, int(len(rows) ** 0.5))
        table.create_index(metric="l2", num_partitions=lists, num_sub_vectors=rows.shape[1] // 8, vector_column_name="vector", index_type="IVF_PQ")

    def open(self, folder, rows):
        import lancedb

        self.index = lancedb.connect(folder).open_table("t")

    def one(self, query, k, knob):
        found = self.index.search(query).select(["id"]).nprobes(knob).refine_factor(8).limit(k).to_arrow()
        return found["id"].to_pylist()


class QdrantEdge(Engine):
    package, durable = "qdrant-edge-py", "kill"

    def build(self, rows, folder):
        import qdrant_edge as q

        os.makedirs(f"{folder}/shard", exist_ok=True)
        graph = q.HnswIndexConfig(m=16, ef_construct=200, full_scan_threshold=10, max_indexing_threads=1)
        vectors = q.EdgeVectorParams(size=rows.shape[1], distance=q.Distance.Euclid)
        optimizers = q.EdgeOptimizersConfig(indexing_threshold=10, default_segment_number=1)
        shard = q.EdgeShard.create(f"{folder}/shard", q.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=optimizers))
        for start in range(0, len(rows), 5000):
            points = [q.Point(start + at, row.tolist()) for at, row in enumerate(rows[start : start + 5000])]
            shard.update(q.UpdateOperation.upsert_points(points))
        while shard.optimize():
            pass
        shard.flush()
        shard.close()

    def open(self, folder, rows):
        import qdrant_edge as q

        self.q, self.index = q, q.EdgeShard.load(f"{folder}/shard")

    def one(self, query, k, knob):
        q = self.q
        request = q.SearchRequest(query=q.Query.Nearest(query.tolist()), limit=k, params=q.SearchParams(hnsw_ef=knob))
        return [point.id for point in self.index.search(request)]


class Zvec(Engine):
    package, durable = "zvec", "kill"

    def build(self, rows, folder):
        import zvec
        from zvec.typing import DataType, MetricType

        graph = zvec.HnswIndexParam(metric_type=MetricType.L2, m=16, ef_construction=200)
        schema = zvec.CollectionSchema(name="t", vectors=zvec.VectorSchema("v", DataType.VECTOR_FP32, rows.shape[1], graph))
        index = zvec.create_and_open(f"{folder}/index", schema)
        for start in range(0, len(rows), 1000):
            index.insert([zvec.Doc(id=str(start + at), vectors={"v": row.tolist()}) for at, row in enumerate(rows[start : start + 1000])])
        index.optimize()
        index.flush()

    def open(self, folder, rows):
        import zvec

        self.zvec, self.index = zvec, zvec.open(f"{folder}/index")

    def one(self, query, k, knob):
        zvec = self.zvec
        terms = zvec.VectorQuery("v", vector=query.tolist(), param=zvec.HnswQueryParam(ef=knob))
        return [int(doc.id) for doc in self.index.query(terms, topk=k)]


class RabitqGraph(Engine):
    """SymphonyQG: codes of the neighbours beside each vertex of a graph."""

    package = "rabitqlib"
    knobs = (10, 16, 24, 32, 64, 128, 256)

    def build(self, rows, folder):
        import rabitqlib

        index = rabitqlib.SymqgIndex(rows.shape[1], 32, "l2")
        index.build(rows, 200, 1)
        index.save(f"{folder}/index")

    def open(self, folder, rows):
        import rabitqlib

        self.index = rabitqlib.SymqgIndex.load(f"{folder}/index")

    def one(self, query, k, knob):
        found = self.index.search(query[None], k, knob)
        return next(part for part in found if part.dtype.kind in "iu")[0]


class DiskAnn(Engine):
    package = "diskannpy-rust"
    knobs = (10, 20, 40, 80, 160)

    def build(self, rows, folder):
        import diskannpy

        diskannpy.build_disk_index(rows, "l2", folder, complexity=100, graph_degree=64, build_memory_maximum=8.0, num_threads=1, num_of_pq_chunks=rows.shape[1] // 4)

    def open(self, folder, rows):
        import diskannpy

        self.index = diskannpy.StaticDiskIndex(folder, num_threads=1, beam_width=4)

    def one(self, query, k, knob):
        return self.index.search(query, k, max(knob, k)).identifiers


class SqliteVec(Engine):
    """Every row is measured."""

    package, durable = "sqlite-vec", "power cut"
    knobs = (0,)

    def _connect(self, folder):
        import sqlite3

        import sqlite_vec

        db = sqlite3.connect(f"{folder}/index.db")
        if not hasattr(db, "enable_load_extension"):
            raise RuntimeError("this Python was built without extensions of SQLite")
        db.enable_load_extension(True)
        sqlite_vec.load(db)
        return db

    def build(self, rows, folder):
        db = self._connect(folder)
        db.execute(f"create virtual table t using vec0(v float[{rows.shape[1]}])")
        with db:
            db.executemany("insert into t(rowid, v) values (?, ?)", ((at + 1, row.tobytes()) for at, row in enumerate(rows)))
        db.close()

    def open(self, folder, rows):
        self.index = self._connect(folder)

    def one(self, query, k, knob):
        found = self.index.execute("select rowid from t where v match ? and k = ?", (query.tobytes(), k))
        return [row - 1 for (row,) in found]


ENGINES = {
    "stratavec": Stratavec,
    "faiss-ivfpqfs-rflat": FaissFastScan,
    "faiss-ivfflat": FaissIvfFlat,
    "hnswlib": Hnswlib,
    "usearch-bf16": Usearch,
    "lancedb-ivfpq": Lancedb,
    "qdrant-edge": QdrantEdge,
    "zvec-hnsw": Zvec,
    "rabitqlib-symqg": RabitqGraph,
    "diskann-rust": DiskAnn,
    "sqlite-vec": SqliteVec,
}

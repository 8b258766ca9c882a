"""Stores: they write their own files, and what was acknowledged outlives the process; some of them outlive the power, too."""

import os

from . import Engine


class Stratavec(Engine):
    package, module, durable, changes = "stratavec", "stratavec", "power cut", True
    knobs = (2, 4, 8, 16, 32, 64, 128, 256)

    def start(self, ids, rows, folder, room):
        self.resume(folder, rows.shape[1], room)
        self.index.bulk_load(ids, rows, progress=False)

    def build(self, rows, folder):
        import numpy as np

        self.start(np.arange(len(rows)), rows, folder, len(rows))
        self.index.close()

    def open(self, folder, dim):
        import stratavec

        self.index = stratavec.open(f"{folder}/index", read_only=True)

    def resume(self, folder, dim, room):
        import stratavec

        self.index = stratavec.open(f"{folder}/index", dim, "l2", ids="u64", index="ivf")

    def one(self, query, k, knob):
        return self.index.search(query, k, nprobe=knob).ids

    def insert(self, ids, rows):
        self.index.insert(ids, rows)

    def delete(self, ids):
        self.index.delete(ids)

    def replace(self, ids, rows):
        self.index.upsert(ids, rows)

    def holds(self, ids):
        return [number in self.index for number in ids.tolist()]


class Lancedb(Engine):
    package, module, durable, changes, tidies = "lancedb", "lancedb", "kill", True, True
    knobs = (4, 8, 16, 32, 64)

    def _table(self, ids, rows):
        import pyarrow as pa

        return pa.table({"id": ids, "vector": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])})

    def start(self, ids, rows, folder, room):
        import lancedb

        self.index = lancedb.connect(folder).create_table("t", self._table(ids, rows))
        lists = max(1, int(len(rows) ** 0.5))
        self.index.create_index(metric="l2", num_partitions=lists, vector_column_name="vector", index_type="IVF_RQ")

    def build(self, rows, folder):
        import numpy as np

        self.start(np.arange(len(rows)), rows, folder, len(rows))

    def open(self, folder, dim):
        import lancedb

        self.index = lancedb.connect(folder).open_table("t")

    def resume(self, folder, dim, room):
        self.open(folder, dim)

    def one(self, query, k, knob):
        found = self.index.search(query).select(["id", "_distance"]).nprobes(knob).refine_factor(8).limit(k).to_arrow()
        return found["id"].to_pylist()

    def insert(self, ids, rows):
        self.index.add(self._table(ids, rows))

    def delete(self, ids):
        self.index.delete(f"id in ({', '.join(map(str, ids.tolist()))})")

    def holds(self, ids):
        there = set(self.index.search().select(["id"]).limit(self.index.count_rows()).to_arrow()["id"].to_pylist())
        return [number in there for number in ids.tolist()]

    def tidy(self):
        self.index.optimize()


class QdrantEdge(Engine):
    package, module, durable, changes, tidies = "qdrant-edge-py", "qdrant_edge", "kill", True, True

    def start(self, ids, rows, folder, room):
        import qdrant_edge as q

        os.makedirs(f"{folder}/shard", exist_ok=True)
        graph = q.HnswIndexConfig(m=16, ef_construct=200, full_scan_threshold=10, max_indexing_threads=1)
        vectors = q.EdgeVectorParams(size=rows.shape[1], distance=q.Distance.Euclid)
        optimizers = q.EdgeOptimizersConfig(indexing_threshold=10, default_segment_number=1)
        self.q = q
        self.index = q.EdgeShard.create(f"{folder}/shard", q.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=optimizers))
        self.insert(ids, rows)
        self.tidy()
        self.index.flush()

    def build(self, rows, folder):
        import numpy as np

        self.start(np.arange(len(rows)), rows, folder, len(rows))
        self.index.close()

    def open(self, folder, dim):
        import qdrant_edge as q

        self.q, self.index = q, q.EdgeShard.load(f"{folder}/shard")

    def resume(self, folder, dim, room):
        self.open(folder, dim)

    def one(self, query, k, knob):
        q = self.q
        request = q.SearchRequest(query=q.Query.Nearest(query.tolist()), limit=k, params=q.SearchParams(hnsw_ef=knob))
        return [point.id for point in self.index.search(request)]

    def insert(self, ids, rows):
        for start in range(0, len(ids), 5000):
            part = zip(ids[start : start + 5000].tolist(), rows[start : start + 5000].tolist(), strict=True)
            self.index.update(self.q.UpdateOperation.upsert_points([self.q.Point(number, row) for number, row in part]))

    replace = insert

    def delete(self, ids):
        self.index.update(self.q.UpdateOperation.delete_points(ids.tolist()))

    def holds(self, ids):
        there = {point.id for point in self.index.retrieve(ids.tolist(), with_payload=False, with_vector=False)}
        return [number in there for number in ids.tolist()]

    def tidy(self):
        while self.index.optimize():
            pass


class Zvec(Engine):
    package, module, durable, changes, tidies = "zvec", "zvec", "kill", True, True

    def start(self, ids, rows, folder, room):
        import zvec
        from zvec.typing import DataType, MetricType

        graph = zvec.HnswIndexParam(metric_type=MetricType.L2, m=16, ef_construction=200)
        schema = zvec.CollectionSchema(name="t", vectors=zvec.VectorSchema("v", DataType.VECTOR_FP32, rows.shape[1], graph))
        self.zvec, self.index = zvec, zvec.create_and_open(f"{folder}/index", schema)
        self.insert(ids, rows)
        self.index.optimize()
        self.index.flush()

    def build(self, rows, folder):
        import numpy as np

        self.start(np.arange(len(rows)), rows, folder, len(rows))

    def open(self, folder, dim):
        import zvec

        self.zvec, self.index = zvec, zvec.open(f"{folder}/index")

    def resume(self, folder, dim, room):
        self.open(folder, dim)

    def one(self, query, k, knob):
        zvec = self.zvec
        terms = zvec.VectorQuery("v", vector=query.tolist(), param=zvec.HnswQueryParam(ef=knob))
        return [int(doc.id) for doc in self.index.query(terms, topk=k)]

    def _docs(self, ids, rows):
        return [self.zvec.Doc(id=str(number), vectors={"v": row}) for number, row in zip(ids.tolist(), rows.tolist(), strict=True)]

    def insert(self, ids, rows):
        for start in range(0, len(ids), 1000):
            self.index.insert(self._docs(ids[start : start + 1000], rows[start : start + 1000]))

    def replace(self, ids, rows):
        for start in range(0, len(ids), 1000):
            self.index.upsert(self._docs(ids[start : start + 1000], rows[start : start + 1000]))

    def delete(self, ids):
        for start in range(0, len(ids), 1000):
            self.index.delete([str(number) for number in ids[start : start + 1000].tolist()])

    def holds(self, ids):
        there = self.index.fetch([str(number) for number in ids.tolist()])
        return [str(number) in there for number in ids.tolist()]

    def tidy(self):
        self.index.optimize()


class MilvusLite(Engine):
    package, module, durable, changes, tidies = "milvus-lite", "milvus_lite", "kill", True, True

    def start(self, ids, rows, folder, room):
        from milvus_lite import CollectionSchema, DataType, FieldSchema, MilvusLite

        number = FieldSchema(name="id", dtype=DataType.INT64, is_primary=True)
        vector = FieldSchema(name="v", dtype=DataType.FLOAT_VECTOR, dim=rows.shape[1])
        self.store = MilvusLite(f"{folder}/index")
        self.index = self.store.create_collection("t", CollectionSchema(fields=[number, vector]))
        self.insert(ids, rows)
        self.tidy()
        self.index.create_index("v", {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 16, "efConstruction": 200}})
        self.index.load()

    def build(self, rows, folder):
        import numpy as np

        self.start(np.arange(len(rows)), rows, folder, len(rows))
        self.store.close()

    def open(self, folder, dim):
        from milvus_lite import MilvusLite

        self.store = MilvusLite(f"{folder}/index")
        self.index = self.store.get_collection("t")
        self.index.load()

    def resume(self, folder, dim, room):
        self.open(folder, dim)

    def one(self, query, k, knob):
        found = self.index.search([query.tolist()], top_k=k, metric_type="L2", search_params={"ef": knob}, output_fields=["id"])
        return [hit["id"] for hit in found[0]]

    def insert(self, ids, rows):
        for start in range(0, len(ids), 5000):
            part = zip(ids[start : start + 5000].tolist(), rows[start : start + 5000].tolist(), strict=True)
            self.index.insert([{"id": number, "v": row} for number, row in part])

    def replace(self, ids, rows):
        self.index.upsert([{"id": number, "v": row} for number, row in zip(ids.tolist(), rows.tolist(), strict=True)])

    def delete(self, ids):
        self.index.delete(ids.tolist())

    def holds(self, ids):
        there = {found["id"] for found in self.index.get(ids.tolist())}
        return [number in there for number in ids.tolist()]

    def tidy(self):
        self.index.flush()


class Turbovec(Engine):
    """Four bits for each component; every row is measured, by its code alone."""

    package, module, durable, changes = "turbovec", "turbovec", "power cut", True
    knobs = (0,)

    def refuses(self, rows):
        import numpy as np

        if rows.shape[1] % 8 or np.any(np.abs(np.linalg.norm(rows[:1000], axis=1) - 1) > 1e-3):
            return "it knows inner products only, and dimensions that are multiples of eight"
        return None

    def start(self, ids, rows, folder, room):
        import numpy as np
        from turbovec import IdMapIndex

        self.folder, self.index = folder, IdMapIndex(dim=rows.shape[1], bit_width=4)
        self.index.calibrate(rows[np.random.default_rng(1).permutation(len(rows))[:1024]])
        self.insert(ids, rows)
        self.commit()

    def build(self, rows, folder):
        import numpy as np

        self.start(np.arange(len(rows)), rows, folder, len(rows))

    def open(self, folder, dim):
        from turbovec import IdMapIndex

        self.folder, self.index = folder, IdMapIndex.load(f"{folder}/index")
        self.index.prepare()

    def resume(self, folder, dim, room):
        self.open(folder, dim)

    def one(self, query, k, knob):
        return self.index.search(query[None], k)[1][0]

    def insert(self, ids, rows):
        self.index.add_with_ids(rows, ids.astype("uint64"))

    def delete(self, ids):
        for number in ids.tolist():
            self.index.remove(number)

    def commit(self):
        self.index.sync(f"{self.folder}/index")

    def holds(self, ids):
        return [self.index.contains(number) for number in ids.tolist()]


class SqliteVec(Engine):
    """Every row is measured."""

    package, module, durable, changes = "sqlite-vec", "sqlite_vec", "power cut", True
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

    def start(self, ids, rows, folder, room):
        self.index = self._connect(folder)
        self.index.execute(f"create virtual table t using vec0(v float[{rows.shape[1]}])")
        self.insert(ids, rows)

    def build(self, rows, folder):
        import numpy as np

        self.start(np.arange(len(rows)), rows, folder, len(rows))
        self.index.close()

    def open(self, folder, dim):
        self.index = self._connect(folder)

    def resume(self, folder, dim, room):
        self.open(folder, dim)

    def one(self, query, k, knob):
        found = self.index.execute("select rowid from t where v match ? and k = ?", (query.tobytes(), k))
        return [row - 1 for (row,) in found]

    def insert(self, ids, rows):
        with self.index:
            pairs = zip(ids.tolist(), rows, strict=True)
            self.index.executemany("insert into t(rowid, v) values (?, ?)", ((number + 1, row.tobytes()) for number, row in pairs))

    def delete(self, ids):
        with self.index:
            self.index.executemany("delete from t where rowid = ?", ((number + 1,) for number in ids.tolist()))

    def holds(self, ids):
        there = {row - 1 for (row,) in self.index.execute("select rowid from t")}
        return [number in there for number in ids.tolist()]

"""Random histories and searches, beside a dictionary and numpy."""

from __future__ import annotations

import tempfile

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import stratavec

DIM = 3
coordinate = st.integers(-8, 8).map(float)
vector = st.lists(coordinate, min_size=DIM, max_size=DIM)
name = st.sampled_from([f"id{n}" for n in range(12)] + ["höhe", "日本"])
attributes = st.dictionaries(
    st.sampled_from("abc"),
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=9) | st.lists(st.text(max_size=5), max_size=3),
    max_size=3,
)
payload = st.binary(max_size=40)


def distances(metric: str, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """As defined, with 64-bit floats."""
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        return ((rows - query) ** 2).sum(1)
    products = rows @ query
    return -products if metric == "ip" else 1 - products / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)


class History(RuleBasedStateMachine):
    """Writes, batches, flushes, compactions and reopenings do what they do to a dictionary."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.collection = stratavec.open(self.folder.name + "/idx", DIM, "l2", durability="os", flush_bytes=1024)
        self.rows: dict[str, tuple[list[float], dict, bytes | None]] = {}

    @rule(id=name, vector=vector, attributes=attributes, payload=payload)
    def upsert(self, id, vector, attributes, payload):
        self.collection.upsert(id, vector, attributes, payload)
        self.rows[id] = (vector, attributes, payload or None)

    @rule(ids=st.lists(name, max_size=4, unique=True), vector=vector)
    def insert(self, ids, vector):
        if any(id in self.rows for id in ids):
            try:
                self.collection.insert(ids, [vector] * len(ids))
                raise AssertionError("an id was there")
            except stratavec.AlreadyExistsError:
                return
        self.collection.insert(ids, [vector] * len(ids))
        self.rows.update({id: (vector, {}, None) for id in ids})

    @rule(ids=st.lists(name, max_size=5))
    def delete(self, ids):
        assert self.collection.delete(ids) == len({id for id in ids if id in self.rows})
        for id in ids:
            self.rows.pop(id, None)

    @rule(steps=st.lists(st.tuples(name, st.none() | vector), max_size=8), fails=st.booleans())
    def batch(self, steps, fails):
        after = dict(self.rows)
        try:
            with self.collection.batch() as batch:
                for id, vector in steps:
                    if vector is None:
                        batch.delete(id)
                        after.pop(id, None)
                    else:
                        batch.upsert(id, vector)
                        after[id] = (vector, {}, None)
                if fails:
                    raise RuntimeError
        except RuntimeError:
            return
        self.rows = after

    @rule(items=st.lists(st.tuples(name, vector, attributes), max_size=6))
    def bulk_load(self, items):
        self.collection.bulk_load(iter(items), progress=False)
        self.rows.update({id: (vector, attributes, None) for id, vector, attributes in items})

    @rule(what=st.sampled_from(["flush", "compact", "reopen"]))
    def upkeep(self, what):
        if what == "flush":
            self.collection.flush()
        elif what == "compact":
            self.collection.compact("full", progress=False)
        else:
            self.collection.close()
            self.collection = stratavec.open(self.folder.name + "/idx", durability="os", flush_bytes=1024)

    @rule(query=vector, k=st.integers(1, 20))
    def search(self, query, k):
        hits = self.collection.search(query, k)
        if not self.rows:
            assert len(hits) == 0
            return
        ids = sorted(self.rows, key=str.encode)
        true = distances("l2", np.array([self.rows[id][0] for id in ids]), np.array(query))
        order = np.argsort(true, kind="stable")[:k]
        assert hits.ids == [ids[at] for at in order] and hits.distances.tolist() == true[order].tolist()

    @invariant()
    def is_what_the_dictionary_is(self):
        assert len(self.collection) == len(self.rows)
        for id, (vector, attributes, payload) in self.rows.items():
            item = self.collection.get(id)
            assert (item.vector.tolist(), item.attributes, item.payload) == (vector, attributes, payload)

    def teardown(self):
        self.collection.close()
        assert stratavec.verify(self.folder.name + "/idx").is_sound
        self.folder.cleanup()


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=8, stateful_step_count=20, deadline=None, derandomize=True)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 60),
    dim=st.integers(1, 40),
    metric=st.sampled_from(["l2", "cosine", "ip"]),
    k=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int32]),
    layout=st.sampled_from(["C", "F", "strided"]),
)
def test_exact_searches_are_what_numpy_finds(rows, dim, metric, k, seed, dtype, layout):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-9, 10, (rows, dim)).astype(dtype)
    vectors[~vectors.any(axis=1)] = 1
    given_ = np.asfortranarray(vectors) if layout == "F" else np.repeat(vectors, 2, axis=0)[::2] if layout == "strided" else vectors
    with tempfile.TemporaryDirectory() as folder, stratavec.open(folder + "/idx", dim, metric, ids="u64", durability="os") as c:
        c.upsert(np.arange(rows), given_)
        found, measured = c.search_batch(given_[:7], k)
        for at, query in enumerate(vectors[:7]):
            true = distances(metric, vectors, query)
            tolerance = 1e-4 * max(1.0, float(np.abs(true).max()))
            here = min(k, rows)
            assert np.allclose(measured[at, :here], np.sort(true)[:here], atol=tolerance)
            assert np.allclose(true[found[at, :here]], measured[at, :here], atol=tolerance)
            assert (found[at, here:] == -1).all() and np.isinf(measured[at, here:]).all()
            hits = c.search(given_[at], k)
            assert hits.ids == found[at, :here].tolist() and np.array_equal(hits.distances, measured[at, :here])

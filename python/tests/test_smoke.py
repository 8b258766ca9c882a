"""The whole surface once, on small data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np
import pytest

import stratavec


def test_the_example_of_the_package_works(place, rng):
    vectors = rng.standard_normal((20, 384), np.float32)
    c = stratavec.open(place, dim=384, metric="cosine")
    receipt = c.upsert([f"doc:{n}" for n in range(20)], vectors, [{"lang": "en", "n": n} for n in range(20)], [b"x" * n for n in range(20)])
    assert (receipt.inserted, receipt.replaced, receipt.durable) == (20, 0, True)
    hits = c.search(vectors[5], k=3, include=("attributes", "payload", "vector"))
    assert len(hits) == 3 and hits[0].id == "doc:5" and hits[0].exact and abs(hits[0].distance) < 1e-6
    assert hits[0].attributes == {"lang": "en", "n": 5} and hits[0].payload == b"xxxxx"
    assert np.array_equal(hits[0].vector, vectors[5])
    assert [hit.id for hit in hits] == hits.ids and np.array_equal([hit.distance for hit in hits], hits.distances)
    assert hits[-1].id == hits.ids[2] and [hit.id for hit in hits[::2]] == hits.ids[::2]
    with pytest.raises(IndexError):
        hits[3]
    c.close()
    c.close()  # once more is nothing


def test_what_was_closed_opens_again_as_it_was(place):
    with stratavec.open(place, 2, "l2") as c:
        c.upsert(["a", b"\xff", "b"], [[0, 1], [1, 0], [1, 1]])
    with stratavec.open(place) as c:
        assert (len(c), c.dim, c.metric, c.read_only) == (3, 2, "l2", False)
        assert {item.id for item in c.scan()} == {"a", b"\xff", "b"}
        assert c.recovery.is_clean
        assert c.get("a").vector.tolist() == [0, 1] and c.get("z") is None
        assert [item and item.id for item in c.get_many(["b", "z", "a"])] == ["b", None, "a"]


def test_writes_of_each_kind(place):
    with stratavec.open(place, 2, "l2", ids="u64") as c:
        c.insert([1, 2, 3], np.eye(3, 2))
        with pytest.raises(stratavec.AlreadyExistsError):
            c.insert([9, 2], np.zeros((2, 2)))
        assert 9 not in c and 2 in c
        assert c.upsert(2, [5.0, 5.0]).replaced == 1
        assert c.delete([1, 77]) == 1 and c.delete(1) == 0
        assert sorted(item.id for item in c) == [2, 3]


def test_a_batch_is_all_or_nothing(place):
    with stratavec.open(place, 2, "l2") as c:
        with c.batch() as b:
            b.upsert(["a", "b"], [[0, 1], [1, 0]])
            b.upsert("c", [1, 1], {"n": 1}, b"payload")
            b.delete("a")
            assert len(b) == 4 and len(c) == 0
        assert b.receipt.seq == 1 and len(c) == 2 and c.get("c").payload == b"payload"
        with pytest.raises(RuntimeError), c.batch() as b:
            b.upsert("d", [1, 1])
            raise RuntimeError
        assert b.receipt is None and "d" not in c
        with pytest.raises(stratavec.InvalidArgumentError), c.batch() as b:
            b.upsert("d", [1, 1])
            b.upsert("e", [1, float("nan")])
        assert "d" not in c
        with pytest.raises(stratavec.InvalidArgumentError, match="discarded"):
            b.commit()


def test_a_batch_is_committed_once(filled):
    c, vectors = filled
    batch = c.batch()
    batch.delete(0)
    receipt = batch.commit()
    for again in (batch.commit, lambda: batch.upsert(0, vectors[0]), lambda: batch.delete(1)):
        with pytest.raises(stratavec.InvalidArgumentError):
            again()
    assert batch.receipt.seq == receipt.seq == c.seq and 0 not in c and 1 in c


def askew(vectors):
    """The same numbers at addresses that are no multiples of four."""
    memory = np.empty(vectors.nbytes + 1, np.uint8)
    copy = memory[1:].view(vectors.dtype).reshape(vectors.shape)
    copy[:] = vectors
    return copy


def packed(vectors):
    """The same numbers as a field of records that are no multiple of four bytes long."""
    records = np.zeros(len(vectors), [("flag", "u1"), ("vector", vectors.dtype, vectors.shape[1:])])
    records["vector"] = vectors
    return records["vector"]


@pytest.mark.parametrize(
    "arrange",
    [np.asfortranarray, lambda v: np.ascontiguousarray(v.T).T, lambda v: v[::-1].copy()[::-1], askew, packed, lambda v: v.astype(">f4")],
    ids=["columns", "transposed", "backwards", "askew", "packed", "big-endian"],
)
def test_vectors_are_read_however_they_lie(place, rng, arrange):
    vectors = rng.standard_normal((8, 8), np.float32)
    given = arrange(vectors)
    with stratavec.open(place, 8, "l2", ids="u64", durability="os") as c:
        c.upsert(np.arange(8), given)
        c.bulk_load(np.arange(8, 16), given, progress=False)
        with c.batch() as batch:
            batch.upsert(packed(np.arange(16, 24)), given)
        assert [item.vector.tolist() for item in c.get_many(range(24))] == 3 * vectors.tolist()
        ids, distances = c.search_batch(given, k=3)
        assert (distances == 0).all() and (np.sort(ids) % 8 == np.arange(8)[:, None]).all()
        assert c.search(given[5], k=1)[0].distance == 0


def test_a_snapshot_stays_as_it_was(filled):
    c, vectors = filled
    with c.snapshot() as snapshot:
        c.delete(range(50))
        assert len(snapshot) == 100 and len(c) == 50
        assert snapshot.search(vectors[7], k=1)[0].id == 7 and c.search(vectors[7], k=1)[0].id != 7
        assert sum(1 for _ in snapshot.scan()) == 100
    with pytest.raises(stratavec.ClosedError):
        snapshot.search(vectors[0])


def test_batches_of_queries_give_tables(filled):
    c, vectors = filled
    ids, distances = c.search_batch(vectors[:5], k=3, threads=2)
    assert ids.dtype == np.int64 and distances.dtype == np.float32 and ids.shape == distances.shape == (5, 3)
    assert ids[:, 0].tolist() == [0, 1, 2, 3, 4] and (distances[:, 0] == 0).all()
    c.delete(range(2, 100))
    ids, distances = c.search_batch(vectors[:2], k=4)
    assert ids[:, 2:].tolist() == [[-1, -1]] * 2 and np.isinf(distances[:, 2:]).all()
    assert c.search_batch(np.empty((0, 8), np.float32), k=4)[0].shape == (0, 4)


def test_a_table_that_no_memory_holds_is_refused(filled):
    c, vectors = filled
    with pytest.raises(stratavec.InvalidArgumentError) as caught:
        c.search_batch(vectors[:2], k=2**30)
    assert caught.value.argument == "k" and len(c.search(vectors[0], k=2**30)) == 100


def test_hits_are_a_sequence(filled):
    c, vectors = filled
    hits = c.search(vectors[3], k=5)
    assert isinstance(hits, Sequence) and [hits.index(hit) for hit in hits] == [0, 1, 2, 3, 4]
    assert hits.count(hits[2]) == 1 and hits.count("a") == 0 and hits[2] in hits and [*reversed(hits)] == hits[::-1]
    assert hits.index(hits[4], -2) == 4
    for call in (lambda: hits.index(hits[0], 1), lambda: hits.index(hits[4], 0, 4), lambda: hits.index(3)):
        with pytest.raises(ValueError):
            call()


def test_the_default_effort_is_told_as_it_was_said(filled):
    c, vectors = filled
    for effort in ({"recall": 0.9}, {"confidence": 0.99}, {"nprobe": 3}, {"nprobe": 9, "patience": 2}, {"exact": True}):
        c.set_default_effort(**effort)
        assert c.default_effort == effort == c.snapshot().default_effort
        assert c.search(vectors[3], **c.default_effort)[0].id == 3


def test_ids_of_64_bits_come_back_as_they_are(place):
    big = 2**64 - 2
    with stratavec.open(place, 2, "l2", ids="u64") as c:
        c.upsert(np.array([1, big], np.uint64), np.eye(2))
        ids, _ = c.search_batch(np.eye(2), k=3)
        assert ids.dtype == np.uint64 and ids.tolist() == [[1, big, 2**64 - 1], [big, 1, 2**64 - 1]]
        assert c.search([0, 1], k=1)[0].id == big


def test_byte_ids_in_tables_are_objects(place):
    with stratavec.open(place, 2, "l2") as c:
        c.upsert(["a", "b"], np.eye(2))
        ids, distances = c.search_batch(np.eye(2), k=3)
        assert ids.tolist() == [["a", "b", None], ["b", "a", None]] and np.isinf(distances[0, 2])


def test_filters(filled):
    c, vectors = filled
    assert [hit.id for hit in c.search(vectors[3], k=2, ids=[3, 50])] == [3, 50]
    assert c.search(vectors[3], k=1, filter=lambda id: id > 40)[0].id > 40
    few = stratavec.Filter.ids(range(10)) & ~stratavec.Filter.ids([3]) & stratavec.Filter.by(lambda id: id % 2 == 1)
    assert sorted(hit.id for hit in c.search(vectors[3], k=10, filter=few)) == [1, 5, 7, 9]
    assert sorted(hit.id for hit in c.search(vectors[3], k=10, filter=few, ids=[5, 6])) == [5]
    assert sorted(c.search_batch(vectors[3:4], k=4, filter=few)[0][0].tolist()) == [1, 5, 7, 9]
    either = stratavec.Filter.ids([1]) | stratavec.Filter.ids([2])
    assert sorted(c.search(vectors[0], filter=either).ids) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        c.search(vectors[3], filter=lambda id: id / 0)
    with pytest.raises(ZeroDivisionError):
        c.search_batch(vectors[:3], filter=lambda id: id / 0, threads=2)
    assert len(c.search(vectors[3], ids=[])) == 0


def test_terms_of_a_search(filled):
    c, vectors = filled
    near = c.search(vectors[3], k=100, max_distance=4.0)
    assert 0 < len(near) < 100 and (near.distances <= 4.0).all()
    assert near.explain.seq == c.seq and near.explain.rows_scored == 100 and not near.explain.cut_short
    assert len(c.search(vectors[3], exact=True, deadline=10)) == 10
    for effort in ({"recall": 0.9}, {"nprobe": 4}, {"nprobe": 4, "patience": 2}, {"confidence": 0.9}, {"exact": True}):
        assert c.search(vectors[3], **effort)[0].id == 3, "a flat collection is searched exactly"
    for wrong in ({"recall": 0.9, "exact": True}, {"recall": 2.0}, {"patience": 2}, {"k": 0}, {"deadline": -1}, {"include": "id"}):
        with pytest.raises(stratavec.InvalidArgumentError):
            c.search(vectors[3], **wrong)
    with pytest.raises(TypeError):
        c.search(vectors[3], where={"lang": "en"})


def test_lists(place, rng):
    centres = rng.standard_normal((20, 16), np.float32) * 10
    vectors = (centres[rng.integers(0, 20, 4000)] + rng.standard_normal((4000, 16))).astype(np.float32)
    with stratavec.open(place, 16, "l2", ids="u64", index="ivf", nlist=40, bits=4, spill=False, durability="os") as c:
        c.bulk_load(np.arange(4000), vectors, progress=False)
        stats = c.stats()
        assert stats.lists >= 40 and stats["rows_in_lists"] == 4000
        found, _ = c.search_batch(vectors[:200], k=10, recall=0.95)
        true, _ = c.search_batch(vectors[:200], k=10, exact=True)
        recall = np.mean([len(set(f) & set(t)) / 10 for f, t in zip(found, true, strict=True)])
        assert recall > 0.9
        assert c.search(vectors[0], nprobe=3).explain.lists_probed == 3
    # Upkeep in the background would take a part of the work; what it does is not in the report.
    with stratavec.open(place, index="ivf", nlist=40, compaction="manual") as c:
        assert c.schema["nlist"] == 40 and c.schema["bits"] == 4 and c.schema["spill"] is False
        healthy = c.health()
        assert 0 < healthy.score <= 100 and healthy.lists == 40 and healthy.sampled > 0 and healthy.retrain is None
        assert healthy.recall > 0.9 and healthy.growth == 1.0
        c.upsert(np.arange(4000, 6000), vectors[:2000] + 100)
        c.flush()
        done = c.compact("retrain")
        assert done.retrains == 1 and done.refiled == 4000 + 2000
        stats = c.stats()
        assert stats.models == 1 and stats.conversions == 1 and stats.rows_to_convert == 0 and stats.rows_in_lists == 4000 + 2000
        c.set_default_effort(nprobe=5)
        assert c.search(vectors[0]).explain.lists_probed == 5
        with pytest.raises(stratavec.InvalidArgumentError):
            c.set_default_effort()
    with stratavec.open(place, read_only=True) as c:
        assert c.search(vectors[0]).explain.lists_probed == 5 and c.health().growth == 1.0
    for wrong in ({"nlist": 41}, {"bits": 2}, {"codes": "none"}, {"spill": True}, {"anchors": "random"}, {"index": "flat"}):
        with pytest.raises(stratavec.SchemaMismatchError):
            stratavec.open(place, **wrong)


@pytest.mark.parametrize("codes", ["none", "product:4x16", "product:8x256", "bits:2"])
def test_codes_of_lists(place, rng, codes):
    vectors = rng.standard_normal((2000, 16), np.float32)
    with stratavec.open(place, 16, "l2", ids="u64", index="ivf", codes=codes, durability="os") as c:
        c.bulk_load(np.arange(2000), vectors, progress=False)
        assert c.schema["codes"] == (None if codes == "bits:2" else codes) and c.stats().lists > 0
        assert [c.search(v, k=1, recall=0.95)[0].id for v in vectors[:20]] == list(range(20))
    for wrong in ({"codes": "pq"}, {"codes": "none", "bits": 4}, {"codes": "product:7x16", "dim": 16, "metric": "l2", "index": "ivf"}):
        with pytest.raises(stratavec.StratavecError):
            stratavec.open(str(place) + "2", **wrong)


@pytest.mark.parametrize("anchors", ["k-means", "random", "max-coverage:50", "stratified:2"])
def test_what_lists_are_gathered_around(place, rng, anchors):
    vectors = rng.standard_normal((2000, 16), np.float32)
    ids = [f"{'even' if i % 2 == 0 else 'odd'}/{i}" for i in range(2000)]
    with stratavec.open(place, 16, "l2", index="ivf", anchors=anchors, durability="os") as c:
        c.bulk_load(ids, vectors, progress=False)
        assert c.schema["anchors"] == anchors and c.stats().lists > 1
        assert [c.search(v, k=1, recall=0.95)[0].id for v in vectors[:20]] == ids[:20]
    with stratavec.open(place, anchors=anchors) as c:
        assert c.schema["anchors"] == anchors
    for wrong in ("rows", "random:3", "max-coverage:9000", "stratified:0"):
        with pytest.raises(stratavec.InvalidArgumentError, match="anchors"):
            stratavec.open(f"{place}2", 16, "l2", index="ivf", anchors=wrong)
    with pytest.raises(stratavec.InvalidArgumentError):
        stratavec.open(f"{place}2", 16, "l2", anchors=anchors)


def test_rows_as_bytes_and_none_with_vectors_from_elsewhere(place, rng):
    vectors = rng.standard_normal((3000, 32), np.float32)
    queries = rng.standard_normal((20, 32), np.float32)
    true = ((queries[:, None] - vectors[None]) ** 2).sum(2)
    for rows in ("i8", "none"):
        asked = []

        def give(ids):
            asked.append(ids)
            return vectors[ids]

        with stratavec.open(f"{place}-{rows}", 32, "l2", ids="u64", rows=rows, index="ivf", nlist=40, durability="os") as c:
            c.bulk_load(np.arange(3000), vectors, progress=False)
            plain = c.search(queries[0], exact=True)
            assert not any(hit.exact for hit in plain) and c.schema["rows"] == rows
            hits = c.search(queries[0], exact=True, candidates=200, rerank_with=give)
            assert hits.ids == list(np.argsort(true[0])[:10]) and all(hit.exact for hit in hits)
            assert hits.explain.reranked == 200 and len(asked) == 1 and len(asked[0]) == 200
            assert np.allclose(hits.distances, np.sort(true[0])[:10], rtol=1e-4)
            ids, distances = c.search_batch(queries, exact=True, candidates=200, rerank_with=give)
            assert (ids == np.argsort(true, axis=1)[:, :10]).all() and len(asked) == 21
            some = c.search(queries[0], nprobe=40, candidates=50, rerank_with=lambda ids: [None if i % 2 else vectors[i] for i in ids])
            assert {hit.exact for hit in some} == {True, False}
            with pytest.raises(ZeroDivisionError):
                c.search(queries[0], rerank_with=lambda ids: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                c.search_batch(queries, rerank_with=lambda ids: 1 / 0)
            for wrong in (lambda ids: vectors[:3], lambda ids: vectors[ids, :31], lambda ids: [[1.0]] * len(ids)):
                with pytest.raises(stratavec.InvalidArgumentError) as caught:
                    c.search(queries[0], rerank_with=wrong)
                assert caught.value.argument == "rerank_with"
            assert (c.get(7).vector is None) == (rows == "none")


def test_files_that_are_read_and_not_mapped(place, rng):
    vectors = rng.standard_normal((2000, 16), np.float32)
    with stratavec.open(place, 16, "cosine", ids="u64", index="ivf", durability="os", access="pread") as c:
        c.bulk_load(np.arange(2000), vectors, progress=False)
        hits = c.search(vectors[5], nprobe=8)
        assert hits[0].id == 5 and hits.explain.cold and hits.explain.reads > 0
    for access in (None, "mmap", "pread"):
        with stratavec.open(place, read_only=True, access=access) as c:
            for mode in ("auto", "hot", "cold"):
                same = c.search(vectors[5], nprobe=8, mode=mode)
                assert same.ids == hits.ids and (same.distances == hits.distances).all()
            assert (c.search_batch(vectors[:9], nprobe=8, mode="cold")[0][:, 0] == np.arange(9)).all()
    for wrong in ({"access": "map"}, {"access": "map", "read_only": True}):
        with pytest.raises(stratavec.InvalidArgumentError):
            stratavec.open(place, **wrong)


def test_attributes_of_every_kind(place):
    moment = datetime(2026, 3, 1, 12, 30, 15, 250_001, tzinfo=timezone.utc)
    given = {"none": None, "yes": True, "n": -(2**63), "x": 0.25, "text": "höhe", "tags": ["a", "b"], "at": moment, "np": np.int32(7)}
    with stratavec.open(place, 2, "ip") as c:
        c.upsert("a", [1, 2], given, bytearray(b"raw"))
        assert c.get("a").attributes == {**given, "np": 7} and c.get("a").payload == b"raw"
        for wrong in ({"x": object()}, {"n": 2**63}, {"x": float("nan")}, {"tags": [1]}, {1: "a"}, {"at": datetime(2026, 1, 1)}, [1]):
            with pytest.raises((TypeError, ValueError)):
                c.upsert("a", [1, 2], wrong)


def test_bulk_loads(place, rng):
    vectors = rng.standard_normal((3000, 8), np.float32)
    told = []
    with stratavec.open(place, 8, "l2") as c:
        names = [f"r{n}" for n in range(3000)]
        report = c.bulk_load(names, vectors, [{"n": n} for n in range(3000)], progress=lambda done, total: told.append((done, total)))
        assert (report.items, report.inserted, len(c)) == (3000, 3000, 3000) and told[-1][0] >= 3000
        report = c.bulk_load(((f"r{n}", vectors[n], {"again": True}, b"p") for n in range(1500)), properties={"source": b"here"})
        assert report.replaced == 1500 and c.get("r7").attributes == {"again": True} and c.get("r7").payload == b"p"
        assert c.property("source") == b"here" and c.property("other") is None
        assert c.get("r2000").attributes == {"n": 2000}


def test_a_bulk_load_that_fails_leaves_nothing(place):
    def rows():
        for n in range(5000):
            if n == 4321:
                raise KeyError("the source broke")
            yield f"r{n}", [n, n]

    with stratavec.open(place, 2, "l2") as c:
        with pytest.raises(KeyError, match="the source broke"):
            c.bulk_load(rows())
        assert len(c) == 0
        with pytest.raises(stratavec.InvalidArgumentError, match="item 1"):
            c.bulk_load(["a", "b"], [[0, 1], [0, float("inf")]])
        with pytest.raises(ValueError, match="stop"):
            c.bulk_load(rows(), progress=_stop)
        assert len(c) == 0 and c.bulk_load([]).items == 0


def _stop(done, total):
    raise ValueError("stop")


def test_a_bulk_load_does_not_wait_for_itself(filled):
    c, vectors = filled
    refused = []

    def rows():
        yield 1000, vectors[0]
        for call in (lambda: c.bulk_load([1001], vectors[:1]), lambda: c.set_default_effort(exact=True)):
            with pytest.raises(stratavec.InvalidArgumentError, match="bulk load"):
                call()
            refused.append(call)
        c.upsert(1002, vectors[0])
        yield 1003, vectors[0]

    assert c.bulk_load(rows(), progress=False).items == 2 and len(refused) == 2
    assert [id in c for id in (1000, 1001, 1002, 1003)] == [True, False, True, True]
    assert c.bulk_load([1001], vectors[:1], progress=False).items == 1


def test_upkeep(place, tmp_path, rng):
    with stratavec.open(place, 8, "l2", ids="u64", compaction="manual") as c:
        for part in range(4):
            c.upsert(range(part * 10, part * 10 + 10), rng.standard_normal((10, 8)))
            c.flush()
        c.delete(range(0, 40, 2))
        assert c.sync() == c.seq == c.durable_seq
        c.wait_durable(c.seq)
        c.flush()
        plan = c.compact("full", dry_run=True)
        report = c.compact("full", progress=False)
        assert report.files_read == plan.files_read == 4 and report.dropped == 20 and c.stats().row_files == 1
        assert c.scrub(progress=False).findings == []
        copied = c.checkpoint(tmp_path / "copy")
        assert copied.seq == c.seq
    for path in (place, tmp_path / "copy"):
        report = stratavec.verify(path)
        assert report and report.is_sound and report.rows == 20
        assert stratavec.verify(path, "quick").is_sound
    report = stratavec.repair(place, tmp_path / "repaired")
    assert report.is_complete and report.rows == 20
    assert len(stratavec.open(tmp_path / "repaired", read_only=True)) == 20
    assert stratavec.upgrade(place).files_rewritten == 0


def test_stats_show_themselves(filled):
    c, _ = filled
    stats = c.stats()
    assert stats["rows"] == stats.rows == 100 and stats.schema["metric"] == "l2" and isinstance(stats, dict)
    assert "100 · 8-d l2 f32" in str(stats) and "<table>" in stats._repr_html_() and "100 · 8-d l2 f32" in stats._repr_html_()
    assert c.path in str(stats)
    with pytest.raises(AttributeError):
        stats.nothing  # noqa: B018


def test_a_follower_reads_and_refreshes(filled):
    c, vectors = filled
    with stratavec.open(c.path, read_only=True) as follower:
        assert follower.read_only and len(follower) == 100
        c.delete([0])
        assert len(follower) == 100 and follower.refresh() == c.seq and len(follower) == 99
        assert follower.search(vectors[1], k=1)[0].id == 1 and follower.stats().rows == 99
        assert not hasattr(follower, "upsert")
        with follower.snapshot() as snapshot:
            assert len(snapshot) == 99
        with pytest.raises(stratavec.SchemaMismatchError):
            stratavec.open(c.path, 9, read_only=True)
        with pytest.raises(stratavec.InvalidArgumentError):
            stratavec.open(c.path, read_only=True, memory_budget=1 << 30)


def test_a_collection_is_made_once(place, tmp_path):
    with pytest.raises(stratavec.NotFoundError, match="dim and metric"):
        stratavec.open(place)
    with stratavec.create(place, 4, "cosine", rows="f16", index="auto", ids="u64", seed=3, memory_budget=64 << 20) as c:
        assert c.schema == {"dim": 4, "metric": "cosine", "ids": "u64", "rows": "f16", "index": "auto", "seed": 3}
        assert c.stats().memory["budget"] == 64 << 20
    with pytest.raises(stratavec.InvalidArgumentError):
        stratavec.create(place, 4, "cosine")
    with pytest.raises(TypeError):
        stratavec.create(tmp_path / "other", 4, "cosine", colour="red")
    for wrong in ({"metric": "l1"}, {"dim": 0}, {"rows": "f8"}, {"ids": "str"}, {"index": "hnsw"}, {"nlist": 3}, {"durability": "some"}, {"fanout": 1}):
        with pytest.raises(stratavec.InvalidArgumentError):
            stratavec.open(tmp_path / "other", **{"dim": 4, "metric": "l2", **wrong})
    assert not (tmp_path / "other").exists()


def test_handles_show_themselves(filled):
    c, _ = filled
    assert "100 rows, 8-d l2" in repr(c) and "100 rows" in repr(c.snapshot())
    assert repr(c.search(np.zeros(8, np.float32), k=1)).startswith("[Hit(")
    assert "8-d vector" in repr(c.get(1))


def test_whole_hits_of_many_queries(place, rng):
    vectors = rng.standard_normal((300, 8), np.float32)
    with stratavec.open(place, 8, "cosine", durability="os") as c:
        c.upsert([f"r{n}" for n in range(300)], vectors, [{"n": n} for n in range(300)])
        answers = c.search_each(vectors[:150], 4, include=("attributes", "vector"), threads=2)
        ids, distances = c.search_batch(vectors[:150], 4)
        assert [hits.ids for hits in answers] == ids.tolist() and np.array_equal([hits.distances for hits in answers], distances)
        assert all(hits[0].attributes == {"n": n} and np.array_equal(hits[0].vector, vectors[n]) for n, hits in enumerate(answers))
        assert answers[0].explain.rows_scored == 300 and c.search_each(vectors[:0]) == []
        odd = c.search_each(vectors[:3], 2, filter=lambda id: int(id[1:]) % 2 == 1)
        assert [len(hits) for hits in odd] == [2, 2, 2] and all(hit.attributes is None for hits in odd for hit in hits)


def test_bytes_by_part_are_those_of_the_files(filled):
    c, _ = filled
    c.flush()
    parts = c.stats()["parts"]
    assert parts["vectors"] >= 100 * 32 and 0 < sum(parts.values()) <= c.stats()["file_bytes"]


def test_a_callback_is_told_what_was_recovered(place, capsys):
    def crash():
        c = stratavec.open(place, 2, "l2", ids="u64")
        c.upsert(1, [1, 2])
        del c

    told = []
    crash()
    with stratavec.open(place, on_recovery=told.append) as c:
        assert len(told) == 1 and told[0].batches_replayed == c.recovery.batches_replayed == 1 and not told[0].is_clean
    with stratavec.open(place, on_recovery=told.append) as c:
        assert c.recovery.is_clean and len(told) == 1
    crash()
    raised, hook = [], sys.unraisablehook
    sys.unraisablehook = raised.append
    try:
        with stratavec.open(place, on_recovery=lambda report: 1 / 0) as c:
            assert len(c) == 1
    finally:
        sys.unraisablehook = hook
    assert isinstance(raised[0].exc_value, ZeroDivisionError)
    with pytest.raises(TypeError, match="on_recovery"):
        stratavec.open(place, on_recovery=7)


def test_health_shows_itself(place, rng):
    with stratavec.open(place, 16, "l2", ids="u64", index="ivf", durability="os") as c:
        empty = c.health()
        assert "every search is exact" in repr(empty) and "<caption>" in empty._repr_html_()
        c.bulk_load(np.arange(3000), rng.standard_normal((3000, 16), np.float32), progress=False)
        health = c.health()
    text, page = str(health), health._repr_html_()
    assert text.startswith(f"health {health.score:.0f} of 100") and f"{health.lists:,} " in text and "of the ten nearest" in text
    assert max(map(len, text.splitlines())) <= 80 and page.count("<tr>") == text.count("\n") - text.count("\n   ") and "</table>" in page


def test_tables_fit_a_terminal_and_pages_show_what_names_hold(tmp_path):
    with stratavec.open(tmp_path / "<b>&amp;", 512, "cosine", rows="bf16", index="auto", memory_budget=1 << 30) as c:
        c.upsert([f"r{n}" for n in range(500)], np.random.default_rng(0).random((500, 512), np.float32))
        c.flush()
        c.delete("r1")
        text, page = str(c.stats()), c.stats()._repr_html_()
        assert len(text.splitlines()) > 6 and max(map(len, text.splitlines()[1:])) <= 80
        assert "<b>" not in page and "&lt;b&gt;&amp;amp;" in page


def test_whether_all_distances_are_exact(place, rng):
    vectors = rng.standard_normal((50, 8), np.float32)
    with stratavec.open(place, 8, "l2", ids="u64", rows="i8") as c:
        c.upsert(np.arange(50), vectors)
        assert not c.search(vectors[0]).all_exact and c.search(vectors[0], rerank_with=lambda ids: vectors[ids]).all_exact


def test_handles_can_be_kept_weakly(filled):
    import gc
    import weakref

    c, _ = filled
    with stratavec.open(c.path, read_only=True) as follower:
        kept = weakref.WeakValueDictionary({"c": c, "f": follower, "s": c.snapshot()})
    del follower
    gc.collect()
    assert list(kept) == ["c"] and kept["c"] is c


def test_a_long_exact_search_is_as_any_other(filled):
    """It is done in a thread of its own, beside which the caller's looks for signals."""
    from stratavec import _stratavec

    c, vectors = filled
    before = _stratavec._long_scans(1000)
    try:
        hits = c.search(vectors[77], 3, include="vector", exact=True)
        assert hits[0].id == 77 and hits[0].distance == 0 and hits.explain.rows_scored == 100 and np.array_equal(hits[0].vector, vectors[77])
        assert c.search(vectors[77], 3, ids=[5, 77]).ids == [77, 5] and c.search(vectors[77], 1, filter=lambda id: id == 9)[0].id == 9
        with pytest.raises(stratavec.InvalidArgumentError):
            c.search(vectors[77][:5])
    finally:
        assert _stratavec._long_scans(before) == 1000


class Screen:
    """What a bar is drawn on."""

    def __init__(self, terminal):
        self.terminal, self.text = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def drawn(monkeypatch, screen, columns=80, **wanted):
    """What a bar draws of a job that takes long."""
    from stratavec import _progress

    clock = iter(range(1000))
    monkeypatch.setattr(_progress.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stderr", screen)
    bar = _progress.bar(wanted.get("wanted"), "compacting", "rows")
    if bar is None:
        return None
    for done in range(0, 1_200_001, 100_000):
        bar.update(done, 1_200_000)
    bar.end()
    return getattr(screen, "text", "")


@pytest.mark.parametrize("columns", [30, 60, 80, 200])
def test_a_bar_keeps_to_its_line(monkeypatch, columns):
    text = drawn(monkeypatch, Screen(True), columns)
    lines = text.rstrip("\n").split("\r")[1:]
    assert len(lines) > 5 and max(map(len, lines)) < columns and "\n" not in text[:-1] and text.endswith("\n")
    assert ("█" in text) == (columns >= 80) and "compacting" in lines[-1]


def test_a_bar_in_a_file_is_some_lines(monkeypatch):
    assert drawn(monkeypatch, Screen(False)) is None
    text = drawn(monkeypatch, Screen(False), wanted=True)
    assert "\r" not in text and 1 < len(text.splitlines()) <= 5 and "100%" in text.splitlines()[-1]


def test_a_job_does_not_fail_for_its_bar(monkeypatch, filled):
    class Broken(Screen):
        def write(self, text):
            raise BrokenPipeError

    assert drawn(monkeypatch, Broken(True)) == ""
    c, vectors = filled
    for screen in (object(), None, Broken(True)):
        monkeypatch.setattr(sys, "stderr", screen)
        assert c.bulk_load([1], vectors[:1]).items == 1 and c.compact("full", progress=True) is not None

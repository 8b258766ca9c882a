"""Answers and reports are plain data: they can be pickled, copied, and sent to other processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

import stratavec

MOMENT = datetime(2026, 11, 21, 12, 30, 1, 250, tzinfo=timezone(timedelta(hours=2)))
ATTRIBUTES = {"none": None, "yes": True, "number": -(2**63), "part": 0.1, "text": "höhe", "texts": ["a", ""], "moment": MOMENT}


def copies(thing):
    return [pickle.loads(pickle.dumps(thing, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)] + [copy.copy(thing), copy.deepcopy(thing)]


def fields(thing):
    return {name: getattr(thing, name) for name in dir(thing) if not name.startswith("_") and not callable(getattr(thing, name))}


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and (repr(one) == repr(other) if not isinstance(one, float) else one == other)


@pytest.fixture
def named(place, rng):
    with stratavec.open(place, 4, "l2", durability="os") as c:
        vectors = rng.standard_normal((20, 4), np.float32)
        c.upsert([f"row {n}" for n in range(19)] + [b"\xff\x00"], vectors, [ATTRIBUTES] * 20, [b"payload", None] * 10)
        yield c, vectors


@pytest.mark.parametrize("include", [(), ("vector", "attributes", "payload")])
def test_hits(named, include):
    c, vectors = named
    hits = c.search(vectors[19], 20, include=include)
    assert b"\xff\x00" in hits.ids
    for again in copies(hits):
        assert type(again) is stratavec.Hits and list(again) == list(hits) and again.ids == hits.ids
        assert np.array_equal(again.distances, hits.distances) and repr(again.explain) == repr(hits.explain)
        assert [hit.attributes for hit in again] == [hit.attributes for hit in hits] and [hit.payload for hit in again] == [hit.payload for hit in hits]
        assert again[0].exact and again[:2] == hits[:2] and len(again[3:]) == 17
    for again in copies(hits[3]):
        assert type(again) is stratavec.Hit and again == hits[3] and again.distance == hits[3].distance
        assert again.attributes == hits[3].attributes and (again.vector is None) == (hits[3].vector is None)
    assert copies(c.search(vectors[0], 3, max_distance=-1.0))[0].ids == []


def test_hits_of_numbers_and_estimates(place, rng):
    vectors = rng.standard_normal((50, 8), np.float32)
    with stratavec.open(place, 8, "cosine", ids="u64", rows="i8", durability="os") as c:
        c.upsert(np.array([2**64 - 2, *range(49)], np.uint64), vectors)
        hits = c.search(vectors[0], 5)
        assert hits[0].id == 2**64 - 2 and not hits[0].exact
        assert all(list(again) == list(hits) and not again[0].exact for again in copies(hits))


def test_rows(named):
    c, _ = named
    for item in (c.get("row 3"), c.get(b"\xff\x00"), next(c.scan())):
        for again in copies(item):
            assert type(again) is stratavec.Item and all(same(value, getattr(again, name)) for name, value in fields(item).items())
            assert again.attributes == {**ATTRIBUTES} and again.seq == 1


def test_reports(named, tmp_path):
    c, _ = named
    receipt = c.upsert("more", [1, 2, 3, 4])
    hits = c.search([1, 2, 3, 4])
    reports = [
        receipt, c.bulk_load([("x", [1, 2, 3, 4])], progress=False), c.compact("full", progress=False), c.checkpoint(tmp_path / "copy"), c.health(), c.recovery,
        c.scrub(progress=False), hits.explain, stratavec.verify(c.path), stratavec.upgrade(tmp_path / "copy"), c.stats(),
        stratavec.repair(tmp_path / "copy", tmp_path / "repaired"),
    ]  # fmt: skip
    assert len({type(report) for report in reports}) == len(reports)
    for report in reports:
        for again in copies(report):
            assert type(again) is type(report) and repr(again) == repr(report)
            assert {name: repr(value) for name, value in fields(again).items()} == {name: repr(value) for name, value in fields(report).items()}


def test_reports_of_damage(place, rng):
    with stratavec.open(place, 64, "l2", ids="u64") as c:
        c.upsert(np.arange(1000), rng.random((1000, 64), np.float32))
    rows = next(place.glob("row-*"))
    content = bytearray(rows.read_bytes())
    content[len(content) // 3] ^= 1
    rows.chmod(0o600)
    rows.write_bytes(content)
    report = stratavec.verify(place)
    for again in copies(report):
        assert not again and [str(error) for error in again.findings] == [str(error) for error in report.findings]
        assert type(again.findings[0]) is stratavec.CorruptError and again.findings[0].offset == report.findings[0].offset
    report = stratavec.repair(place, place.with_name("repaired"))
    assert all(again.ids_lost == report.ids_lost and again.losses == report.losses for again in copies(report))


def test_health_of_lists_and_of_none(place, rng):
    vectors = rng.standard_normal((3000, 16), np.float32)
    with stratavec.open(place, 16, "l2", ids="u64", index="ivf", nlist=16, durability="os", compaction="manual") as c:
        c.upsert(np.arange(3000), vectors)
        for _ in range(2):
            none = c.health()
            measured = {name: value for name, value in fields(none).items() if value is not None}
            assert measured == {"sampled": 0, "lists": 0}, "nothing to grade: every search is exact"
            assert "every search is exact" in repr(none)
            c.flush()
        c.compact("full", progress=False)
        health = c.health()
        assert 0 < health.score <= 100 and health.lists == 16 and health.recall > 0.8
        assert all(fields(again) == fields(health) for again in copies(health))


def search(c, query):
    return c.search(query, 3, include="attributes"), c.get("row 1"), c.stats()


def test_answers_come_from_other_processes(named):
    c, vectors = named
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        hits, item, stats = pool.apply(search, (c, vectors[1]))
    here = c.search(vectors[1], 3, include="attributes")
    assert list(hits) == list(here) and hits[0].attributes == ATTRIBUTES and np.array_equal(item.vector, vectors[1]) and stats.rows == 20


def test_what_is_at_work_is_not_data(named):
    c, _ = named
    for thing in (c.snapshot(), c.batch(), c.scan(), iter(c.search([1, 2, 3, 4]))):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


def test_a_pickle_finds_the_collection_from_anywhere(tmp_path, monkeypatch):
    """The path was given from a directory that the process has left since."""
    monkeypatch.chdir(tmp_path)
    with stratavec.open("idx", 2, "l2") as c, c.snapshot():
        c.upsert("a", [1, 2])
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        with pickle.loads(pickle.dumps(c)) as again:
            assert again.get("a").vector.tolist() == [1, 2] and again.path == str(tmp_path / "idx")
            assert pickle.loads(pickle.dumps(again)).path == again.path
        assert c.path == "idx"

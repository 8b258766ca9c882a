"""Every argument that has a range: what is beyond it, or no number at all, is refused by name and told the range, and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import stratavec
from stratavec import InvalidArgumentError

HUGE = [2**64, 10**30, 10**5000]
#: What is no number, or none that counts something.
NO_COUNT = ["3", b"3", 1.5, [1], {}, True, np.True_, object(), np.float32(2), np.ones(2), float("nan")]
NO_NUMBER = ["0.5", b"1", [1], {}, True, object(), np.ones(2), 1j]
NAN = float("nan")
INF = float("inf")


def refused(call, name, value, kind=InvalidArgumentError):
    """The call raises, and says what is wrong with which argument."""
    with pytest.raises(kind) as told:
        call(**{name: value})
    if kind is InvalidArgumentError:
        assert told.value.argument == name and isinstance(told.value, ValueError) and name in str(told.value)
        assert "use" in str(told.value) or "last batch" in str(told.value) or "surrogate" in str(told.value), str(told.value)
    elif hasattr(told.value, "add_note"):
        assert name in " ".join([str(told.value), *getattr(told.value, "__notes__", [])]), str(told.value)


SEARCH_COUNTS = ["k", "nprobe", "patience", "candidates"]


@pytest.fixture(params=["collection", "follower", "snapshot"])
def reader(request, filled):
    c, vectors = filled
    made = {"collection": lambda: c, "follower": lambda: stratavec.open(c.path, read_only=True), "snapshot": c.snapshot}[request.param]()
    yield made, vectors
    if made is not c:
        made.close()


@pytest.mark.parametrize("name", SEARCH_COUNTS)
def test_counts_of_searches(reader, name):
    r, vectors = reader
    for search in (lambda **terms: r.search(vectors[0], **terms), lambda **terms: r.search_batch(vectors[:2], **terms)):
        call = (lambda **terms: search(nprobe=1, **terms)) if name == "patience" else search  # noqa: B023
        for value in [0, -1, -(2**70), np.int64(-5), *HUGE]:
            refused(call, name, value)
        for value in NO_COUNT:
            refused(call, name, value, TypeError)
        for value in (1, np.int32(1), np.uint8(1)):
            assert call(**{name: value}) is not None
    with pytest.raises(TypeError):
        r.search(vectors[0], k=None)


def test_threads(reader):
    r, vectors = reader

    def call(**terms):
        return r.search_batch(vectors[:2], 3, **terms)

    for value in [0, -1, 1025, *HUGE]:
        refused(call, "threads", value)
    for value in [*NO_COUNT, None]:
        refused(call, "threads", value, TypeError)
    assert call(threads=2)[0].shape == (2, 3)


@pytest.mark.parametrize("name", ["recall", "confidence"])
def test_parts_of_searches(reader, name):
    r, vectors = reader
    for search in (lambda **terms: r.search(vectors[0], **terms), lambda **terms: r.search_batch(vectors[:2], **terms)):
        for value in [0, -1, 1.01, NAN, INF, -INF, 0.0, 10**400, -(10**400)]:
            refused(search, name, value)
        for value in NO_NUMBER:
            refused(search, name, value, TypeError)
        for value in (1, 0.5, np.float32(0.25), None):
            assert search(**{name: value}) is not None


def test_distances_and_deadlines(reader):
    r, vectors = reader
    for search in (lambda **terms: r.search(vectors[0], **terms), lambda **terms: r.search_batch(vectors[:2], **terms)):
        for value in [-1, -0.5, NAN, INF, 1e30, 10**400]:
            refused(search, "deadline", value)
        refused(search, "max_distance", NAN)
        for name in ("deadline", "max_distance"):
            for value in NO_NUMBER:
                refused(search, name, value, TypeError)
        for terms in ({"deadline": 60}, {"deadline": np.float64(60)}, {"max_distance": INF}, {"max_distance": 10**400}, {"max_distance": None, "deadline": None}):
            assert search(**terms) is not None
    assert len(r.search(vectors[0], max_distance=-1)) == len(r.search(vectors[0], max_distance=-INF)) == 0


def test_flags_and_words_of_searches(reader):
    r, vectors = reader
    for search in (lambda **terms: r.search(vectors[0], **terms), lambda **terms: r.search_batch(vectors[:2], **terms)):
        for value in (1, "yes", None, 0.0):
            refused(search, "exact", value, TypeError)
        refused(search, "mode", "warm")
        for value in (1, None, b"hot"):
            refused(search, "mode", value, TypeError)
        refused(search, "filter", 7, TypeError)
        refused(search, "rerank_with", 7, TypeError)
    refused(lambda **terms: r.search(vectors[0], **terms), "include", "vectors")
    for value in (7, ["vector", 7], b"vector"):
        with pytest.raises(TypeError):
            r.search(vectors[0], include=value)
    for query in (None, "text", [], [1.0] * 9, [[1.0] * 8], [NAN] * 8, [INF] * 8, np.zeros(8, complex)):
        with pytest.raises((TypeError, ValueError)):
            r.search(query)


COUNTS = {
    "dim": (1, 65_536), "nlist": (1, 1 << 24), "bits": (1, 8), "seed": (0, 2**64 - 1), "memory_budget": (32 << 20, 1 << 46), "flush_bytes": (1024, 4 << 30),
    "flush_rows": (1, 2**64 - 1), "fanout": (2, 64), "scrub_bytes_per_second": (65_536, 2**64 - 1), "delete_reserve": (0, 1 << 30),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_counts_of_opening(place, name):
    least, most = COUNTS[name]

    def call(**options):
        lists = {"index": "ivf"} if name in ("nlist", "bits") else {}
        with stratavec.open(place, **{"dim": 4, "metric": "l2", **lists, **options}):
            raise AssertionError("it was opened")

    for value in [-1, least - 1, most + 1, -(2**70), *HUGE]:
        refused(call, name, value)
    for value in NO_COUNT:
        refused(call, name, value, TypeError)
    assert not place.exists()
    if name in ("nlist", "bits", "seed", "fanout", "delete_reserve", "flush_rows"):
        for value in (least, most):
            with pytest.raises(AssertionError, match="it was opened"):
                call(**{name: value})
            for file in place.iterdir():
                file.unlink()


def test_other_options_of_opening(place):
    def call(**options):
        return stratavec.open(place, **{"dim": 4, "metric": "l2", **options})

    for value in (0, 0.001, 1.5, NAN, INF, -1, 10**400):
        refused(call, "dead_ratio", value)
    for value in NO_NUMBER:
        refused(call, "dead_ratio", value, TypeError)
    for name in ("metric", "ids", "rows", "index", "codes", "durability", "compaction", "access"):
        refused(call, name, "\ud800")
        for value in ("nothing of the kind", ""):
            refused(call, name, value)
        for value in (1, True, b"l2", ["l2"]):
            refused(call, name, value, TypeError)
    for name in ("spill", "background"):
        for value in (1, "yes", 0.0):
            refused(call, name, value, TypeError)
    assert not place.exists()


@pytest.mark.parametrize("wrong", [None, 7, 1.5, True, ["idx"], object()])
def test_paths_are_text(filled, wrong):
    c, _ = filled
    for call in (stratavec.open, stratavec.verify, stratavec.upgrade, c.checkpoint, lambda path: stratavec.repair(path, "to"), lambda path: stratavec.repair("from", path)):
        with pytest.raises(TypeError):
            call(wrong)


@pytest.mark.parametrize("wrong", ["idx\ud800", "idx\0", "\udfff/\ud800"])
def test_paths_that_no_file_can_have(filled, wrong):
    c, _ = filled
    calls = [
        lambda: stratavec.open(wrong), lambda: stratavec.open(wrong, 2, "l2"), lambda: stratavec.create(wrong, 2, "l2"), lambda: stratavec.open(wrong, read_only=True),
        lambda: stratavec.verify(wrong), lambda: stratavec.upgrade(wrong), lambda: c.checkpoint(wrong), lambda: stratavec.repair(wrong, "to"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(InvalidArgumentError) as told:
            call()
        assert told.value.argument == "path" and str(told.value).isprintable()


def test_a_path_that_is_no_unicode_is_a_path(tmp_path):
    """File names are bytes; Python writes those that are no UTF-8 with surrogates of its own."""
    place = str(tmp_path / "idx-") + b"\xff\xfe".decode("utf-8", "surrogateescape")
    with stratavec.open(place, 2, "l2") as c:
        c.upsert("a", [1, 2])
        assert c.path == place and c.stats()["path"] == place
        import pickle

        with pickle.loads(pickle.dumps(c)) as again:
            assert again.get("a").vector.tolist() == [1, 2]
    assert (tmp_path / "idx-").with_name("idx-" + b"\xff\xfe".decode("utf-8", "surrogateescape")).is_dir()


@pytest.mark.parametrize("half", ["\ud800", "a\udfff", "\udc80"])
def test_halves_of_surrogate_pairs_are_no_text(place, half):
    with stratavec.open(place, 2, "l2") as c:
        calls = {
            "id": [
                lambda: c.upsert(half, [1, 2]), lambda: c.upsert(["a", half], [[1, 2], [3, 4]]), lambda: c.get(half), lambda: half in c, lambda: c.delete(half),
                lambda: c.delete(["a", half]), lambda: c.search([1, 2], ids=[half]), lambda: stratavec.Filter.ids([half]), lambda: c.bulk_load([(half, [1, 2])], progress=False),
                lambda: c.get_many([half]), lambda: c.batch().delete(half),
            ],
            "attributes": [
                lambda: c.upsert("a", [1, 2], {"name": half}), lambda: c.upsert("a", [1, 2], {half: "value"}), lambda: c.upsert("a", [1, 2], {"names": ["b", half]}),
            ],
            "properties": [lambda: c.bulk_load([], properties={half: b""}, progress=False)],
            "name": [lambda: c.property(half)],
        }  # fmt: skip
        for name, these in calls.items():
            for call in these:
                with pytest.raises(InvalidArgumentError) as told:
                    call()
                assert told.value.argument == name and "surrogate" in str(told.value) and str(told.value).isprintable(), str(told.value)
        assert len(c) == 0


@pytest.mark.parametrize("wrong", [True, np.True_, 1.0, np.float64(1), None, 1j, object()])
def test_what_is_no_id(filled, place, wrong):
    c, vectors = filled
    with stratavec.open(place.with_name("named"), 8, "l2") as named:
        for other in (c, named):
            for call in (lambda: other.get(wrong), lambda: wrong in other, lambda: other.upsert([wrong], vectors[:1]), lambda: other.delete([wrong]), lambda: other.get_many([wrong])):  # noqa: B023
                with pytest.raises(TypeError):
                    call()


@pytest.mark.parametrize("wrong", [-1, 2**64 - 1, 2**64, -(2**70), 10**30])
def test_numbers_that_are_no_ids(filled, wrong):
    c, vectors = filled
    calls = [
        lambda: c.get(wrong), lambda: wrong in c, lambda: c.upsert(wrong, vectors[0]), lambda: c.upsert([1, wrong], vectors[:2]), lambda: c.insert([wrong], vectors[:1]),
        lambda: c.delete(wrong), lambda: c.delete([wrong]), lambda: c.search(vectors[0], ids=[wrong]), lambda: c.bulk_load([(wrong, vectors[0])], progress=False),
        lambda: c.get_many([wrong]), lambda: c.batch().upsert(wrong, vectors[0]),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(InvalidArgumentError) as told:
            call()
        assert told.value.argument == "id" and "18446744073709551614" in str(told.value)
    with pytest.raises(InvalidArgumentError):
        c.delete(np.array([1, -1]))
    assert len(c) == 100


def test_arguments_of_the_writer(filled):
    c, vectors = filled
    for value in [-1, *HUGE, c.seq + 1]:
        refused(lambda seq: c.wait_durable(seq), "seq", value)
    for value in [*NO_COUNT, None]:
        refused(lambda seq: c.wait_durable(seq), "seq", value, TypeError)
    for name, wrong in {"nprobe": -1, "recall": NAN, "confidence": 2, "patience": 0}.items():
        terms = {"nprobe": 1} if name == "patience" else {}
        refused(lambda **said: c.set_default_effort(**terms, **said), name, wrong)  # noqa: B023
    for what in ("all", "\ud800"):
        with pytest.raises(ValueError):
            c.compact(what, progress=False)
    for what in (None, 1, True):
        with pytest.raises(TypeError):
            c.compact(what, progress=False)
    for progress in (7, "bar"):
        with pytest.raises((TypeError, ValueError)):
            c.compact(progress=progress)
    for properties in ({"a": "text"}, {1: b""}, [("a", b"")], {"a": [-1]}, {"a": 1}):
        with pytest.raises(TypeError):
            c.bulk_load([], properties=properties, progress=False)
    for durability in ("full", "", "\ud800"):
        with pytest.raises(ValueError):
            c.upsert(1, vectors[0], durability=durability)
    for durability in (1, True, b"os"):
        with pytest.raises(TypeError):
            c.upsert(1, vectors[0], durability=durability)
    for payloads in ([1], ["text"], 7):
        with pytest.raises((TypeError, ValueError)):
            c.upsert([1], vectors[:1], payloads=payloads)
    for attributes in ({"a": 2**63}, {"a": [1]}, {"a": {}}, {1: 2}, {"a": 1j}, {"a": NAN}):
        with pytest.raises((TypeError, ValueError)):
            c.upsert(1, vectors[0], attributes)
    assert c.get(1).vector.tolist() == vectors[1].tolist()


def test_places_in_hits(filled):
    c, vectors = filled
    hits = c.search(vectors[0], 5)
    for at in (5, -6, 2**70, -(2**70)):
        with pytest.raises(IndexError):
            hits[at]
    for at in ("0", 1.0, None):
        with pytest.raises(TypeError):
            hits[at]
    assert hits.index(hits[2], -(10**30), 10**30) == 2 and hits[-(10**30) : 10**30] == list(hits)
    with pytest.raises(ValueError):
        hits.index(hits[2], 3)


def test_masked_numbers_are_refused(filled):
    """What is masked is hidden, not zero: it must not come out as what lies under the mask."""
    c, vectors = filled
    for kind in (np.float32, np.float64):
        hidden = np.ma.masked_array(vectors[0].astype(kind), [True] + [False] * 7)
        for call in (lambda: c.search(hidden), lambda: c.upsert(7, hidden), lambda: c.search_batch(np.ma.stack([hidden, hidden])), lambda: c.upsert([7], hidden[None])):  # noqa: B023
            with pytest.raises(InvalidArgumentError, match="masked"):
                call()
        assert c.search(np.ma.masked_array(vectors[7].astype(kind)), 1)[0].id == 7  # Nothing in it is masked.
    for call in (c.delete, c.get_many, lambda ids: c.search(vectors[0], ids=ids)):
        with pytest.raises(TypeError):
            call(np.ma.masked_array([1, 2], [False, True]))
    assert len(c) == 100 and c.get(7).vector.tolist() == vectors[7].tolist()


def test_derived_arrays_are_arrays(filled, tmp_path):
    c, vectors = filled
    np.save(tmp_path / "v.npy", vectors)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap) and c.search(mapped[9], 1)[0].id == 9
    assert c.search_batch(mapped, 1)[0].ravel().tolist() == list(range(100)) and c.upsert(np.arange(100), mapped).replaced == 100


class Boaster:
    """Has two members and says that it has a trillion trillions."""

    def __len__(self):
        return 10**18

    def __iter__(self):
        return iter([1, 2])


def test_lengths_are_not_believed(filled):
    c, vectors = filled
    assert sorted(c.search(vectors[0], ids=Boaster()).ids) == [1, 2] and len(c.get_many(Boaster())) == 2
    assert c.delete(Boaster()) == 2 and len(c) == 98


@pytest.mark.parametrize("wrong", [np.int64(5), np.str_("text"), np.zeros(8, np.float32), np.float32(1), 7, [1, 2], "text", {}])
def test_payloads_are_bytes(filled, wrong):
    c, vectors = filled
    for call in (lambda: c.upsert(1, vectors[1], None, wrong), lambda: c.upsert([1], vectors[1:2], None, [wrong]), lambda: c.bulk_load([(1, vectors[1], None, wrong)], progress=False)):
        with pytest.raises(TypeError, match="bytes"):
            call()
    for right in (b"ace", bytearray(b"ace"), memoryview(b"abcde")[::2]):
        c.upsert(1, vectors[1], None, right)
        assert c.get(1).payload == b"ace"


def test_values_of_attributes_are_what_they_say(filled):
    """Arrays of one number, and moments of numpy, which count nanoseconds or something else, are not taken for numbers."""
    from types import MappingProxyType

    c, vectors = filled
    for wrong in (np.array([1]), np.array(1), np.datetime64("2026-01-01T00:00:00.000000001"), np.datetime64("2026-01-01"), np.timedelta64(5, "s"), np.complex64(1)):
        with pytest.raises(TypeError, match="attribute at"):
            c.upsert(1, vectors[1], {"at": wrong})
    c.upsert(1, vectors[1], MappingProxyType({"a": np.int8(3), "b": np.float32(0.5), "c": np.True_, "d": np.longdouble(2), "e": np.str_("x")}))
    assert c.get(1).attributes == {"a": 3, "b": 0.5, "c": True, "d": 2.0, "e": "x"}
    with pytest.raises(InvalidArgumentError, match="one dict"):
        c.upsert([1, 2], vectors[:2], MappingProxyType({"a": 1}))


def test_what_is_wrong_with_a_row_of_a_load_is_said_once(filled):
    c, vectors = filled
    with pytest.raises(InvalidArgumentError) as told:
        c.bulk_load([(1, vectors[0]), (2, [1.0, 2.0])], progress=False)
    assert told.value.argument == "vector" and str(told.value).startswith("item 1: vector has 2 components") and str(told.value).count("components") == 1

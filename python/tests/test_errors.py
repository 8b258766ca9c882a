"""Each kind of error is an exception of its own, with what a person needs to act."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import stratavec
from stratavec import errors

ROOT = Path(__file__).resolve().parents[2]


def test_every_kind_has_a_class_of_its_own():
    kinds = {error.kind for error in stratavec.StratavecError.__subclasses__()}
    assert len(kinds) == len(stratavec.StratavecError.__subclasses__()) == 16
    assert kinds == {
        "already_exists", "batch_too_large", "busy", "cancelled", "closed", "corrupt", "forked", "invalid_argument", "io", "locked", "no_space",
        "not_found", "over_budget", "poisoned", "schema_mismatch", "unsupported_version",
    }  # fmt: skip
    assert set(errors.__all__) <= set(stratavec.__all__)


def test_an_error_tells_what_to_do_and_can_be_pickled(filled):
    c, _ = filled
    with pytest.raises(stratavec.InvalidArgumentError) as told:
        c.upsert(1, [1.0, 2.0])
    assert told.value.argument == "vector" and told.value.kind == "invalid_argument" and isinstance(told.value, ValueError)
    with pytest.raises(stratavec.AlreadyExistsError) as told:
        c.insert([1], np.zeros((1, 8)))
    assert "upsert" in told.value.hint and told.value.hint in str(told.value) and told.value.outcome == "not_committed"
    again = pickle.loads(pickle.dumps(told.value))
    assert type(again) is type(told.value) and str(again) == str(told.value) and again.hint == told.value.hint


def test_not_found_and_mismatch(place, filled):
    c, _ = filled
    with pytest.raises(stratavec.NotFoundError):
        stratavec.open(str(place) + "-not", read_only=True)
    for wrong in ({"dim": 9}, {"metric": "ip"}, {"ids": "bytes"}, {"rows": "f16"}, {"index": "auto"}):
        with pytest.raises(stratavec.SchemaMismatchError):
            stratavec.open(c.path, read_only=True, **wrong)


def test_locked(filled):
    with pytest.raises(stratavec.LockedError, match=f"process {os.getpid()}"):
        stratavec.open(filled[0].path)


def test_batch_too_large(place):
    with stratavec.open(place, 1024, "l2", ids="u64", durability="os") as c:
        with pytest.raises(stratavec.BatchTooLargeError, match="bulk_load"):
            c.upsert(np.arange(17_000), np.ones((17_000, 1024), np.float32))
        assert len(c) == 0


def test_over_budget(place):
    with stratavec.open(place, 1024, "l2", ids="u64", memory_budget=32 << 20, durability="os") as c:
        c.bulk_load(np.arange(2000), np.ones((2000, 1024), np.float32), progress=False)
        with pytest.raises((stratavec.OverBudgetError, stratavec.BatchTooLargeError)):
            c.upsert(np.arange(16_000), np.ones((16_000, 1024), np.float32))
        assert len(c) == 2000


def test_closed(place):
    c = stratavec.open(place, 2, "l2")
    snapshot = c.snapshot()
    c.close()
    for call in (lambda: c.search([1, 2]), lambda: c.upsert("a", [1, 2]), lambda: len(c), lambda: c.batch(), lambda: c.__enter__(), lambda: c.stats()):
        with pytest.raises(stratavec.ClosedError):
            call()
    assert c.closed and "closed" in repr(c) and len(snapshot) == 0


def test_corrupt_names_file_and_offset(place):
    with stratavec.open(place, 64, "l2", ids="u64") as c:
        c.upsert(np.arange(1000), np.random.default_rng(0).random((1000, 64), np.float32))
    rows = next(place.glob("row-*"))
    content = bytearray(rows.read_bytes())
    content[len(content) // 3] ^= 1
    rows.write_bytes(content)
    report = stratavec.verify(place)
    assert not report and not report.is_sound and isinstance(report.findings[0], stratavec.CorruptError)
    found = report.findings[0]
    assert found.file == rows.name and found.section and found.offset is not None and rows.name in str(found)
    with stratavec.open(place, read_only=True) as c, pytest.raises(stratavec.CorruptError):
        c.search(np.zeros(64), 1000)
        list(c.scan())
    repaired = stratavec.repair(place, place.with_name("repaired"))
    assert not repaired.is_complete and repaired.rows_lost == 1 and len(repaired.ids_lost) == 1 and rows.name in repaired.losses[0]


def test_io(place, tmp_path):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(stratavec.IoError):
        stratavec.open(tmp_path / "file", read_only=True)


def test_busy_and_poisoned_map_to_their_classes():
    """These need a broken disk or a race; the engine's tests make them. Here: the names meet."""
    for kind, made in [("busy", stratavec.BusyError), ("poisoned", stratavec.PoisonedError)]:
        assert type(errors._of_engine(kind, "what", {"hint": "do"})) is made
    unknown = errors._of_engine("of_next_year", "what", {})
    assert type(unknown) is stratavec.StratavecError and unknown.kind == "of_next_year"


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (np.zeros((2, 8), np.complex64), TypeError),
        (np.zeros((2, 8), bool), TypeError),
        ([["a"] * 8] * 2, TypeError),
        (np.zeros((2, 9), np.float32), stratavec.InvalidArgumentError),
        (np.zeros((3, 8), np.float32), stratavec.InvalidArgumentError),
        (np.zeros(8, np.float32), stratavec.InvalidArgumentError),
        (np.full((2, 8), np.nan, np.float32), stratavec.InvalidArgumentError),
        (np.full((2, 8), 1e300), stratavec.InvalidArgumentError),
        (np.full((2, 8), 2**24 + 1), stratavec.InvalidArgumentError),
        (np.full((2, 8), 2**64 - 1, np.uint64), stratavec.InvalidArgumentError),
    ],
)
def test_vectors_that_cannot_be_taken_are_refused_and_change_nothing(filled, wrong, error):
    c, _ = filled
    with pytest.raises(error):
        c.upsert([200, 201], wrong)
    assert len(c) == 100


@pytest.mark.parametrize("wrong", [-1, 2**64 - 1, 2**64, "a", b"a", 1.5, None, [1]])
def test_ids_of_another_kind_are_refused(filled, wrong):
    c, vectors = filled
    for call in (lambda: c.get(wrong), lambda: wrong in c, lambda: c.upsert([wrong], vectors[:1]), lambda: c.delete([wrong]), lambda: c.search(vectors[0], ids=[wrong])):
        with pytest.raises((stratavec.InvalidArgumentError, TypeError)):
            call()


@pytest.mark.parametrize("wrong", ["", b"", "a" * 513, 1, np.int64(3), 1.5, None])
def test_byte_ids_of_another_kind_are_refused(place, wrong):
    with stratavec.open(place, 2, "l2") as c, pytest.raises((stratavec.InvalidArgumentError, TypeError)):
        c.upsert([wrong], [[1, 2]])


def test_lengths_that_do_not_match_are_refused(filled):
    c, vectors = filled
    for wrong in ({"attributes": [{}]}, {"attributes": {}}, {"payloads": [b""] * 3}, {"payloads": b"a"}, {"payloads": ["text", "text"]}, {"durability": "none"}):
        with pytest.raises((stratavec.InvalidArgumentError, TypeError)):
            c.upsert([1, 2], vectors[:2], **wrong)
    with pytest.raises(stratavec.InvalidArgumentError):
        c.bulk_load([1], None, [{}])


@pytest.mark.parametrize("wrong", [{"dim": -1}, {"bits": 300}, {"seed": -1}, {"memory_budget": -1}, {"flush_rows": 2**64}])
def test_numbers_beyond_their_range_are_refused_by_name(place, wrong):
    with pytest.raises(stratavec.InvalidArgumentError) as caught:
        stratavec.open(place, **{"dim": 4, "metric": "l2", "index": "ivf"} | wrong)
    assert caught.value.argument == next(iter(wrong)) and not place.exists()
    with pytest.raises(TypeError, match="dim"):
        stratavec.open(place, "4", "l2")


def test_files_of_a_newer_release_are_refused_and_left_alone(place, monkeypatch):
    """Both copies of the manifest say version 9, with checksums that are right."""
    monkeypatch.syspath_prepend(str(ROOT / "format-spec"))
    from stored import file_seed, second_copy, unit_crc

    stratavec.open(place, 2, "l2").close()
    manifest = max(place.glob("man-*"))
    content, seed = bytearray(manifest.read_bytes()), file_seed(int(manifest.name[4:], 16) << 64)
    length = int.from_bytes(content[12:16], "little")
    for at in (0, second_copy(len(content))):
        content[at + 8 : at + 12] = (9).to_bytes(4, "little")
        content[at + length - 4 : at + length] = unit_crc(seed, at, bytes(content[at : at + length - 4])).to_bytes(4, "little")
    manifest.chmod(0o600)
    manifest.write_bytes(content)
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    for call in (stratavec.open, lambda path: stratavec.open(path, read_only=True), stratavec.upgrade):
        with pytest.raises(stratavec.UnsupportedVersionError, match="version 9") as told:
            call(place)
        assert "newer release" in told.value.hint
    assert {file.name: file.read_bytes() for file in place.iterdir() if file.name in before} == before
    sys.modules.pop("stored", None)


def test_what_is_cancelled_says_so(place):
    c = stratavec.open(place, 64, "l2", ids="u64", durability="os", scrub_bytes_per_second=65_536)
    c.bulk_load(np.arange(8000), np.random.default_rng(0).random((8000, 64), np.float32), progress=False)
    raised, begun = [], threading.Event()

    def scrub():
        try:
            c.scrub(progress=lambda done, total: begun.set())
        except stratavec.StratavecError as error:
            raised.append(error)

    thread = threading.Thread(target=scrub)
    thread.start()
    assert begun.wait(30)
    c.close()
    thread.join(30)
    assert [type(error) for error in raised] == [stratavec.CancelledError]


def test_copies_are_made_beside_what_they_are_of(filled, tmp_path):
    c, _ = filled
    inside = [c.path, os.path.join(c.path, "copy"), os.path.join(c.path, "..", os.path.basename(c.path), "copy")]
    (tmp_path / "other").symlink_to(c.path)
    for place in [*inside, tmp_path / "other" / "copy"]:
        with pytest.raises(stratavec.InvalidArgumentError, match="in the collection's own directory") as told:
            c.checkpoint(place)
        assert told.value.argument == "path" and "outside" in told.value.hint
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for place in (tmp_path / "full", tmp_path):
        with pytest.raises(stratavec.InvalidArgumentError, match="is not empty"):
            c.checkpoint(place)
    assert not os.path.exists(os.path.join(c.path, "copy"))
    c.checkpoint(tmp_path / "copy")
    with pytest.raises(stratavec.InvalidArgumentError, match="already holds a collection"):
        c.checkpoint(tmp_path / "copy")


def test_properties_are_read_by_all_readers(filled):
    c, vectors = filled
    c.bulk_load([(1000, vectors[0])], properties={"source": b"one"}, progress=False)
    with stratavec.open(c.path, read_only=True) as follower, c.snapshot() as pinned, follower.snapshot() as shown:
        c.bulk_load([], properties={"source": b"two", "höhe": b"\x00"}, progress=False)
        assert [reader.property("source") for reader in (c, follower, pinned, shown)] == [b"two", b"one", b"one", b"one"]
        assert c.property("höhe") == b"\x00" and pinned.property("höhe") is None
        follower.refresh()
        assert follower.property("source") == b"two" and shown.property("source") == b"one"
    for wrong in (None, 1, b"source"):
        with pytest.raises(TypeError):
            c.property(wrong)


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs a file system of its own")
def test_a_full_disk_is_told_and_takes_nothing_with_it(tmp_path):
    program = """
        import sys, numpy as np, stratavec
        vectors = np.random.default_rng(0).random((500, 256), np.float32)
        c = stratavec.open(sys.argv[1] + "/idx", 256, "l2", ids="u64")
        try:
            for n in range(100):
                c.upsert(np.arange(500) + 500 * n, vectors)
        except stratavec.NoSpaceError as error:
            assert error.outcome == "not_committed" and error.kind == "no_space", error
        rows = len(c)
        assert 0 < rows < 50_000 and rows % 500 == 0 and c.search(vectors[7], 1)[0].id == 7
        assert c.delete(np.arange(100)) == 100
        with stratavec.open(c.path, read_only=True) as follower:
            assert len(follower) == rows - 100
        print("told")
    """
    mount = 'mount -t tmpfs -o size=8m tmpfs "$2" && exec "$0" -c "$1" "$2"'
    command = ["unshare", "-rm", "sh", "-c", mount, sys.executable, textwrap.dedent(program), str(tmp_path)]
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "told", done.stdout + done.stderr

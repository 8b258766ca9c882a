"""Two processes, forks, pickles, and Ctrl-C."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import stratavec


def follow(path, told, asked):
    """A process that reads: answers how many rows it sees and what is nearest."""
    with stratavec.open(path, read_only=True) as follower:
        while asked.recv() == "look":
            seq = follower.refresh()
            told.send((seq, len(follower), follower.search([0.0, 0.0], 1).ids))


def test_a_writer_and_two_followers(place):
    spawn = multiprocessing.get_context("spawn")
    with stratavec.open(place, 2, "l2", flush_bytes=4096) as c:
        c.upsert("first", [0, 1])
        readers = []
        for _ in range(2):
            (here, there), (reads, writes) = spawn.Pipe(), spawn.Pipe()
            process = spawn.Process(target=follow, args=(str(place), there, reads))
            process.start()
            readers.append((process, here, writes))
        for turn in range(60):
            c.upsert([f"r{turn}-{n}" for n in range(10)], np.full((10, 2), 1000.0 - turn))
            if turn == 30:
                c.compact("full", progress=False)
            if turn % 10 == 9:
                for _, here, writes in readers:
                    writes.send("look")
                    assert here.recv() == (c.seq, len(c), ["first"])
        for process, _, writes in readers:
            writes.send("end")
            process.join(30)
            assert process.exitcode == 0


def run(program: str, *arguments: str, **options) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_second_writer_is_told_who_has_the_collection(filled):
    c, _ = filled
    program = """
        import sys, stratavec
        try:
            stratavec.open(sys.argv[1])
        except stratavec.LockedError as error:
            print(error.kind, error)
    """
    out, _ = run(program, c.path).communicate(timeout=60)
    assert out.startswith("locked") and str(os.getpid()) in out and "read_only=True" in out


def test_what_was_acknowledged_survives_a_kill(place):
    program = """
        import sys, stratavec
        c = stratavec.open(sys.argv[1], 2, "l2", ids="u64")
        for n in range(1_000_000):
            c.upsert(n, [n, 1])
            print(n, flush=True)
    """
    process = run(program, str(place))
    acknowledged = [int(process.stdout.readline()) for _ in range(50)][-1]
    process.kill()
    rest = [int(line) for line in process.communicate()[0].splitlines() if line]
    acknowledged = max([acknowledged, *rest])
    with stratavec.open(place) as c:
        assert not c.recovery.is_clean and c.recovery.batches_replayed > acknowledged
        assert all(n in c for n in range(acknowledged + 1)) and len(c) <= acknowledged + 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_refused_and_the_parent_goes_on(filled):
    c, vectors = filled
    scan, snapshot, batch = c.scan(), c.snapshot(), c.batch()
    follower = stratavec.open(c.path, read_only=True)
    batch.upsert(7, vectors[0])
    child = os.fork()
    if child == 0:
        refused = 0
        calls = [
            lambda: c.search(vectors[0]), lambda: c.upsert(1, vectors[0]), lambda: len(c), lambda: snapshot.search(vectors[0]), lambda: next(scan),
            lambda: batch.commit(), lambda: follower.refresh(), lambda: c.close(), lambda: c.stats(), lambda: 1 in c, lambda: c.flush(),
        ]  # fmt: skip
        for call in calls:
            try:
                call()
            except stratavec.ForkedError as error:
                refused += error.kind == "forked" and "spawn" in error.hint
        # A handle of its own works, and letting go of the parent's waits for nothing.
        with stratavec.open(c.path, read_only=True) as own:
            refused += own.search(vectors[3], 1)[0].id == 3
        del scan, snapshot, batch, follower, calls, call
        os._exit(0 if refused == 12 else refused + 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert c.search(vectors[3], 1)[0].id == 3 and c.upsert(100, vectors[0]).inserted == 1
    follower.close()


def test_pickles_open_the_path_for_reading(filled):
    c, vectors = filled
    again = pickle.loads(pickle.dumps(c))
    assert isinstance(again, stratavec.Follower) and again.read_only and again.path == os.path.abspath(c.path)
    c.upsert(500, vectors[0] + 100)
    assert len(again) == 100 and pickle.loads(pickle.dumps(again)).search(vectors[0] + 100, 1)[0].id == 500
    assert copy.copy(c) is c and copy.deepcopy(again) is again
    with pytest.raises(TypeError, match="snapshot"):
        pickle.dumps(c.snapshot())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_count, [c, c]) == [101, 101]


def _count(reader):
    return len(reader)


#: What is interrupted: a program that says "begun" and then is at work for long.
LONG = {
    "bulk load": """
        def rows():
            for n in range(10**9):
                yield n, vectors[n % len(vectors)]
        work = lambda: c.bulk_load(rows(), progress=False)
    """,
    "bulk load of a slow source": """
        def rows():
            while True:
                time.sleep(3600)
        work = lambda: c.bulk_load(rows(), progress=False)
    """,
    "batch of queries": "work = lambda: c.search_batch(np.tile(vectors, (60, 1)), 10, exact=True)",
    "callback": """
        def wait(id):
            time.sleep(0.2)
            return False
        work = lambda: c.search(vectors[0], 10, filter=wait)
    """,
    "reading rows": "work = lambda: c.get_many(np.tile(np.arange(4000), 1000))",
    "deleting ids": "work = lambda: [c.delete(np.arange(4000, 1_000_000)) for _ in range(60)]",
    "training in the call": """
        inline = stratavec.open(sys.argv[1] + "-inline", 96, "l2", ids="u64", durability="os", background=False, index="ivf", nlist=3000, flush_rows=4000)
        work = lambda: [inline.upsert(np.arange(4000) + 4000 * n, vectors + n) for n in range(100)]
    """,
    "scrub": "work = lambda: slow.scrub(progress=False)",
    "callback of progress": """
        def tell(done, total):
            time.sleep(3600)
        work = lambda: c.compact('full', progress=tell)
    """,
}


@pytest.mark.parametrize("what", LONG)
def test_interrupts_end_long_calls(place, what):
    program = """
        import os, signal, sys, threading, time, numpy as np, stratavec
        vectors = np.random.default_rng(0).random((4000, 96), np.float32)
        c = stratavec.open(sys.argv[1], 96, "l2", ids="u64", durability="os")
        c.bulk_load(np.arange(4000), vectors, progress=False)
        slow = None
        if "slow" in sys.argv[2]:
            slow = stratavec.open(sys.argv[1] + "-slow", 96, "l2", ids="u64", scrub_bytes_per_second=65536)
            slow.bulk_load(np.arange(4000), vectors, progress=False)
        {work}
        threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        try:
            work()
            print("not interrupted")
        except KeyboardInterrupt:
            print("interrupted after", time.monotonic() - began)
        assert len(c) == 4000 and c.search(vectors[7], 1)[0].id == 7
        c.close()
        print("sound" if stratavec.verify(sys.argv[1]) else "damaged")
    """
    work = textwrap.indent(textwrap.dedent(LONG[what]).strip(), " " * 8).strip()
    process = run(program.format(work=work), str(place), LONG[what])
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    lines = out.splitlines()
    assert lines and lines[0].startswith("interrupted after"), (out, err)
    assert lines[1] == "sound", (out, err)
    assert float(lines[0].split()[-1]) < 10, out


def test_an_interrupt_beside_a_flush_leaves_the_handle_usable(filled):
    c, vectors = filled
    began = time.monotonic()
    old = signal.signal(signal.SIGALRM, _raise)
    try:
        with pytest.raises(_Alarm):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            while time.monotonic() - began < 30:
                c.upsert(1, vectors[1])
                c.flush()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert c.search(vectors[1], 1)[0].id == 1


class _Alarm(Exception):
    pass


def _raise(number, frame):
    raise _Alarm

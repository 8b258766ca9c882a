"""Calls from several threads, beside each other and beside writes."""

from __future__ import annotations

import itertools
import sys
import threading
import time

import numpy as np
import pytest

import stratavec


def run(*works):
    """Runs them at once; the first thing that one of them raises."""
    raised = []

    def guarded(work):
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a call does not return"
    if raised:
        raise raised[0]


def test_searches_during_writes_flushes_and_compactions(place, rng):
    fixed = rng.standard_normal((200, 16), np.float32)
    with stratavec.open(place, 16, "l2", ids="u64", durability="os", flush_bytes=32 << 10) as c:
        c.upsert(np.arange(200), fixed)
        done = threading.Event()

        def write():
            try:
                for turn in range(60):
                    ids = np.arange(1000 + turn % 7 * 50, 1050 + turn % 7 * 50)
                    # Far from everything else, so that answers about the fixed rows do not change.
                    c.upsert(ids, 100 + rng.random((50, 16), np.float32))
                    if turn % 9 == 8:
                        c.delete(ids[:25])
                    if turn % 20 == 19:
                        c.compact("full", progress=False)
            finally:
                done.set()

        def read():
            while not done.is_set():
                at = int(time.monotonic_ns() % 200)
                assert c.search(fixed[at], 1)[0].id == at
                ids, _ = c.search_batch(fixed[:40], 1, threads=2)
                assert ids[:, 0].tolist() == list(range(40))
                with c.snapshot() as snapshot:
                    assert sum(1 for _ in snapshot.scan()) == len(snapshot)
                assert c.get(at).vector.tolist() == fixed[at].tolist() and c.stats().rows >= 200

        run(write, read, read)
    assert stratavec.verify(place).is_sound


def test_the_interpreter_runs_while_a_search_does(place, rng):
    vectors = rng.standard_normal((20_000, 128), np.float32)
    with stratavec.open(place, 128, "l2", ids="u64", durability="os") as c:
        c.bulk_load(np.arange(20_000), vectors, progress=False)
        queries = np.tile(vectors[:500], (2, 1))
        ticks, tried = [], []
        over = threading.Event()

        def tick():
            while not over.is_set():
                ticks.append(time.monotonic())
                time.sleep(0.001)

        def ticks_enough():
            began = time.monotonic()
            c.search_batch(queries, 10, exact=True)
            took = time.monotonic() - began
            inside = [at for at in list(ticks) if began <= at <= began + took]
            tried.append(f"{len(inside)} ticks in {took:.2f} s")
            return len(inside) > min(20, took / 0.05)

        def search():
            # The thread that ticks may find no processor for as long as one search takes; it does not for all of them.
            try:
                assert any(ticks_enough() for _ in range(5)), tried
            finally:
                over.set()

        run(tick, search)


def test_writers_in_many_threads_lose_nothing(place):
    with stratavec.open(place, 2, "l2", ids="u64") as c:

        def write(first):
            for n in range(first, first + 40):
                c.upsert(n, [n, 1])

        run(*[lambda first=first: write(first) for first in range(0, 200, 40)])
        assert sorted(item.id for item in c.scan()) == list(range(200))


def test_threads_share_a_batch_that_is_over(filled):
    c, vectors = filled
    batch = c.batch()
    batch.commit()

    def use():
        for _ in range(500):
            with pytest.raises(stratavec.InvalidArgumentError):
                batch.upsert(1, vectors[0])
            assert len(batch) == 0 and "committed" in repr(batch)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        run(use, use, use, use)
    finally:
        sys.setswitchinterval(interval)


def test_closing_waits_for_the_calls_of_other_threads(place, rng):
    vectors = rng.standard_normal((5000, 64), np.float32)
    c = stratavec.open(place, 64, "l2", ids="u64", durability="os")
    c.bulk_load(np.arange(5000), vectors, progress=False)

    def search():
        with pytest.raises(stratavec.ClosedError):
            while True:
                assert c.search_batch(vectors[:50], 3)[0][0, 0] == 0

    def write():
        with pytest.raises(stratavec.ClosedError):
            for n in itertools.count():
                c.upsert(n % 100, vectors[n % 100])

    def close():
        time.sleep(0.2)
        c.close()

    run(search, write, close)
    with stratavec.open(place) as again:
        assert len(again) == 5000 and again.recovery.is_clean


def test_iterators_in_two_threads_share_rows(place, rng):
    with stratavec.open(place, 256, "l2", ids="u64", durability="os") as c:
        c.bulk_load(np.arange(3000), rng.random((3000, 256), np.float32), progress=False)
        scan = c.scan()
        seen = [[], []]
        run(*[lambda mine=mine: mine.extend(item.id for item in scan) for mine in seen])
        assert sorted(seen[0] + seen[1]) == list(range(3000))
        # An iterator that nobody finishes ends with its object.
        next(c.scan())

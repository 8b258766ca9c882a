#!/usr/bin/env python3
"""Distances of one query to many rows, against NumKong, SimSIMD and FAISS, in turns in one run on one core.

    python3 benches/compare/distance_peers.py [--rounds 10]

Squared L2 and inner product of f32 rows that follow each other, 128 to 1,536 components, from the second-level cache and from
memory. Peers are called from a loop in C (distance_loop.c), so that no interpreter is timed. Medians of the rounds; the results,
with the ratio of ours to the fastest peer, are kept in benches/results/distances.json. The same run times our rows of f16 and
bf16. Needs gcc and a release build: cargo build --release -p stratavec-benches --bin distances.
"""

import argparse
import ctypes
import json
import os
import statistics
import subprocess

import environment
from environment import DATA, ROOT, TARGET

PACKAGES = ("numpy", "faiss-cpu", "numkong", "simsimd")
SEED = 20261121
DIMS = (128, 384, 768, 1536)
# Bytes of rows, and passes over them per round.
PLACES = {"cache": (256 << 10, 400), "memory": (192 << 20, 1)}


def shim():
    """The loop in C, compiled."""
    DATA.mkdir(parents=True, exist_ok=True)
    library = DATA / "distance_loop.so"
    source = ROOT / "benches" / "compare" / "distance_loop.c"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    loop = ctypes.CDLL(str(library))
    for call in (loop.time_pairs, loop.time_many):
        call.restype = ctypes.c_double
        call.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_size_t] * 3 + [ctypes.c_void_p]
    return loop


def peers(loop):
    """By name and operation: a call that times it, and how to read what it wrote."""
    import faiss
    import numkong
    import simsimd

    faiss_so = ctypes.CDLL(str(next(p for p in __import__("pathlib").Path(faiss.__file__).parent.glob("libfaiss.so"))))
    address = lambda name: ctypes.cast(faiss_so[name], ctypes.c_void_p).value
    pairs = {"numkong": numkong, "simsimd": simsimd}
    found = {}
    for name, package in pairs.items():
        found[name, "l2"] = (loop.time_pairs, package.pointer_to_sqeuclidean("f32"), "f8")
        found[name, "dot"] = (loop.time_pairs, package.pointer_to_inner("f32"), "f8")
    found["faiss", "l2"] = (loop.time_many, address("_ZN5faiss13fvec_L2sqr_nyEPfPKfS2_mm"), "f4")
    found["faiss", "dot"] = (loop.time_many, address("_ZN5faiss22fvec_inner_products_nyEPfPKfS2_mm"), "f4")
    return found


def aligned(numpy, count, kind, align=64):
    room = numpy.zeros(count * numpy.dtype(kind).itemsize + align, numpy.uint8)
    start = -room.ctypes.data % align
    return room[start:start + count * numpy.dtype(kind).itemsize].view(kind)


def measure(args):
    import numpy

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    loop = shim()
    others = peers(loop)
    ours = subprocess.Popen([str(TARGET / "release" / "distances")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    random = numpy.random.default_rng(SEED)
    results = []
    for place, (size, passes) in PLACES.items():
        for dim in DIMS:
            count = size // (4 * dim)
            query, rows, out = (aligned(numpy, n, kind) for n, kind in ((dim, "f4"), (count * dim, "f4"), (count, "f8")))
            query[:] = random.uniform(-1, 1, dim)
            rows.reshape(count, dim)[:] = random.uniform(-1, 1, (64, dim))[numpy.arange(count) % 64]
            for op in ("l2", "dot"):
                results.append(compare(args, numpy, ours, others, (op, dim, place, count, passes), query, rows, out))
                print(json.dumps(results[-1]), flush=True)
    ours.stdin.close()
    ours.wait()
    return results


def compare(args, numpy, ours, others, what, query, rows, out):
    op, dim, place, count, passes = what
    table = rows.reshape(count, dim)
    truth = table @ query if op == "dot" else ((table - query) ** 2).sum(1)
    times = {}
    for round_number in range(args.rounds + 1):
        ours.stdin.write(f"{op} {dim} {count * dim * 4} {passes}\n")
        ours.stdin.flush()
        answer = json.loads(ours.stdout.readline())
        turn = {"ours": answer["f32"], "ours f16": answer["f16"], "ours bf16": answer["bf16"]}
        for (name, its_op), (call, function, kind) in others.items():
            if its_op != op:
                continue
            turn[name] = call(function, query.ctypes.data, rows.ctypes.data, dim, count, passes, out.ctypes.data)
            got = out.view(kind)[:count].astype("f8")
            assert numpy.allclose(got, truth, rtol=1e-3, atol=1e-2), f"{name} does not compute {op}"
        # The first round warms up.
        if round_number:
            for name, ns in turn.items():
                times.setdefault(name, []).append(ns)
    middle = {name: round(statistics.median(ns), 3) for name, ns in times.items()}
    # Within a round, since the speed of memory drifts: ours against the peer that is fastest over all rounds.
    best = min((name for name in middle if not name.startswith("ours")), key=middle.get)
    ratio = lambda a, b: round(statistics.median(x / y for x, y in zip(times[a], times[b])), 3)
    return {"op": op, "dim": dim, "place": place, "ns": middle, "best_peer": best, "of_its_speed": ratio(best, "ours"),
            "f16_rows_per_f32_row": ratio("ours", "ours f16")}


def main():
    # Large arrays of numpy ask for huge pages, a program's own memory does not: the same pages for all.
    os.environ["NUMPY_MADVISE_HUGEPAGE"] = "0"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    environment.enter(*PACKAGES)
    results = measure(args)
    record = {"what": "nanoseconds per row, medians", "rounds": args.rounds, **environment.provenance(SEED, *PACKAGES),
              "results": results}
    (ROOT / "benches" / "results" / "distances.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What a search from Python costs beyond the same search from Rust.

    python3 benches/compare/python_overhead.py    # builds both sides, the package into the environment of the peers

384-d vectors, number ids, k = 10, nothing included. Both sides search the same collection, read-only, in turns; of several rounds the median.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from environment import ROOT, enter, install_ours, load, provenance

DIM = 384
SEED = 20261121
#: What a search from Python may cost beyond that from Rust, and a batch of a thousand for each of it.
LIMITS = {"overhead_ns": 3000, "batch_ratio": 1.03}


class Rust:
    """The other side: a program that answers how long a query took."""

    def __init__(self):
        command = ["cargo", "build", "--release", "--locked", "-p", "stratavec-benches", "--bin", "python_overhead"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        program = [str(target / "release" / "python_overhead")]
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def time(self, kind, folder, queries, rounds):
        self.process.stdin.write(f"{kind} {folder} {queries} {rounds}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline().split()[0])


def python_single(reader, queries, rounds, use):
    rows = list(queries)
    search = reader.search
    began = time.perf_counter_ns()
    for _ in range(rounds):
        for row in rows:
            hits = search(row, 10)
            if use:
                for hit in hits:
                    hit.id, hit.distance
    return (time.perf_counter_ns() - began) / (rounds * len(rows))


def python_batch(reader, queries, rounds):
    began = time.perf_counter_ns()
    for _ in range(rounds):
        reader.search_batch(queries, 10)
    return (time.perf_counter_ns() - began) / (rounds * len(queries))


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--rows", type=int, default=20_000)
    arguments.add_argument("--results", type=Path, default=ROOT / "benches" / "results", help="where the result goes")
    rounds, rows = (given := arguments.parse_args()).rounds, given.rows
    enter("numpy")
    install_ours()
    import numpy as np

    import stratavec

    rng = np.random.default_rng(SEED)
    centres = rng.standard_normal((200, DIM), np.float32)
    vectors = centres[rng.integers(0, 200, rows)] + rng.standard_normal((rows, DIM), np.float32) * 0.5
    queries = np.ascontiguousarray(vectors[rng.integers(0, rows, 1000)] + 0.1, np.float32)
    rust, before = Rust(), load()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "queries"
        queries.tofile(file)
        few = Path(folder) / "few"
        queries[:200].tofile(few)
        figures = {}
        for name, count, index in [("tiny", 64, "flat"), ("lists", rows, "ivf")]:
            place = f"{folder}/{name}"
            with stratavec.open(place, DIM, "l2", ids="u64", index=index) as c:
                c.bulk_load(np.arange(count), vectors[:count], progress=False)
            with stratavec.open(place, read_only=True) as reader:
                turns = {key: [] for key in ("rust_single", "single", "single_used", "rust_batch", "batch")}
                for turn in range(rounds + 1):
                    now = {
                        "rust_single": rust.time("single", place, few, 20),
                        "single": python_single(reader, queries[:200], 20, False),
                        "single_used": python_single(reader, queries[:200], 20, True),
                        "rust_batch": rust.time("batch", place, file, 10),
                        "batch": python_batch(reader, queries, 10),
                    }
                    if turn:  # The first one warms up.
                        for key, value in now.items():
                            turns[key].append(value)
            middle = {key: round(statistics.median(values)) for key, values in turns.items()}
            differences = [a - b for a, b in zip(turns["single"], turns["rust_single"], strict=True)]
            used = [a - b for a, b in zip(turns["single_used"], turns["rust_single"], strict=True)]
            ratios = [a / b for a, b in zip(turns["batch"], turns["rust_batch"], strict=True)]
            figures[name] = {
                "rows": count,
                "ns_per_query": middle,
                "overhead_ns": round(statistics.median(differences)),
                "overhead_ns_with_every_hit_read": round(statistics.median(used)),
                "batch_ratio": round(statistics.median(ratios), 4),
            }
    holds = {
        "overhead_ns": max(figure["overhead_ns"] for figure in figures.values()) <= LIMITS["overhead_ns"],
        "batch_ratio": max(figure["batch_ratio"] for figure in figures.values()) <= LIMITS["batch_ratio"],
    }
    result = {
        "benchmark": "python_overhead",
        "setting": {"dim": DIM, "k": 10, "ids": "u64", "queries": {"single": 200, "batch": 1000}, "rounds": rounds},
        "python": sys.version.split()[0],
        "figures": figures,
        "limits": LIMITS,
        "holds": holds,
        "load_before": before,
        "load_after": load(),
        "provenance": provenance(SEED, "numpy", "stratavec"),
    }
    out = given.results / "python-overhead.json"
    out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    return 0 if all(holds.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

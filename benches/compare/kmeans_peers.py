#!/usr/bin/env python3
"""Clustering against its peers, in turns in one run: k-means of FAISS, and the time hnswlib takes to build a graph.

    python3 benches/compare/kmeans_peers.py kmeans FILE.npy [--nlist 4096 --passes 10 --rounds 3]
    python3 benches/compare/kmeans_peers.py build [--rows 1000000 --dim 128 --clusters 20000 --nlist 8000]

`kmeans`: the same rows, number of lists, passes and threads; the error of both is judged by FAISS's exact search over all
rows. Without FILE.npy (rows of f16 or f32) a seeded mixture of 40 rows per list is used. `build`: training and assignment to
two lists per row, against the insertion of the same rows into hnswlib (M=16, ef_construction=200) with as many threads.

Seconds are of the clock, and of the processor (all threads together) where the name ends in `cpu_s`: on a machine that does
other work too, the latter are what a program costs. Results are kept in benches/results/clustering.json, by run.

The first run makes an environment of its own (numpy, faiss-cpu, hnswlib) under target/, or where STRATAVEC_PEERS says.
Needs a release build: cargo build --release -p stratavec-benches --bin cluster.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import environment
from environment import DATA, ROOT, load, provenance

TOOL = environment.TARGET / "release" / "cluster"
PACKAGES = ("numpy", "faiss-cpu", "hnswlib")


def tool(*words):
    """Runs the benchmark program and returns what it printed."""
    done = subprocess.run([str(TOOL), *map(str, words)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


SEED = 20261121


def mixture(rows, dim, clusters, seed=SEED):
    """The file of a seeded mixture."""
    DATA.mkdir(parents=True, exist_ok=True)
    file = DATA / f"mixture-{rows}-{dim}-{clusters}.f32"
    if not file.exists() or file.stat().st_size != rows * dim * 4:
        tool("mixture", rows, dim, clusters, seed, file)
    return file


def kmeans(args):
    import faiss
    import numpy as np

    faiss.omp_set_num_threads(args.threads)
    if args.file:
        rows = np.load(args.file).astype(np.float32)
        DATA.mkdir(parents=True, exist_ok=True)
        file, dim = DATA / (Path(args.file).stem + ".f32"), rows.shape[1]
        rows.tofile(file)
    else:
        dim = args.dim or 384
        file = mixture(40 * args.nlist, dim, args.clusters or args.nlist * 2)
        rows = np.fromfile(file, np.float32).reshape(-1, dim)

    def error(centroids):
        index = faiss.IndexFlatL2(dim)
        index.add(centroids)
        return float(np.mean(index.search(rows, 1)[0], dtype=np.float64))

    rounds = []
    for number in range(args.rounds):
        started, started_cpu = time.perf_counter(), time.process_time()
        peer = faiss.Kmeans(dim, args.nlist, niter=args.passes, seed=number + 1, max_points_per_centroid=10**9,
                            min_points_per_centroid=1)
        peer.train(rows)
        peer_s, peer_cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
        ours = tool("train", file, dim, args.nlist, f"sample={len(rows)}", f"passes={args.passes}", "halve=0",
                    f"probes={args.probes}", f"threads={args.threads}", f"seed={number + 1}")
        centroids = np.fromfile(f"{file}.centroids", np.float32).reshape(-1, dim)
        rounds.append({"faiss_s": peer_s, "ours_s": ours["train_s"], "faiss_cpu_s": peer_cpu_s,
                       "ours_cpu_s": ours["train_cpu_s"], "faiss_error": error(peer.centroids),
                       "ours_error": error(centroids), "lists": ours["lists"], "load": load()})
        print(json.dumps(rounds[-1]), flush=True)
    names = ("faiss_s", "ours_s", "faiss_cpu_s", "ours_cpu_s", "faiss_error", "ours_error")
    middle = {name: statistics.median(r[name] for r in rounds) for name in names}
    return {"rows": len(rows), "dim": dim, "nlist": args.nlist, "passes": args.passes, "threads": args.threads, **middle,
            "rounds": rounds, "speed": statistics.median(r["faiss_s"] / r["ours_s"] for r in rounds),
            "cpu_speed": middle["faiss_cpu_s"] / middle["ours_cpu_s"], "error_ratio": middle["ours_error"] / middle["faiss_error"]}


def build(args):
    import hnswlib
    import numpy as np

    rows_wanted, dim = args.rows, args.dim or 128
    file = mixture(rows_wanted, dim, args.clusters or 20000)
    ours = tool("build", file, dim, args.nlist, f"threads={args.threads}", f"probes={args.probes}")
    print(json.dumps({**ours, "load": load()}), flush=True)
    rows = np.fromfile(file, np.float32).reshape(-1, dim)
    graph = hnswlib.Index(space="l2", dim=dim)
    graph.init_index(max_elements=len(rows), M=16, ef_construction=200, random_seed=1)
    started, started_cpu = time.perf_counter(), time.process_time()
    step, done = max(len(rows) // 20, 1), 0
    while done < len(rows):
        graph.add_items(rows[done:done + step], np.arange(done, min(done + step, len(rows))), num_threads=args.threads)
        done = min(done + step, len(rows))
        print(f"hnswlib {done} rows {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
    peer_s, peer_cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    again = tool("build", file, dim, args.nlist, f"threads={args.threads}", f"probes={args.probes}")
    both = [(run["train_s"] + run["assign_s"], run["train_cpu_s"] + run["assign_cpu_s"]) for run in (ours, again)]
    (ours_s, ours_cpu_s), (again_s, again_cpu_s) = both
    return {"rows": len(rows), "dim": dim, "nlist": args.nlist, "threads": args.threads, "hnswlib_s": peer_s,
            "hnswlib_cpu_s": peer_cpu_s, "ours_before": ours, "ours_after": again, "ours_before_s": ours_s,
            "ours_after_s": again_s, "share": max(ours_s, again_s) / peer_s,
            "cpu_share": max(ours_cpu_s, again_cpu_s) / peer_cpu_s, "load": load()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kmeans", "build"])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--nlist", type=int)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--probes", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int)
    parser.add_argument("--clusters", type=int)
    args = parser.parse_args()
    if not TOOL.exists():
        sys.exit(f"{TOOL} is not there: cargo build --release -p stratavec-benches --bin cluster")
    environment.enter(*PACKAGES)
    args.nlist = args.nlist or (4096 if args.what == "kmeans" else 8000)
    result = kmeans(args) if args.what == "kmeans" else build(args)
    result["provenance"] = provenance(SEED, *PACKAGES)
    name = args.what + (f"-{Path(args.file).stem}" if args.file else "")
    kept = ROOT / "benches" / "results" / "clustering.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    results[name] = result
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

"""Recall and queries per second of peers beside ours, on rows that do not change; bytes, time to build, time to open.

    make bench-compare                                     # small data from the repository, and Fashion-MNIST if it is installed
    python3 benches/compare/static_peers.py --engines stratavec,hnswlib --data words

Peers are installed by package name into an environment that is made under target/. One thread, one query per call, k = 10. Each engine has a process of its own;
the engines take turns at every knob, so that noise hits all of them, and the middle of the passes counts. Fashion-MNIST is read from
where Debian's package dataset-fashion-mnist puts it.
"""

import argparse
import gzip
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from environment import DATA, ROOT, enter, installed, load, provenance
from engines import ENGINES

FASHION = Path("/usr/share/datasets/fashion-mnist")
SEED, K = 20261121, 10


def read(name):
    """Rows and queries, float32."""
    import numpy as np

    if name == "fashion":
        def images(file):
            return np.frombuffer(gzip.open(FASHION / file).read(), np.uint8, offset=16).reshape(-1, 784).astype(np.float32)

        return images("train-images-idx3-ubyte.gz"), images("t10k-images-idx3-ubyte.gz")[:1000]
    # The demo's texts: of unit length, so that distances order as cosines do.
    return tuple(unit(np.load(ROOT / "demo" / "data" / f"{part}.f16.npy").astype(np.float32)) for part in ("base", "query"))


def unit(rows):
    import numpy as np

    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def truth(rows, queries):
    """Of each query the largest distance that is a hit, so that ties count."""
    import numpy as np

    norms = np.einsum("ij,ij->i", rows, rows)
    scores = norms - 2 * queries @ rows.T
    return np.argpartition(scores, K, axis=1)[:, :K]


def worker(name, data, folder):
    """One engine: builds, opens, and answers how fast and how well it searches."""
    rows, queries = read(data)
    expected = [set(row.tolist()) for row in truth(rows, queries)]
    engine = ENGINES[name]()
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    began, cpu = time.perf_counter(), time.process_time()
    engine.build(rows, folder)
    built = time.perf_counter() - began, time.process_time() - cpu
    size = sum(file.stat().st_blocks * 512 for file in Path(folder).rglob("*") if file.is_file())
    began = time.perf_counter()
    engine.open(folder, rows)
    engine.one(queries[0], K, engine.knobs[0])
    opened = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    facts = {"knobs": engine.knobs, "build_s": built[0], "build_cpu_s": built[1], "bytes": size, "open_ms": opened * 1000, "peak_mib": peak, "durable": engine.durable}
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        knob = int(line)
        began = time.perf_counter()
        found = [engine.one(query, K, knob) for query in queries]
        rate = len(queries) / (time.perf_counter() - began)
        recall = sum(len(true.intersection(int(at) for at in ids)) for true, ids in zip(expected, found, strict=True)) / (K * len(queries))
        print(json.dumps([rate, recall]), flush=True)


class Process:
    """An engine at work; what it met if it failed."""

    def __init__(self, name, data):
        self.name, self.failure, self.turns = name, None, {}
        self.log = DATA / f"{name}.log"
        command = [sys.executable, __file__, "--worker", name, "--data", data, "--folder", str(DATA / f"peer-{name}")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("w"), text=True, cwd=DATA)
        self.facts = self.answer()

    def answer(self):
        for line in self.process.stdout:
            if line.startswith(("{", "[")):  # Some libraries talk.
                try:
                    return json.loads(line)
                except ValueError:
                    continue
        self.failure = (self.log.read_text().strip().splitlines() or ["it ended without a word"])[-1]
        return None

    def turn(self, knob):
        if self.failure is None:
            self.process.stdin.write(f"{knob}\n")
            self.process.stdin.flush()
            if (answer := self.answer()) is not None:
                self.turns.setdefault(knob, []).append(answer)

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(DATA / f"peer-{self.name}", ignore_errors=True)

    def result(self, rows):
        if self.failure is not None:
            return {"failed": self.failure}
        points = [
            {"knob": knob, "recall": round(turns[0][1], 4), "qps": round(statistics.median(rate for rate, _ in turns), 1)}
            for knob, turns in self.turns.items()
        ]
        facts = {key: round(value, 2) if isinstance(value, float) else value for key, value in self.facts.items() if key != "knobs"}
        return {**facts, "bytes_per_row": round(facts["bytes"] / rows, 1), "curve": points}


def compare(data, names, passes):
    rows, queries = read(data)
    processes = []
    for name in names:
        print(f"{data}: {name} builds", flush=True)
        processes.append(Process(name, data))
        if processes[-1].failure:
            print(f"  it failed: {processes[-1].failure}", flush=True)
    before = load()
    for _ in range(passes):
        steps = [(process, knob) for process in processes if process.facts for knob in process.facts["knobs"]]
        steps.sort(key=lambda step: step[0].facts["knobs"].index(step[1]))
        for process, knob in steps:
            process.turn(knob)
    for process in processes:
        process.end()
    packages = sorted({ENGINES[name].package for name in names if installed(ENGINES[name].package)})
    result = {
        "benchmark": "static_peers",
        "setting": {"data": data, "rows": len(rows), "dim": rows.shape[1], "queries": len(queries), "k": K, "threads": 1, "passes": passes},
        "load_before": before,
        "engines": {process.name: process.result(len(rows)) for process in processes},
        "provenance": provenance(SEED, *packages),
    }
    out = ROOT / "benches" / "results" / f"peers-{data}.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{out.relative_to(ROOT)} written")
    return out


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", default="words,fashion")
    arguments.add_argument("--engines", default=",".join(ENGINES))
    arguments.add_argument("--passes", type=int, default=3)
    arguments.add_argument("--worker")
    arguments.add_argument("--folder")
    given = arguments.parse_args()
    if given.worker:
        return worker(given.worker, given.data, given.folder)
    names = given.engines.split(",")
    enter("numpy", *sorted({ENGINES[name].package for name in names} - {"stratavec"}))
    if "stratavec" in names:
        subprocess.run([sys.executable, "-m", "pip", "-q", "install", "--no-deps", "--force-reinstall", str(ROOT / "python")], check=True)
    DATA.mkdir(parents=True, exist_ok=True)
    for data in given.data.split(","):
        if data == "fashion" and not FASHION.exists():
            print("fashion: install Debian's package dataset-fashion-mnist to have it", file=sys.stderr)
            continue
        out = compare(data, names, given.passes)
        subprocess.run([sys.executable, str(Path(__file__).with_name("plot.py")), str(out)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Recall and queries per second of peers beside ours, on rows that do not change; bytes, memory, time to build, time to open.

    make bench-compare                                             # this and the other comparisons
    python3 benches/compare/static_peers.py --data words --engines stratavec,hnswlib
    python3 benches/compare/static_peers.py --data fashion --keep  # keeps what was built, and uses it the next time

Peers are installed by package name into an environment that is made under target/. One processor, one query per call, k = 10. Each engine has a process of
its own; the engines take turns at every knob, so that noise hits all of them, and the middle of the passes counts. See inputs.py for the data.
"""

import json
import os
import shutil
import statistics
import sys

import run
from inputs import K, Live, prepared
from engines import ENGINES
from environment import DATA, installed, load, revision
from workers import Worker


def built(name, data, keep):
    """The folder of an index, and what its building took; or why there is none."""
    folder = DATA / "built" / data.name / name
    note = folder.with_suffix(".json")
    version = revision("HEAD:engine") if name == "stratavec" else installed(ENGINES[name].package)
    if keep and note.exists() and (facts := json.loads(note.read_text()))["version"] == version:
        return folder, facts
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"{data.name}: {name} builds", flush=True)
    before = load()
    worker = Worker(name, data, folder)
    answer = worker.ask("build")
    facts = answer and {**{k: answer[k] for k in ("s", "cpu_s", "peak_mib")}, "load": before, "version": version}
    worker.end()
    if facts is None:
        print(f"  it failed: {worker.failure}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        return None, {"failed": worker.failure}
    note.write_text(json.dumps(facts))
    return folder, facts


def compare(given, names):
    data, rows, queries = prepared(given.data, given.rows)
    # One processor for all: what a library does in threads of its own is done in turns as well.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    indexes = {name: built(name, data, given.keep) for name in names}
    live = Live(rows, queries)
    live.insert(range(len(rows)), range(len(rows)))
    results, workers = {}, []
    for name, (folder, facts) in indexes.items():
        results[name] = facts if folder is None else {
            "durable": ENGINES[name].durable, "build_s": round(facts["s"], 2), "build_cpu_s": round(facts["cpu_s"], 2),
            "build_peak_mib": facts["peak_mib"], "build_load": facts["load"]}
        if folder is not None:
            worker = Worker(name, data, folder)
            if answer := worker.ask("open"):
                results[name]["open_ms"] = round(answer["s"] * 1000, 2)
            workers.append(worker)
    before, curves = load(), {worker.name: {} for worker in workers}
    done = 0
    while done < given.passes and not (done and run.over(given)):
        done += 1
        for step in range(max(len(ENGINES[name].knobs) for name in names)):
            for worker in workers:
                if step < len(ENGINES[worker.name].knobs):
                    knob = ENGINES[worker.name].knobs[step]
                    if answer := worker.ask("search", knob=knob, seconds=given.seconds):
                        curves[worker.name].setdefault(knob, []).append((answer["qps"], live.recall(answer["found"])))
    for worker in workers:
        facts = worker.ask("facts")
        worker.end()
        results[worker.name] |= {"failed": worker.failure} if facts is None else {
            "bytes_per_row": round(facts["bytes"] / len(rows), 1), "rss_mib": round(facts["rss_mib"]), "anonymous_mib": round(facts["anonymous_mib"]),
            "curve": [
                {"knob": knob, "recall": round(turns[0][1], 4), "qps": round(statistics.median(rate for rate, _ in turns), 1)}
                for knob, turns in curves[worker.name].items()
            ]}
        if not given.keep:
            shutil.rmtree(indexes[worker.name][0], ignore_errors=True)
            indexes[worker.name][0].with_suffix(".json").unlink()
    setting = {"data": data.name.rsplit("-", 1)[0], "rows": len(rows), "dim": rows.shape[1], "queries": len(queries), "k": K, "threads": 1, "passes": done}
    run.keep(given, "peers", "static_peers", setting, results, before)


def main():
    arguments = run.arguments(__doc__, data="words,texts,fashion")
    arguments.add_argument("--passes", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=1.5, help="at most so long for one engine at one knob in one pass")
    arguments.add_argument("--keep", action="store_true", help="keep what is built, and use what was kept")
    run.each(arguments, compare, list(ENGINES))


if __name__ == "__main__":
    sys.exit(main())

"""How fast rows come in: batches of 1,000, every batch durable before the next, until all rows are there; then how searches find them.

    python3 benches/compare/ingest_peers.py --data fashion

An index starts with a tenth of the rows, so that what has to be trained can be. Engines take turns, five batches each, and are held still in between.
Searches afterwards are timed at the least setting that finds 0.95 of the true neighbours: at once, and after the maintenance that a library leaves to its
user. Libraries without a log write their whole file for each batch.
"""

import shutil
import statistics
import sys

import run
from inputs import Live, prepared
from engines import ENGINES
from environment import DATA, load
from stream_peers import WANTED, batches
from workers import Worker, calibrated

TURN = 5


def searched(worker, live, seconds):
    found = calibrated(worker, live, WANTED)
    answer = found and worker.ask("search", knob=found[0], seconds=seconds)
    return answer and {"knob": found[0], "recall": round(live.recall(answer["found"]), 4), "qps": round(answer["qps"], 1)}


def finished(worker, live, steps, count, row_bytes, seconds):
    """The result of one engine, once all rows are in."""
    engine = ENGINES[worker.name]
    fresh = searched(worker, live, seconds)
    tidied = worker.ask("tidy") if engine.tidies else None
    after = searched(worker, live, seconds) if tidied else fresh
    facts = worker.ask("facts")
    worker.end()
    if worker.failure:
        return {"durable": engine.durable, "failed": worker.failure}
    spent = sum(step["s"] for step in steps)
    return {
        "durable": engine.durable, "rows_per_s": round(count / spent), "batch_ms": round(statistics.median(step["s"] for step in steps) * 1000, 2),
        "slowest_batch_ms": round(max(step["s"] for step in steps) * 1000, 1),
        "cpu_us_per_row": round(sum(step["cpu_s"] for step in steps) / count * 1e6, 1),
        "written_per_new_byte": round(sum(step["written"] for step in steps) / (count * row_bytes), 2),
        "tidy_s": round(tidied["s"], 2) if tidied else 0.0, "fresh": fresh, "after": after, "mib": round(facts["bytes"] / 2**20, 1)}


def compare(given, names):
    data, rows, queries = prepared(given.data, given.rows)
    first = len(rows) // 10
    live = Live(rows, queries)
    live.insert(range(first), range(first))
    workers = [Worker(name, data, DATA / f"ingest-{name}") for name in names]
    for worker in workers:
        worker.ask("start", tags=[0, first], room=len(rows))
    parts, before, steps = batches(first, len(rows)), load(), {name: [] for name in names}
    for start in range(0, len(parts), TURN):
        if start and run.over(given):
            break
        for part in parts[start : start + TURN]:
            live.insert(range(*part), range(*part))
        for worker in workers:
            for part in parts[start : start + TURN]:
                if answer := worker.ask("insert", tags=part, rows=part):
                    steps[worker.name].append(answer)
    results = {}
    for worker in workers:
        results[worker.name] = finished(worker, live, steps[worker.name], len(live.at) - first, rows.shape[1] * 4, given.seconds)
        shutil.rmtree(DATA / f"ingest-{worker.name}", ignore_errors=True)
    results |= {name: {"cannot": engine.why_not} for name, engine in ENGINES.items() if not engine.changes}
    setting = {"data": data.name.rsplit("-", 1)[0], "rows": len(live.at), "dim": rows.shape[1], "first": first, "batch": 1000, "k": 10}
    run.keep(given, "ingest", "ingest_peers", setting, results, before)


def main():
    arguments = run.arguments(__doc__, data="fashion")
    arguments.add_argument("--seconds", type=float, default=1.0)
    run.each(arguments, compare, [name for name, engine in ENGINES.items() if engine.changes])


if __name__ == "__main__":
    sys.exit(main())

"""Runs a runbook of streaming benchmarks: steps of insert, delete, replace and search over ranges of rows.

    python3 benches/compare/runbook_peers.py --runbook benches/compare/runbooks/expiration.yaml --data fashion

A runbook is YAML of the kind that big-ann-benchmarks uses: `NAME: {max_pts: N, 1: {operation: insert, start: A, end: B}, 2: {operation: search}, ...}`. `insert`
takes rows A to B under tags of the same numbers, `delete` drops tags, `replace` gives tags from `tags_start` to `tags_end` the rows from `ids_start` to
`ids_end`. Ranges that reach beyond the data are scaled down, all by the same factor. What is durable when a step ends is what the library makes durable.
Recall is of the rows that are there at that step, found by measuring all of them.
"""

import shutil
import statistics
import sys
from pathlib import Path

import run
from inputs import Live, prepared
from engines import ENGINES
from environment import DATA, load
from stream_peers import WANTED, batches
from workers import Worker, calibrated

RANGES = (("start", "end"), ("ids_start", "ids_end"), ("tags_start", "tags_end"))


def steps_of(file, rows):
    """The steps of the only runbook in a file, in order, scaled to the rows there are."""
    import yaml

    (name, book), *others = yaml.safe_load(Path(file).read_text()).items()
    if others:
        raise SystemExit(f"{file}: more than one runbook in it")
    steps = [book[number] for number in sorted(key for key in book if isinstance(key, int))]
    most = max(step[end] for step in steps for _, end in RANGES if end in step)
    factor = min(1.0, rows / most)
    scaled = []
    for step in steps:
        if step["operation"] not in ("insert", "delete", "replace", "search"):
            raise SystemExit(f"{file}: unknown operation {step['operation']}")
        ranges = {start: [int(step[start] * factor), int(step[end] * factor)] for start, end in RANGES if start in step}
        scaled.append((step["operation"], ranges))
    if scaled[0][0] != "insert":
        raise SystemExit(f"{file}: the first step has to be an insert")
    return name, factor, scaled


def parts_of(operation, ranges):
    """What an engine is asked to do in a step, in batches."""
    if operation == "replace":
        tags, rows = ranges["tags_start"], ranges["ids_start"]
        length = min(tags[1] - tags[0], rows[1] - rows[0])  # Scaling may make one of them longer by one.
        return [{"tags": [tags[0] + a, tags[0] + b], "rows": [rows[0] + a, rows[0] + b]} for a, b in batches(0, length)]
    return [{"tags": part, **({"rows": part} if operation == "insert" else {})} for part in batches(*ranges["start"])]


def change(live, operation, parts):
    for part in parts:
        if operation == "delete":
            live.delete(range(*part["tags"]))
        else:
            live.insert(range(*part["tags"]), range(*part["rows"]))


class Player:
    """One engine playing the runbook."""

    def __init__(self, name, data, live, room, seconds):
        self.worker, self.folder = Worker(name, data, DATA / f"runbook-{name}"), DATA / f"runbook-{name}"
        self.live, self.room, self.seconds, self.knob, self.started = live, room, seconds, None, False
        self.spent, self.rows, self.searches = {}, {}, []

    def step(self, number, operation, parts):
        if operation == "search":
            return self.search(number)
        if not self.started:
            # An index begins with the first step, all of it at once, so that there is something to train with.
            self.started = True
            self.worker.ask("start", tags=[parts[0]["tags"][0], parts[-1]["tags"][1]], room=self.room)
            return
        for part in parts:
            if answer := self.worker.ask(operation, **part):
                self.spent[operation] = self.spent.get(operation, 0) + answer["s"]
                self.rows[operation] = self.rows.get(operation, 0) + part["tags"][1] - part["tags"][0]

    def search(self, number):
        tidied = self.worker.ask("tidy") if ENGINES[self.worker.name].tidies else None
        if tidied:
            self.spent["tidy"] = self.spent.get("tidy", 0) + tidied["s"]
        if self.knob is None:
            found = calibrated(self.worker, self.live, WANTED)
            self.knob = found and found[0]
        if answer := self.worker.ask("search", knob=self.knob, seconds=self.seconds):
            self.searches.append({"step": number, "rows": len(self.live.at), "qps": round(answer["qps"], 1), "recall": round(self.live.recall(answer["found"]), 4)})

    def result(self):
        engine = ENGINES[self.worker.name]
        self.worker.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.worker.failure:
            return {"durable": engine.durable, "failed": self.worker.failure}
        return {
            "durable": engine.durable, "knob": self.knob, "tidy_s": round(self.spent.pop("tidy", 0.0), 2),
            "rows_per_s": {operation: round(self.rows[operation] / spent) for operation, spent in self.spent.items()},
            "mean_recall": round(statistics.mean(search["recall"] for search in self.searches), 4),
            "qps": statistics.median(search["qps"] for search in self.searches), "searches": self.searches}


def compare(given, names):
    data, rows, queries = prepared(given.data, given.rows)
    name, factor, steps = steps_of(given.runbook, len(rows))
    live = Live(rows, queries)
    players = [Player(engine, data, live, 2 * len(rows), given.seconds) for engine in names]
    before = load()
    done = 0
    for number, (operation, ranges) in enumerate(steps, 1):
        if done and run.over(given) and steps[done - 1][0] == "search":
            break
        done = number
        print(f"{data.name}: step {number} of {len(steps)}, {operation}", flush=True)
        parts = [] if operation == "search" else parts_of(operation, ranges)
        change(live, operation, parts)
        for player in players:
            player.step(number, operation, parts)
    results = {player.worker.name: player.result() for player in players}
    results |= {engine: {"cannot": ENGINES[engine].why_not} for engine in ENGINES if not ENGINES[engine].changes}
    setting = {"data": data.name.rsplit("-", 1)[0], "rows": len(rows), "dim": rows.shape[1], "runbook": name, "factor": round(factor, 6), "steps": done, "k": 10}
    run.keep(given, "runbook", "runbook_peers", setting, results, before)


def main():
    arguments = run.arguments(__doc__, data="fashion")
    arguments.add_argument("--runbook", type=Path, default=Path(__file__).with_name("runbooks") / "expiration.yaml")
    arguments.add_argument("--seconds", type=float, default=1.0)
    run.each(arguments, compare, [name for name, engine in ENGINES.items() if engine.changes], "pyyaml")


if __name__ == "__main__":
    sys.exit(main())

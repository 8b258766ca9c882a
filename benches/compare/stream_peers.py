"""Rows that change under the searches: rounds of inserts, deletes and searches, every batch durable before the next.

    python3 benches/compare/stream_peers.py --data fashion --rounds 10 --share 0.05

An index starts with half of the rows. Each round inserts a share of new rows in batches of at most 1,000, deletes as many of the oldest likewise, and searches at
once, `fresh`; where the library leaves maintenance to its user that is done then, timed apart, and the same queries are asked again. The setting of the search
is the least that found 0.95 of the true neighbours at the start, and stays. Engines take turns, a round each, and are held still in
between. What "durable" means for each stands in engines/: libraries without a log write their whole file for each batch.
"""

import shutil
import statistics
import sys

import run
from inputs import Live, prepared
from engines import ENGINES
from environment import DATA, load
from workers import Worker, calibrated

BATCH, WANTED, SEEN = 1000, 0.95, 50


def batches(first, last):
    return [[at, min(at + BATCH, last)] for at in range(first, last, BATCH)]


class Stream:
    """One engine in the stream: what it did in each round."""

    def __init__(self, name, data, live, room):
        self.live, self.folder, self.rounds = live, DATA / f"stream-{name}", []
        self.worker = Worker(name, data, self.folder)
        half = len(live.at)
        print(f"{data.name}: {name} starts", flush=True)
        self.started = self.worker.ask("start", tags=[0, half], room=room)
        self.knob = calibrated(self.worker, live, WANTED) if self.started else None
        self.facts = [self.worker.ask("facts")]
        if self.worker.failure:
            print(f"  it failed: {self.worker.failure}", flush=True)

    def all(self, do, parts, **terms):
        answers = [self.worker.ask(do, tags=part, **{name: part for name in terms}) for part in parts]
        return None if None in answers else {key: sum(answer[key] for answer in answers) for key in ("s", "cpu_s", "written")}

    def searched(self, seconds):
        answer = self.worker.ask("search", knob=self.knob[0], seconds=seconds)
        return answer and {"qps": round(answer["qps"], 1), "recall": round(self.live.recall(answer["found"]), 4), "cpu_s": answer["cpu_s"]}

    def round(self, new, old, seconds):
        """`live` has the rows of this round already."""
        inserted = self.all("insert", batches(*new), rows=True)
        deleted = self.all("delete", batches(*old))
        fresh = self.searched(seconds)
        tags = list(range(new[0], new[1], max(1, (new[1] - new[0]) // SEEN)))
        own = self.worker.ask("search", knob=self.knob[0], seconds=seconds, rows=tags)
        tidied = self.worker.ask("tidy") if ENGINES[self.worker.name].tidies else None
        after = self.searched(seconds) if tidied else fresh
        if self.worker.failure:
            return
        seen = self.live.sees(tags[: len(own["found"])], own["found"])
        spent = [part for part in (inserted, deleted, tidied) if part]
        self.rounds.append({
            "insert_s": inserted["s"], "delete_s": deleted["s"], "tidy_s": tidied["s"] if tidied else 0.0, "fresh": fresh, "after": after, "seen": seen,
            "write_cpu_s": sum(part["cpu_s"] for part in spent), "written": sum(part["written"] for part in spent)})

    def result(self, count, row_bytes):
        engine = ENGINES[self.worker.name]
        said = {"durable": engine.durable, "tidies": engine.tidies}
        last = None if self.worker.failure else self.worker.ask("facts")
        self.worker.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        if last is None:
            return {**said, "failed": self.worker.failure}
        middle = lambda pick: statistics.median(pick(turn) for turn in self.rounds)  # noqa: E731
        total = sum(turn["written"] for turn in self.rounds)
        return {
            **said, "knob": self.knob[0], "start_s": round(self.started["s"], 2), "start_recall": round(self.knob[1], 4),
            "insert_rows_per_s": round(count / middle(lambda turn: turn["insert_s"])),
            "delete_rows_per_s": round(count / middle(lambda turn: turn["delete_s"])),
            "tidy_s": round(middle(lambda turn: turn["tidy_s"]), 3),
            "write_cpu_us_per_row": round(middle(lambda turn: turn["write_cpu_s"]) / count * 1e6, 1),
            "written_per_new_byte": round(total / (len(self.rounds) * count * row_bytes), 2),
            "seen_at_once": round(min(turn["seen"] for turn in self.rounds), 3),
            "fresh_qps": middle(lambda turn: turn["fresh"]["qps"]), "qps": middle(lambda turn: turn["after"]["qps"]),
            "mib": [round(facts["bytes"] / 2**20, 1) for facts in (self.facts[0], last)],
            "rounds": [{part: {"qps": turn[part]["qps"], "recall": turn[part]["recall"]} for part in ("fresh", "after")} for turn in self.rounds]}


def compare(given, names):
    data, rows, queries = prepared(given.data, given.rows)
    half, count = len(rows) // 2, int(len(rows) * given.share)
    rounds = min(given.rounds, (len(rows) - half) // count)
    live = Live(rows, queries)
    live.insert(range(half), range(half))
    streams = [Stream(name, data, live, len(rows)) for name in names]
    before = load()
    done = 0
    while done < rounds and not (done and run.over(given)):
        turn, done = done, done + 1
        new, old = [half + turn * count, half + (turn + 1) * count], [turn * count, (turn + 1) * count]
        live.insert(range(*new), range(*new))
        live.delete(range(*old))
        for stream in streams:
            if not stream.worker.failure:
                stream.round(new, old, given.seconds)
    results = {stream.worker.name: stream.result(count, rows.shape[1] * 4) for stream in streams}
    results |= {name: {"cannot": engine.why_not} for name, engine in ENGINES.items() if not engine.changes}
    setting = {"data": data.name.rsplit("-", 1)[0], "rows": half, "dim": rows.shape[1], "rounds": done, "rows_per_round": count, "batch": BATCH, "k": 10}
    run.keep(given, "stream", "stream_peers", setting, results, before)


def main():
    arguments = run.arguments(__doc__, data="fashion")
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument("--share", type=float, default=0.05, help="of all rows, in each round")
    arguments.add_argument("--seconds", type=float, default=1.0, help="of searches, at most, in one turn")
    run.each(arguments, compare, [name for name, engine in ENGINES.items() if engine.changes])


if __name__ == "__main__":
    sys.exit(main())

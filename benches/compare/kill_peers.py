"""What is left of acknowledged writes after the process is killed: kill -9 while it writes, then everything acknowledged is looked up.

    python3 benches/compare/kill_peers.py --data words --kills 20

A process starts an index with 1,000 rows and inserts batches of 100, telling after each that it was acknowledged, until it is killed at a random moment. Another
process opens what is there and counts acknowledged rows that are missing. Libraries without a log acknowledge when their own call that saves the file
returned, over the file that was there; a program could do better by writing to another name, syncing and renaming, as the stream does for them.

A killed process proves nothing about power cuts: the operating system keeps what it was given. So the calls that sync are counted as well, over ten
acknowledged batches, if strace is there; an engine that syncs less than once for each cannot promise them.
"""

import random
import re
import shutil
import sys
import time

import run
from inputs import SEED, prepared
from engines import ENGINES
from environment import DATA, load
from workers import Worker

FIRST, BATCH, LAST, TRACED = 1000, 100, 101_000, 10
SYNCS = "fsync,fdatasync,msync,sync_file_range,syncfs,sync"


def killed(name, data, folder, pause):
    """Writes and is killed: up to which row everything was acknowledged, or why it could not even start."""
    worker = Worker(name, data, folder)
    if worker.ask("start", tags=[0, FIRST], room=LAST) is None:
        worker.end()
        return None, worker.failure
    worker.tell("write", first=FIRST, batch=BATCH, last=LAST)
    acknowledged = FIRST
    if first := worker.answer():
        acknowledged = first["acknowledged"]
        time.sleep(pause)
    worker.process.kill()
    for line in worker.process.stdout:  # What it said before it died.
        if line.endswith("\n") and "acknowledged" in line:
            acknowledged = max(acknowledged, int(re.search(r'"acknowledged": (\d+)', line)[1]))
    worker.end()
    return acknowledged, worker.failure


def left(name, data, folder, acknowledged):
    """How many of the acknowledged rows are missing, and why if it is all of them."""
    worker = Worker(name, data, folder, limit=120)
    worker.ask("resume", room=LAST)
    answer = worker.ask("holds", tags=[0, acknowledged])
    worker.end()
    return (acknowledged, worker.failure) if answer is None else (len(answer["missing"]), None)


def syncs(name, data, folder):
    """Calls that sync over TRACED acknowledged batches."""
    if not shutil.which("strace"):
        return None
    log = DATA / f"{name}.strace"
    worker = Worker(name, data, folder, tracer=("strace", "-f", "-qq", "-e", f"trace={SYNCS}", "-o", str(log)))
    worker.ask("start", tags=[0, FIRST], room=LAST)
    time.sleep(0.5)
    before = calls(log)
    for at in range(FIRST, FIRST + TRACED * BATCH, BATCH):
        worker.ask("insert", tags=[at, at + BATCH], rows=[at, at + BATCH])
    counted = calls(log) - before
    worker.end()
    return None if worker.failure else counted


def calls(log):
    return sum(" resumed>" not in line and "= -1" not in line for line in log.read_text().splitlines() if "sync" in line)


def compare(given, names):
    data, rows, _ = prepared(given.data, given.rows)
    chance, before, results = random.Random(SEED), load(), {name: {"kills": 0, "acknowledged": 0, "missing": 0, "losses": 0, "unopened": 0} for name in names}
    for turn in range(given.kills):
        pause = chance.uniform(0, given.longest)
        for name in names:
            folder, result = DATA / f"kill-{name}", results[name]
            if "failed" in result:
                continue
            acknowledged, failure = killed(name, data, folder, pause)
            if failure:
                result["failed"] = failure
                continue
            missing, why = left(name, data, folder, acknowledged)
            result["kills"] += 1
            result["acknowledged"] += acknowledged - FIRST
            result["missing"] += max(0, missing - FIRST) if why else missing
            result["losses"] += missing > 0
            result["unopened"] += why is not None
            if why:
                result["error"] = why
            shutil.rmtree(folder, ignore_errors=True)
    for name, result in results.items():
        result["durable"] = ENGINES[name].durable
        if "failed" not in result and ENGINES[name].durable != "file":  # Their own way to save does not sync; the commit of ours around it does.
            result["syncs_per_batch"] = (counted := syncs(name, data, DATA / f"kill-{name}")) and counted / TRACED
        shutil.rmtree(DATA / f"kill-{name}", ignore_errors=True)
        print(f"{name}: {result}", flush=True)
    results |= {name: {"cannot": engine.why_not} for name, engine in ENGINES.items() if not engine.changes}
    setting = {"data": data.name.rsplit("-", 1)[0], "dim": rows.shape[1], "kills": given.kills, "first": FIRST, "batch": BATCH, "longest_s": given.longest}
    run.keep(given, "kill", "kill_peers", setting, results, before)


def main():
    arguments = run.arguments(__doc__, data="words")
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--longest", type=float, default=0.5, help="seconds from the first acknowledged batch to the kill, at most")
    run.each(arguments, compare, [name for name, engine in ENGINES.items() if engine.changes])


if __name__ == "__main__":
    sys.exit(main())

"""An engine at work in a process of its own, told what to do by lines of JSON. Between its turns it is held still, so that its background work counts as its
own time and disturbs no other.

The process is this file: `python3 workers.py ENGINE FOLDER_OF_DATA FOLDER_OF_INDEX`.
"""

import ctypes
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from inputs import K
from environment import DATA
from engines import ENGINES

LEAST_QUERIES = 20


class Worker:
    """The parent's side. `failure` says what it met if it failed; from then on it answers nothing."""

    def __init__(self, name, data, folder, tracer=(), limit=900):
        self.name, self.failure, self.limit, self.tracer = name, None, limit, tracer
        self.log = DATA / f"{name}.log"
        command = [*tracer, sys.executable, __file__, name, str(data), str(folder)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=DATA)
        self.held = False

    def tell(self, do, **terms):
        self.hold(False)
        try:
            self.process.stdin.write(json.dumps({"do": do, **terms}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def answer(self):
        """The next line, or None if there is none."""
        timer = threading.Timer(self.limit, self.process.kill)
        timer.daemon = True  # An interrupt does not wait for it.
        timer.start()
        try:
            line = self.process.stdout.readline()
            over = not timer.is_alive()
        finally:
            timer.cancel()
        answer = json.loads(line) if line.endswith("\n") else {"failed": f"not done after {self.limit} s" if over else self.last_words()}
        self.failure = answer.get("failed")
        return None if self.failure else answer

    def ask(self, do, **terms):
        if self.failure:
            return None
        self.tell(do, **terms)
        answer = self.answer()
        self.hold(True)
        return answer

    def last_words(self):
        words = self.log.read_text(errors="replace").strip().splitlines()
        return f"ended with {self.process.wait()}" + (f": {words[-1][:120]}" if words else "")

    def hold(self, still):
        if still != self.held and not self.tracer and self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP if still else signal.SIGCONT)
            self.held = still

    def end(self):
        self.hold(False)
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def calibrated(worker, live, wanted):
    """The least of its knobs that finds `wanted` of the true neighbours now, or the greatest; and what it finds."""
    best = None
    for knob in ENGINES[worker.name].knobs:
        answer = worker.ask("search", knob=knob, seconds=1, queries=200)
        if answer is None:
            return None
        best = knob, live.recall(answer["found"])
        if best[1] >= wanted:
            break
    return best


def figure(value):
    return round(value, 4 if abs(value) < 10 else 1)


class Turns:
    """The process's side: what it is told to do."""

    def __init__(self, name, data, folder):
        import numpy as np

        importlib.import_module(ENGINES[name].module)  # Before anything is timed.
        self.np, self.engine, self.data, self.folder = np, ENGINES[name](), data, folder
        self.queries = np.load(f"{data}/queries.npy")
        self._rows = None

    @property
    def rows(self):
        if self._rows is None:
            self._rows = self.np.load(f"{self.data}/rows.npy")
        return self._rows

    def numbers(self, given):
        return self.np.arange(*given, dtype=self.np.int64)

    def empty(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)

    def build(self):
        self.empty()
        if why := self.engine.refuses(self.rows):
            return {"failed": why}
        self.engine.build(self.rows, self.folder)
        return {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}

    def open(self):
        self.engine.open(self.folder, self.queries.shape[1])
        self.engine.one(self.queries[0], K, self.engine.knobs[0])
        return {}

    def search(self, knob, seconds, queries=None, rows=None):
        """Answers to queries, or to these rows; to fewer than all of them if they take longer than `seconds`."""
        asked = self.queries[:queries] if rows is None else self.rows[self.np.array(rows)]
        found, began = [], time.perf_counter()
        for query in asked:
            found.append(self.engine.one(query, K, knob))
            if len(found) >= LEAST_QUERIES and time.perf_counter() - began > seconds:
                break
        rate = len(found) / (time.perf_counter() - began)
        return {"qps": rate, "found": [[int(number) for number in numbers] for numbers in found]}

    def start(self, tags, room):
        self.empty()
        if why := self.engine.refuses(self.rows):
            return {"failed": why}
        self.engine.start(self.numbers(tags), self.rows[slice(*tags)], self.folder, room)
        self.engine.commit()
        return {}

    def resume(self, room):
        self.engine.resume(self.folder, self.queries.shape[1], room)
        return {}

    def insert(self, tags, rows):
        self.engine.insert(self.numbers(tags), self.rows[slice(*rows)])
        self.engine.commit()
        return {}

    def replace(self, tags, rows):
        self.engine.replace(self.numbers(tags), self.rows[slice(*rows)])
        self.engine.commit()
        return {}

    def delete(self, tags):
        self.engine.delete(self.numbers(tags))
        self.engine.commit()
        return {}

    def tidy(self):
        self.engine.tidy()
        return {}

    def holds(self, tags):
        held = self.engine.holds(self.numbers(tags))
        return {"missing": [number for number, there in zip(range(*tags), held, strict=True) if not there]}

    def write(self, first, batch, last):
        """Inserts batches until it is killed, and says after each up to where everything was acknowledged. Libraries without a log save their file."""
        number = first
        while number < last:
            place = number % (len(self.rows) - batch)
            self.engine.insert(self.numbers([number, number + batch]), self.rows[place : place + batch])
            if self.engine.durable == "file":
                self.engine.save(f"{self.folder}/index")
            else:
                self.engine.commit()
            number += batch
            say({"acknowledged": number})
        signal.pause()

    def facts(self):
        """Memory and disk now. `rss` is everything, `anonymous` without what is mapped from files and can be read again."""
        with open("/proc/self/status") as file:
            sizes = {line.split(":")[0]: int(line.split()[1]) for line in file if line.startswith(("VmRSS", "RssAnon"))}
        return {
            "bytes": sum(file.stat().st_blocks * 512 for file in Path(self.folder).rglob("*") if file.is_file()),
            "rss_mib": sizes["VmRSS"] / 1024,
            "anonymous_mib": sizes["RssAnon"] / 1024,
        }


def written():
    with open("/proc/self/io") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("write_bytes"))


def say(answer):
    os.write(ANSWERS, (json.dumps(answer) + "\n").encode())


def work(name, data, folder):
    turns = Turns(name, data, folder)
    for line in sys.stdin:
        terms = json.loads(line)
        began, cpu, bytes_before = time.perf_counter(), time.process_time(), written()
        try:
            answer = getattr(turns, terms.pop("do"))(**terms)
        except Exception as error:  # Whatever a library raises is a result here.
            answer = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}
        spent = {"s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu, "written": written() - bytes_before}
        say({**spent, **answer})


def end_with_parent():
    """A process that is held still would outlive a parent that was killed: the kernel is told to end it, too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    end_with_parent()
    # Some libraries talk: answers go where standard output went, and what they say goes to the log.
    ANSWERS = os.dup(1)
    os.dup2(2, 1)
    work(*sys.argv[1:4])

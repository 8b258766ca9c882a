"""Counts the instructions of the hottest kernels under valgrind and compares them with the record.

    python3 benches/instruction_counts.py             # fails if a kernel needs 3 % more instructions than recorded
    python3 benches/instruction_counts.py --record    # writes benches/instruction-counts.json

Counts, unlike times, do not depend on what else the machine does; they depend on the compiler, whose version is recorded too.
Valgrind knows AVX2 but not AVX-512: the scalar and the AVX2 path are counted.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORD = ROOT / "benches" / "instruction-counts.json"
PATHS = ("scalar", "avx2")
ALLOWED = 1.03


def run(*command, **more):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **more).stdout


def build():
    """The path of the program that calls the kernels."""
    lines = run("cargo", "build", "--release", "-p", "stratavec-benches", "--bin", "instruction_counts",
                "--message-format=json", cwd=ROOT).splitlines()
    built = [json.loads(line) for line in lines if '"executable":"' in line]
    return next(message["executable"] for message in built if message["target"]["name"] == "instruction_counts")


def count(program, path):
    """Instructions of each counted function, with all it calls."""
    with tempfile.TemporaryDirectory() as directory:
        profile = pathlib.Path(directory) / "profile"
        environment = {**os.environ, "STRATAVEC_CPU": path}
        used = run("valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={profile}", program, env=environment)
        if used.strip() != path:
            sys.exit(f"asked for the {path} path, got {used.strip()}")
        table = run("callgrind_annotate", "--inclusive=yes", "--threshold=100", str(profile))
    found = {}
    for line in table.splitlines():
        match = re.match(r"\s*([\d,]+) .*\bcounted_(\w+)", line)
        if match:
            found.setdefault(match[2], int(match[1].replace(",", "")))
    return dict(sorted(found.items()))


def main():
    program = build()
    counts = {path: count(program, path) for path in PATHS}
    compiler = run("rustc", "--version").strip()
    if "--record" in sys.argv:
        RECORD.write_text(json.dumps({"compiler": compiler, **counts}, indent=2) + "\n")
        print(f"recorded {sum(map(len, counts.values()))} counts")
        return
    record = json.loads(RECORD.read_text())
    if record["compiler"] != compiler:
        sys.exit(f"the record is of {record['compiler']}, this is {compiler}: counts cannot be compared")
    failed = False
    for path in PATHS:
        for name in sorted(record[path].keys() | counts[path].keys()):
            old, new = record[path].get(name), counts[path].get(name)
            worse = old is None or new is None or new > old * ALLOWED
            failed |= worse
            change = f"{100 * (new / old - 1):+.1f} %" if old and new else "only on one side"
            print(f"{'FAIL' if worse else 'ok  '} {path:6} {name:14} {old} -> {new}  {change}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

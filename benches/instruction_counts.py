"""Counts the instructions of the hottest kernels under valgrind and compares them with the record.

    python3 benches/instruction_counts.py             # fails if a kernel needs 3 % more instructions than recorded
    python3 benches/instruction_counts.py --record    # writes benches/instruction-counts.json

Counts, unlike times, do not depend on what else the machine does; they depend on the compiler, whose version is recorded too.
Valgrind knows AVX2 but not AVX-512: the scalar and the AVX2 path are counted. Without valgrind, with another compiler or on
another processor there is nothing to compare: the program says that it was skipped, and ends well.
"""

import json
import os
import pathlib
import platform
import re
import shutil
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
    lines = run("cargo", "build", "--release", "--locked", "-p", "stratavec-benches", "--bin", "instruction_counts",
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


def judge(record, counts):
    """Lines about each kernel, and whether one of them needs more than the record allows or is missing on one side."""
    lines, failed = [], False
    for path in PATHS:
        for name in sorted(record[path].keys() | counts[path].keys()):
            old, new = record[path].get(name), counts[path].get(name)
            worse = old is None or new is None or new > old * ALLOWED
            failed |= worse
            change = f"{100 * (new / old - 1):+.1f} %" if old and new else "only on one side"
            lines.append(f"{'FAIL' if worse else 'ok  '} {path:6} {name:14} {old} -> {new}  {change}")
    return lines, failed


def distrust():
    """The judge lets nothing pass that it should not: a gate that cannot fail is none."""
    record = {path: {"scan": 1000, "select": 500} for path in PATHS}
    grown = {**record, PATHS[1]: {"scan": 1031, "select": 500}}
    lost = {**record, PATHS[0]: {"scan": 1000}}
    allowed = {**record, PATHS[1]: {"scan": 1030, "select": 400}}
    if [judge(record, counts)[1] for counts in (record, allowed, grown, lost)] != [False, False, True, True]:
        sys.exit("the judge of instruction counts does not tell growth apart")


def obstacle():
    """Why counts cannot be compared here, if they cannot."""
    missing = [tool for tool in ("valgrind", "callgrind_annotate") if shutil.which(tool) is None]
    compiler, recorded = run("rustc", "--version").strip(), json.loads(RECORD.read_text())["compiler"]
    if missing:
        return f"{' and '.join(missing)} not found"
    if platform.machine() != "x86_64":
        return f"the record is of x86_64, this is {platform.machine()}"
    if "--record" not in sys.argv and compiler != recorded:
        return f"the record is of {recorded}, this is {compiler}"
    return None


def main():
    distrust()
    if reason := obstacle():
        print(f"instruction counts: SKIPPED, {reason}")
        return
    program = build()
    counts = {path: count(program, path) for path in PATHS}
    if "--record" in sys.argv:
        compiler = run("rustc", "--version").strip()
        RECORD.write_text(json.dumps({"compiler": compiler, **counts}, indent=2) + "\n")
        print(f"recorded {sum(map(len, counts.values()))} counts")
        return
    lines, failed = judge(json.loads(RECORD.read_text()), counts)
    print("\n".join(lines))
    if failed:
        sys.exit("instruction counts: a kernel needs more than recorded; mend it, or record why with --record")
    print(f"instruction counts: {len(lines)} within {100 * (ALLOWED - 1):.0f} % of the record")


if __name__ == "__main__":
    main()

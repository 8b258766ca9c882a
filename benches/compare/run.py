"""What the comparisons have in common at their beginning and end: arguments, packages, the file of results and its picture."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from inputs import SEED
from engines import ENGINES
from environment import DATA, ROOT, enter, install_ours, installed, load, provenance


def arguments(about, data):
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=data, help="words, texts, fashion or folders, with commas")
    parser.add_argument("--rows", type=int, help="only so many rows of the data")
    parser.add_argument("--engines", help="with commas; without it all that can")
    parser.add_argument("--limit", type=float, default=7200, help="seconds for one set of data: what is begun then is finished, the rest left out")
    parser.add_argument("--results", type=Path, default=ROOT / "benches" / "results", help="where results go")
    return parser


def each(parser, compare, able, *packages):
    """Installs what is compared and runs `compare` with each of the data."""
    given = parser.parse_args()
    names = given.engines.split(",") if given.engines else able
    if unknown := [name for name in names if name not in able]:
        parser.error(f"these cannot take part: {', '.join(unknown)}; these can: {', '.join(able)}")
    missing = enter("numpy", *packages, perhaps=sorted({ENGINES[name].package for name in names} - {"stratavec"}))
    given.absent = {name: {"failed": f"it cannot be installed: {missing[package]}"} for name in names if (package := ENGINES[name].package) in missing}
    for name, why in given.absent.items():
        print(f"{name}: {why['failed']}", flush=True)
    names = [name for name in names if name not in given.absent]
    if not names:
        parser.error("nothing is left to compare")
    if "stratavec" in names:
        install_ours()
    DATA.mkdir(parents=True, exist_ok=True)
    for data in given.data.split(","):
        given.data, given.end = data, time.monotonic() + given.limit
        try:
            compare(given, names)
        except KeyboardInterrupt:
            sys.exit(f"{data}: interrupted, nothing of it was written")


def over(given):
    """Whether the time is up; what was measured by then counts."""
    return time.monotonic() > given.end


def keep(given, kind, benchmark, setting, engines, before):
    """Writes a result, and draws it."""
    engines = engines | given.absent
    packages = sorted({ENGINES[name].package for name in engines if installed(ENGINES[name].package)})
    result = {"benchmark": benchmark, "setting": setting, "load_before": before, "load_after": load(), "engines": engines, "provenance": provenance(SEED, *packages)}
    out = given.results / f"{kind}-{setting['data']}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{out.name} written", flush=True)
    subprocess.run([sys.executable, str(Path(__file__).with_name("plot.py")), str(out)], check=True)

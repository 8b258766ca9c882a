#!/usr/bin/env python3
"""Where others are better than we are, of all that the comparisons measured: a table for the README, made of their results.

    python3 benches/compare/losses.py              # prints it
    python3 benches/compare/losses.py README.md    # puts it, and the one of the kills, where the file says

For each figure the best of the others, how many of them are better, and what their writes withstand. Nothing is left out for being close.
"""

import argparse
import json
import re
from pathlib import Path

from environment import ROOT
from plot import front

OURS = "stratavec"
RECALLS = (0.90, 0.95, 0.99)
WITHSTANDS = {"power cut": "power cuts", "kill": "kill -9", "file": "nothing until the whole file is written anew", "nothing": "nothing; built once"}


def rate_at(curve, recall):
    """Queries per second at a recall: between two points the time of a query is taken to grow evenly."""
    points = front(curve)
    if not points or points[-1]["recall"] < recall:
        return None
    before = None
    for point in points:
        if point["recall"] >= recall:
            break
        before = point
    if before is None:
        return point["qps"]
    part = (recall - before["recall"]) / (point["recall"] - before["recall"])
    return 1 / ((1 - part) / before["qps"] + part / point["qps"])


# Of each comparison: what the figure is called, how it is read of an engine, whether more is better, how it is written.
STATIC = [(f"queries/s at recall {recall:.2f}", lambda e, r=recall: rate_at(e["curve"], r), True, "{:,.0f}") for recall in RECALLS] + [
    ("bytes per row on disk", lambda e: e["bytes_per_row"], False, "{:,.0f}"),
    ("resident MiB while searching, mapped files included", lambda e: e["rss_mib"], False, "{:,.0f}"),
    ("building, seconds of a processor", lambda e: e["build_cpu_s"], False, "{:,.1f}"),
    ("opening and first query, ms", lambda e: e["open_ms"], False, "{:,.1f}"),
]
STREAM = [
    ("stream: rows/s inserted", lambda e: e["insert_rows_per_s"], True, "{:,.0f}"),
    ("stream: rows/s deleted", lambda e: e["delete_rows_per_s"], True, "{:,.0f}"),
    ("stream: queries/s right after the writes", lambda e: e["fresh_qps"], True, "{:,.0f}"),
    ("stream: bytes written per byte of new vectors", lambda e: e["written_per_new_byte"], False, "{:,.1f}"),
]
INGEST = [
    ("ingest: rows/s in durable batches", lambda e: e["rows_per_s"], True, "{:,.0f}"),
    ("ingest: queries/s at recall 0.95 right afterwards", lambda e: e["fresh"]["qps"] if e["fresh"]["recall"] >= 0.95 else None, True, "{:,.0f}"),
]
RUNBOOK = [("runbook: queries/s", lambda e: e["qps"] if e["mean_recall"] >= 0.9 else None, True, "{:,.0f}")]
KINDS = {"peers": STATIC, "stream": STREAM, "ingest": INGEST, "runbook": RUNBOOK}


def read(kind, results):
    return [json.loads(file.read_text()) for file in sorted(results.glob(f"{kind}-*.json"))]


def lines_of(result, figures):
    engines = {name: engine for name, engine in result["engines"].items() if "failed" not in engine and "cannot" not in engine}
    for title, pick, more, shape in figures:
        values = {name: value for name, engine in engines.items() if (value := pick(engine)) is not None}
        ours, better = values.get(OURS), {}
        if ours is not None:
            better = {name: value for name, value in values.items() if (value > ours if more else value < ours)}
        if better:
            best = (max if more else min)(better, key=better.get)
            ratio = better[best] / ours if more else ours / better[best]
            withstands = WITHSTANDS[engines[best]["durable"]]
            yield f"| {title} | {result['setting']['data']} | {shape.format(ours)} | {best} | {shape.format(better[best])} ({ratio:.1f}x) | {len(better)} of {len(values) - 1} | {withstands} |"


def losses(results):
    rows = [line for kind, figures in KINDS.items() for result in read(kind, results) for line in lines_of(result, figures)]
    return ["| Figure | Data | Ours | Best of the others | Theirs | Better than ours | Their writes withstand |", "|---|---|---|---|---|---|---|", *rows]


def kills(results):
    lines = ["| Library | Kills | Lost acknowledged rows in | Could not be opened after | Syncs per acknowledged batch |", "|---|---|---|---|---|"]
    for result in read("kill", results):
        for name, engine in result["engines"].items():
            if "kills" in engine and "failed" not in engine:
                counted = engine.get("syncs_per_batch")
                said = "saves its whole file, no sync" if engine["durable"] == "file" else "not counted" if counted is None else f"{counted:g}"
                lines.append(f"| {name} | {engine['kills']} | {engine['losses']} | {engine['unopened']} | {said} |")
    return lines


def stream(results):
    """The picture of the stream, of the greater data if it was measured."""
    for data in ("fashion", "texts", "words"):
        if (results / f"stream-{data}.svg").exists():
            return [f"![Queries per second and recall over rounds of inserts and deletes](benches/results/stream-{data}.svg)"]
    return ["(No result of it is kept here yet: `python3 benches/compare/stream_peers.py` draws it.)"]


def loads(results):
    """When and how quietly each comparison was measured."""
    said = []
    for kind in KINDS:
        for result in read(kind, results):
            (before, *_), (after, *_) = result["load_before"], result["load_after"]
            source = result["provenance"]
            said.append(f"{kind} {result['setting']['data']} on {source['date'][:10]}, load {before:.1f} to {after:.1f}")
    busy = any(max(result["load_before"][0], result["load_after"][0]) > 2 for kind in KINDS for result in read(kind, results))
    note = ["", "**Measured beside other work**: the figures of all engines are lower than on a quiet machine, and noisy. They took turns, so read them as ratios."] if busy else []
    return [f"Measured on {source['cores']} processors of an {source['cpu']}: {'; '.join(said)}.", *note]


def main():
    results = ROOT / "benches" / "results"
    tables = {"losses": losses(results), "kills": kills(results), "stream": stream(results), "loads": loads(results)}
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("page", nargs="?", type=Path, help="where the tables go, between their marks; without it they are printed")
    page = arguments.parse_args().page
    if page is None:
        print("\n\n".join("\n".join(lines) for lines in tables.values()))
        return
    text = page.read_text()
    for name, lines in tables.items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda found, lines=lines: found[1] + "\n".join(lines) + "\n" + found[2], text, flags=re.S)
    page.write_text(text)


if __name__ == "__main__":
    main()

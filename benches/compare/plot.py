"""Draws results as SVG beside them: of rows that do not change the curves of recall and rate; of streams and runbooks both over the steps; of the churn that
`cargo run --release -p stratavec-benches --bin churn` measures what it costs, round by round."""

import argparse
import json
import math
from datetime import datetime, timezone
from html import escape
from pathlib import Path

WIDTH, LEFT, TOP, RIGHT, BOTTOM = 880, 70, 44, 230, 66
COLOURS = ["#1f77b4", "#17becf", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#ff7f0e", "#7f7f7f", "#bcbd22", "#393b79", "#e7ba52", "#637939", "#843c39"]
FROM, TO = 0.80, 1.0
# What a commit withstands in the comparison of streams.
SURVIVES = {"power cut": "power cut", "kill": "kill -9", "file": "whole file anew"}


class Panel:
    """A frame with two axes; `powers` makes the upright one a scale of powers of ten."""

    def __init__(self, out, top, bottom, across, upright, powers=False):
        self.out, self.top, self.bottom, self.across, self.powers = out, top, bottom, across, powers
        self.upright = [math.floor(math.log10(upright[0])), math.ceil(math.log10(upright[1]))] if powers else upright

    def x(self, value):
        low, high = self.across
        return LEFT + (value - low) / max(high - low, 1e-9) * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        low, high = self.upright
        return self.bottom - ((math.log10(value) if self.powers else value) - low) / max(high - low, 1e-9) * (self.bottom - self.top)

    def upright_lines(self, name, ticks=None):
        for tick in [10**power for power in range(self.upright[0], self.upright[1] + 1)] if self.powers else ticks:
            self.out.append(f'<line x1="{LEFT}" y1="{self.y(tick):.1f}" x2="{WIDTH - RIGHT}" y2="{self.y(tick):.1f}" stroke="#ddd"/>')
            self.out.append(f'<text x="{LEFT - 8}" y="{self.y(tick) + 4:.1f}" text-anchor="end">{tick:,}</text>')
        self.out.append(f'<text transform="translate(16 {(self.top + self.bottom) / 2}) rotate(-90)" text-anchor="middle">{name}</text>')

    def lines_across(self, name, ticks, shape="{}"):
        for tick in ticks:
            self.out.append(f'<line x1="{self.x(tick):.1f}" y1="{self.top}" x2="{self.x(tick):.1f}" y2="{self.bottom}" stroke="#ddd"/>')
            self.out.append(f'<text x="{self.x(tick):.1f}" y="{self.bottom + 16}" text-anchor="middle">{shape.format(tick)}</text>')
        self.out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{self.bottom + 34}" text-anchor="middle">{name}</text>')

    def curve(self, points, colour, width):
        path = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points)
        self.out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        self.out += [f'<circle cx="{self.x(a):.1f}" cy="{self.y(b):.1f}" r="{width + 0.8}" fill="{colour}"/>' for a, b in points]


def look(name, names):
    """Colour and width: ours stands out."""
    others = [other for other in names if other != "stratavec"]
    return ("#d62728", 3) if name == "stratavec" else (COLOURS[others.index(name) % len(COLOURS)], 1.6)


def legend(out, entries, names):
    for place, (name, text) in enumerate(entries):
        (colour, width), at = look(name, names), TOP + 12 + 22 * place
        out.append(f'<line x1="{WIDTH - RIGHT + 14}" y1="{at - 4}" x2="{WIDTH - RIGHT + 36}" y2="{at - 4}" stroke="{colour}" stroke-width="{width}"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 42}" y="{at}">{escape(text)}</text>')


def sheet(title, height, source):
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/><text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
    ]
    versions = [f"{name} {version}" for name, version in source["peers"].items()]
    first, second = ", ".join(versions[: len(versions) // 2]), ", ".join(versions[len(versions) // 2 :])
    machine = f"{source['date'][:10]}, {source['cpu']}, {source['cores']} processors, commit {source['commit']}"
    for at, text in [(25, machine), (15, first), (5, second)]:
        out.append(f'<text x="{WIDTH - 8}" y="{height - at}" text-anchor="end" font-size="9" fill="#666">{escape(text)}</text>')
    return out


def front(curve):
    """The points that no other one beats, from low recall to high."""
    best = [p for p in curve if not any(o["recall"] >= p["recall"] and o["qps"] > p["qps"] for o in curve)]
    return sorted((p for p in best if p["recall"] >= FROM), key=lambda p: p["recall"])


def draw_curves(result):
    names = [name for name, engine in result["engines"].items() if "curve" in engine]
    curves = {name: points for name in names if (points := front(result["engines"][name]["curve"]))}
    setting, height = result["setting"], 470
    out = sheet(f"{setting['data']}: {setting['rows']:,} x {setting['dim']}, k = {setting['k']}, one processor, one query per call", height, result["provenance"])
    rates = [p["qps"] for points in curves.values() for p in points]
    panel = Panel(out, TOP, height - BOTTOM, (FROM, TO), (min(rates), max(rates)), powers=True)
    panel.upright_lines("queries per second")
    panel.lines_across(f"recall@{setting['k']}", [FROM + (TO - FROM) * step / 10 for step in range(11)], "{:.2f}")
    order = sorted(curves, key=lambda name: -max(p["qps"] for p in curves[name]))
    for name in order:
        panel.curve([(p["recall"], p["qps"]) for p in curves[name]], *look(name, names))
    legend(out, [(name, f"{name} ({result['engines'][name]['bytes_per_row']:,.0f} B/row)") for name in order], names)
    return "\n".join([*out, "</svg>"]) + "\n"


def steps_of(engine):
    """Places, rates and recall of the searches that found rows as they were just written."""
    if "rounds" in engine:
        return [(at, turn["fresh"]["qps"], turn["fresh"]["recall"]) for at, turn in enumerate(engine["rounds"], 1)]
    return [(search["step"], search["qps"], search["recall"]) for search in engine.get("searches", ())]


def draw_steps(result):
    names = [name for name, engine in result["engines"].items() if steps_of(engine)]
    steps, setting, height = {name: steps_of(result["engines"][name]) for name in names}, result["setting"], 640
    stream = result["benchmark"] == "stream_peers"
    what = f"{setting['rows']:,} rows, in each round {setting['rows_per_round']:,} new and as many deleted" if stream else f"runbook {setting['runbook']}"
    out = sheet(f"{setting['data']}: {what}", height, result["provenance"])
    all_steps = [step for found in steps.values() for step in found]
    across = (min(at for at, _, _ in all_steps), max(at for at, _, _ in all_steps))
    middle = TOP + (height - TOP - BOTTOM) * 0.62
    rates = Panel(out, TOP, middle - 14, across, (min(r for _, r, _ in all_steps), max(r for _, r, _ in all_steps)), powers=True)
    rates.upright_lines("queries per second after the writes" if stream else "queries per second")
    recall = Panel(out, middle + 14, height - BOTTOM, across, (0.85, 1.0))
    recall.upright_lines("recall@10", [0.85, 0.9, 0.95, 1.0])
    recall.lines_across("round" if stream else "step", sorted({at for at, _, _ in all_steps}))
    order = sorted(names, key=lambda name: -steps[name][-1][1])
    for name in order:
        rates.curve([(at, rate) for at, rate, _ in steps[name]], *look(name, names))
        recall.curve([(at, max(found, 0.85)) for at, _, found in steps[name]], *look(name, names))
    legend(out, [(name, f"{name} ({SURVIVES[result['engines'][name]['durable']]})") for name in order], names)
    return "\n".join([*out, "</svg>"]) + "\n"


CHURN = [
    ("recall@10, 32 lists", None, [("recall", "at the end of the round"), ("recall_at_first", "after the last batch"), ("fresh_recall", "a fresh build")]),
    ("entries to a fresh build", 1.3, [("entries", "at the end of the round"), ("entries_at_first", "after the last batch"), ("entries_in_upkeep", "most during upkeep")]),
    ("searches to idle", 0.5, [("searches_to_idle", "while rows come"), ("searches_to_idle_after", "during upkeep"), ("searches_to_beginning", "while rows come, to the beginning")]),
    ("99th percentile to idle", 2.0, [("p99_to_idle", "while rows come"), ("p99_to_idle_after", "during upkeep"), ("p99_to_beginning", "while rows come, to the beginning")]),
]
CHURN_COLOURS = ["#d62728", "#1f77b4", "#999999"]


def churn_value(turn, key):
    if key.startswith("entries"):
        return turn[key] / turn["fresh_entries_of_these" if key == "entries_in_upkeep" else "fresh_entries"]
    return turn[key]


def ticks_between(low, high):
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if (high - low) / step <= 6)
    return [round(step * at, 2) for at in range(math.floor(low / step), math.ceil(high / step) + 1)]


def draw_churn(result):
    rounds, tall = result["rounds"], 190
    height = TOP + tall * len(CHURN) + BOTTOM
    came = f"half of {result['rows']:,} rows x {result['dim']}, a twentieth comes and goes each round, by kind"
    source = {"peers": {}, "date": "", "cores": result["provenance"]["threads"], **result["provenance"]}
    source["date"] = datetime.fromtimestamp(source["unix_time"], timezone.utc).date().isoformat()
    out = sheet(came + (", merges put off" if result["tiered"] else ""), height, source)
    for at, (name, limit, series) in enumerate(CHURN):
        lines = [(text, [(turn["round"], churn_value(turn, key)) for turn in rounds]) for key, text in series]
        values = [value for _, points in lines for _, value in points] + ([limit] if limit else [])
        ticks = ticks_between(min(values), max(values))
        top = TOP + tall * at
        panel = Panel(out, top, top + tall - 30, (1, len(rounds)), (ticks[0], ticks[-1]))
        panel.upright_lines(name, ticks)
        if limit:
            out.append(f'<line x1="{LEFT}" y1="{panel.y(limit):.1f}" x2="{WIDTH - RIGHT}" y2="{panel.y(limit):.1f}" stroke="#000" stroke-dasharray="5 4"/>')
        for place, ((text, points), colour) in enumerate(zip(lines, CHURN_COLOURS)):
            panel.curve(points, colour, 1.6)
            below = top + 14 + 18 * place
            out.append(f'<line x1="{WIDTH - RIGHT + 14}" y1="{below - 4}" x2="{WIDTH - RIGHT + 36}" y2="{below - 4}" stroke="{colour}" stroke-width="1.6"/>')
            out.append(f'<text x="{WIDTH - RIGHT + 42}" y="{below}" font-size="11">{escape(text)}</text>')
    panel.lines_across("round", range(1, len(rounds) + 1))
    return "\n".join([*out, "</svg>"]) + "\n"


DRAWINGS = {"churn": draw_churn, "static_peers": draw_curves, "stream_peers": draw_steps, "runbook_peers": draw_steps}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("results", nargs="+", type=Path, metavar="RESULT.json", help="of the comparisons, in benches/results")
    for path in arguments.parse_args().results:
        result = json.loads(path.read_text())
        if drawing := DRAWINGS.get(result.get("benchmark")):
            path.with_suffix(".svg").write_text(drawing(result))
            print(f"{path.with_suffix('.svg').name} drawn")


if __name__ == "__main__":
    main()

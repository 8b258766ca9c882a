"""Draws the curves of a result of static_peers.py as SVG beside it: recall to the right, queries per second upwards, on a scale of powers."""

import json
import math
import sys
from html import escape
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 880, 470, 70, 44, 230, 66
COLOURS = ["#d62728", "#1f77b4", "#17becf", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#ff7f0e", "#7f7f7f", "#bcbd22", "#393b79"]
FROM, TO = 0.80, 1.0


def front(curve):
    """The points that no other one beats, from low recall to high."""
    best = [p for p in curve if not any(o["recall"] >= p["recall"] and o["qps"] > p["qps"] for o in curve)]
    return sorted((p for p in best if p["recall"] >= FROM), key=lambda p: p["recall"])


def draw(result):
    curves = {name: front(engine["curve"]) for name, engine in result["engines"].items() if "curve" in engine}
    curves = {name: points for name, points in curves.items() if points}
    rates = [p["qps"] for points in curves.values() for p in points]
    low, high = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))

    def x(recall):
        return LEFT + (recall - FROM) / (TO - FROM) * (WIDTH - LEFT - RIGHT)

    def y(rate):
        return TOP + (high - math.log10(rate)) / max(high - low, 1) * (HEIGHT - TOP - BOTTOM)

    setting, source = result["setting"], result["provenance"]
    title = f"{setting['data']}: {setting['rows']:,} x {setting['dim']}, k = {setting['k']}, one thread, one query per call"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
    ]
    for step in range(11):
        recall = FROM + (TO - FROM) * step / 10
        out.append(f'<line x1="{x(recall):.1f}" y1="{TOP}" x2="{x(recall):.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        out.append(f'<text x="{x(recall):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{recall:.2f}</text>')
    for power in range(low, high + 1):
        out.append(f'<line x1="{LEFT}" y1="{y(10**power):.1f}" x2="{WIDTH - RIGHT}" y2="{y(10**power):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(10**power) + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    order = sorted(curves, key=lambda name: -max(p["qps"] for p in curves[name]))
    for place, name in enumerate(order):
        colour = COLOURS[0] if name == "stratavec" else COLOURS[1 + list(result["engines"]).index(name) % (len(COLOURS) - 1)]
        points, width = curves[name], 3 if name == "stratavec" else 1.6
        path = " ".join(f"{x(p['recall']):.1f},{y(p['qps']):.1f}" for p in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        out += [f'<circle cx="{x(p["recall"]):.1f}" cy="{y(p["qps"]):.1f}" r="{width + 0.8}" fill="{colour}"/>' for p in points]
        at = TOP + 12 + 22 * place
        out.append(f'<line x1="{WIDTH - RIGHT + 14}" y1="{at - 4}" x2="{WIDTH - RIGHT + 36}" y2="{at - 4}" stroke="{colour}" stroke-width="{width}"/>')
        size = result["engines"][name]["bytes_per_row"]
        out.append(f'<text x="{WIDTH - RIGHT + 42}" y="{at}">{escape(name)} ({size:,.0f} B/row)</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - BOTTOM + 34}" text-anchor="middle">recall@{setting["k"]}</text>')
    out.append(f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">queries per second</text>')
    versions = ", ".join(f"{name} {version}" for name, version in source["peers"].items())
    for at, text in [(16, f"{source['date'][:10]}, {source['cpu']}, commit {source['commit']}"), (5, versions)]:
        out.append(f'<text x="{WIDTH - 8}" y="{HEIGHT - at}" text-anchor="end" font-size="9" fill="#666">{escape(text)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    for name in sys.argv[1:]:
        path = Path(name)
        path.with_suffix(".svg").write_text(draw(json.loads(path.read_text())))
        print(f"{path.with_suffix('.svg').name} drawn")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Makes demo/data/ from a folder with embedded WordNet entries.

    python3 demo/make-data.py FOLDER [OUT]

FOLDER holds `base.f16.npy` (n, 384) and `query.f16.npy` (m, 384), unit length, made from the texts of `texts.jsonl.gz`
and `query_texts.jsonl.gz` ({"id", "text", "pos", "lex"} per line) with the model all-MiniLM-L6-v2. OUT (default: the
`data` folder beside this script) receives

    base.f16.npy    (5000, 384) float16   the rows of the demo collection
    base.jsonl      id, text, pos, lex of each row, in the same order
    query.f16.npy   (200, 384) float16    entries that are not among the rows
    query.jsonl     their id, text, pos, lex
    truth.i32.npy   (200, 10) int32       the ten nearest rows of each query by cosine, nearest first
    NOTICE          is written by hand and left alone

How entries are picked: each (part of speech, lexicographer file) class gives a share of its size (largest remainders,
at least one entry), and inside a class the entries with the smallest SHA-256 of "seed:id" are taken, so the same folder
gives the same bytes on every machine. Queries are picked the same way among those whose answer cannot depend on
rounding: the tenth and the eleventh distance differ by more than 1e-5, and no two of the first ten by less than 1e-6.
Distances are computed in double precision over the float16 values.

Standard library and numpy only.
"""

import gzip
import hashlib
import json
import pathlib
import sys

import numpy

ROWS, QUERIES, NEAREST, SEED = 5_000, 200, 10, "stratavec-demo-1"


def read_texts(path):
    """The entries of one gzipped file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def draw(entry):
    """A number that stands for this entry in every draw."""
    return hashlib.sha256(f"{SEED}:{entry['id']}".encode()).digest()


def shares(sizes, total):
    """How many of each class: proportional to its size, rounded by largest remainder, at least one."""
    whole = sum(sizes.values())
    exact = {key: total * size / whole for key, size in sizes.items()}
    counts = {key: max(1, int(value)) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: (int(exact[key]) - exact[key], key))
    for key in by_remainder:
        if sum(counts.values()) >= total:
            break
        counts[key] += 1
    while sum(counts.values()) > total:
        counts[max(counts, key=lambda key: (counts[key] - exact[key], key))] -= 1
    return counts


def pick(entries, total):
    """Positions of `total` entries, spread over the classes, ascending."""
    classes = {}
    for position, entry in enumerate(entries):
        classes.setdefault((entry["pos"], entry["lex"]), []).append(position)
    counts = shares({key: len(members) for key, members in classes.items()}, total)
    chosen = []
    for key, members in classes.items():
        chosen += sorted(members, key=lambda position: draw(entries[position]))[: counts[key]]
    return sorted(chosen)


def nearest(base, query):
    """For each query the order of the rows and the distances 1 - cos in that order."""
    base = base.astype(numpy.float64)
    query = query.astype(numpy.float64)
    base /= numpy.linalg.norm(base, axis=1, keepdims=True)
    query /= numpy.linalg.norm(query, axis=1, keepdims=True)
    distances = 1.0 - query @ base.T
    order = numpy.argsort(distances, axis=1, kind="stable")[:, : NEAREST + 1]
    return order, numpy.take_along_axis(distances, order, axis=1)


def write_texts(path, entries):
    """JSON lines, keys in a fixed order, text as it is."""
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for entry in entries:
            row = {key: entry[key] for key in ("id", "text", "pos", "lex")}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: make-data.py FOLDER [OUT]")
    folder = pathlib.Path(sys.argv[1])
    out = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else pathlib.Path(__file__).parent / "data"
    out.mkdir(parents=True, exist_ok=True)

    texts = read_texts(folder / "texts.jsonl.gz")
    rows = pick(texts, ROWS)
    base = numpy.load(folder / "base.f16.npy")[rows]

    query_texts = read_texts(folder / "query_texts.jsonl.gz")
    query = numpy.load(folder / "query.f16.npy")
    order, distances = nearest(base, query)
    gaps = numpy.diff(distances, axis=1)
    clear = [i for i in range(len(query)) if gaps[i, -1] > 1e-5 and gaps[i, :-1].min() > 1e-6]
    queries = [clear[i] for i in pick([query_texts[i] for i in clear], QUERIES)]

    numpy.save(out / "base.f16.npy", base)
    numpy.save(out / "query.f16.npy", query[queries])
    numpy.save(out / "truth.i32.npy", order[queries, :NEAREST].astype(numpy.int32))
    write_texts(out / "base.jsonl", [texts[i] for i in rows])
    write_texts(out / "query.jsonl", [query_texts[i] for i in queries])
    print(f"{len(rows)} rows, {len(queries)} queries of {len(clear)} with a clear answer, in {out}")


if __name__ == "__main__":
    main()

"""Flips bits of a collection, one at a time, and asks the independent reader about each. Changes the directory it is given.

Fails if the reader gives other rows without a finding, unless what it lost is the end of the last log, reported as dropped.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "format-spec"))
import reader  # noqa: E402


def content(collection):
    return [(n, r.id, r.seq, r.vector, r.attributes, r.payload) for n, r in collection.rows()]


def look(directory):
    """(finding or None, rows or None, dropped bytes, last sequence number)"""
    try:
        collection = reader.Collection(directory)
        findings = collection.verify()
        dropped = sum(dropped for _, _, dropped in collection.logs)
        return (findings or [None])[0], content(collection), dropped, collection.last_seq
    except (reader.Damaged, reader.Unsupported) as problem:
        return str(problem), None, 0, 0


def main(directory):
    clean = reader.Collection(directory)
    rows, seq = content(clean), clean.last_seq
    dropped_before = sum(dropped for _, _, dropped in clean.logs)
    tail = {log.name: len(log.data) - dropped for log, _, dropped in clean.logs}
    flips = named = dropped_tails = silent = 0
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        with open(path, "rb") as handle:
            original = handle.read()
        step = max(len(original) // 150, 1)
        for at in range(0, len(original), step):
            damaged = bytearray(original)
            damaged[at] ^= 1 << (at // step) % 8
            with open(path, "wb") as handle:
                handle.write(damaged)
            finding, found, dropped, last = look(directory)
            flips += 1
            if finding is not None:
                named += 1
            elif found == rows and at >= tail.get(name, len(original)):
                dropped_tails += 1  # the torn tail was garbage before
            elif dropped > dropped_before and last < seq:
                dropped_tails += 1
            else:
                silent += 1
                print(f"silent: {name} byte {at}")
        with open(path, "wb") as handle:
            handle.write(original)
    print(f"{flips} flips: {named} named, {dropped_tails} in a dropped tail, {silent} silent")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

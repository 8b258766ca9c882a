"""Writes `golden/codes.txt`: what the kernels must compute, one `name hex` per line. Run with no arguments."""

import pathlib
import struct

import numpy as np

import codes
from codes import F


def floats(*values):
    return b"".join(struct.pack("<f", float(v)) for v in values)


def main():
    lines = []

    def put(name, data):
        lines.append(f"{name} {bytes(data).hex()}")

    for padded in (64, 192, 384, 1024):
        stream = codes.splitmix64(padded)
        vectors = [codes.uniform(stream, padded) for _ in range(8)]
        put(f"{padded}/norm", struct.pack("<d", codes.norm_squared(vectors[0])))
        put(f"{padded}/rotated", codes.rotate(vectors[0], 5).astype("<f4").tobytes())
        centroid, query, members = vectors[0], vectors[1], vectors[2:] + [vectors[0], np.zeros(padded, dtype=F)]
        made = codes.tables(query)
        put(f"{padded}/table", made["table"].tobytes())
        put(f"{padded}/planes", np.concatenate([made["high"], made["low"]]).astype(np.int8).tobytes())
        put(f"{padded}/units", floats(made["unit"], made["bias"], made["plane_unit"]))
        base, reach = F(7.5), F(3.25)
        for bits in range(1, 9):
            op = "l2" if bits % 2 == 0 else "dot"
            scale, offset = F(0.25), F(0.5)
            entries = [codes.encode(o, centroid, bits, op, scale, offset) for o in members]
            name = f"{padded}/{bits}"
            put(f"{name}/block", codes.block(entries, padded).tobytes())
            put(f"{name}/words", b"".join(struct.pack("<HH", *entry["sign_words"]) for entry in entries))
            put(f"{name}/sums", b"".join(struct.pack("<I", codes.sign_sum(made, entry)) for entry in entries))
            put(f"{name}/bounds", floats(*(codes.bound(made, e, op, base, reach, scale, 1.5) for e in entries)))
            if bits > 1:
                records = (codes.record_code(e["extra"], bits - 1).tobytes() + floats(*e["factors"]) for e in entries)
                put(f"{name}/records", b"".join(records))
                put(f"{name}/estimates", floats(*(codes.refined(made, e, op, base, bits) for e in entries)))
    path = pathlib.Path(__file__).parent.parent / "golden" / "codes.txt"
    path.write_text("\n".join(lines) + "\n")
    print(path, len(lines), "lines")


if __name__ == "__main__":
    main()

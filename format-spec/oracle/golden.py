"""Writes `golden/codes.txt`: what the kernels must compute, one `name hex` per line. Run with no arguments."""

import pathlib
import struct

import numpy as np

import codes
from codes import F


def floats(*values):
    return b"".join(struct.pack("<f", float(v)) for v in values)


BOOKS = [(64, 16, 16), (64, 2, 1024), (128, 8, 256), (192, 24, 32), (384, 96, 16)]


def row_codes(put, padded, made, members):
    for bits in (4, 8):
        for op in ("l2", "dot"):
            entries = [codes.encode_row(o, bits, op, F(0.5)) for o in members]
            name = f"{padded}/row{bits}/{op}"
            records = (codes.record_code(e["values"], bits).tobytes() + floats(*e["factors"]) for e in entries)
            put(f"{name}/records", b"".join(records))
            put(f"{name}/estimates", floats(*(codes.row_estimate(made, e, op, F(7.5), bits) for e in entries)))


def product_codes(put, padded, parts, size):
    """Books are random numbers here: how they are trained is not part of the format."""
    stream = codes.splitmix64(padded * 2048 + size)
    vectors = [codes.uniform(stream, padded) for _ in range(6)]
    book = codes.uniform(stream, padded * size).reshape(parts, padded // parts, size)
    centroid, query, members = vectors[0], vectors[1], vectors[2:] + [vectors[0], np.zeros(padded, dtype=F)]
    made = codes.product_tables(query, book)
    name = f"{padded}/product{parts}x{size}"
    put(f"{name}/tables", made.astype("<f4").tobytes())
    if size == 16:
        table, unit, bias = codes.product_block_tables(made)
        put(f"{name}/block-tables", table.tobytes() + floats(unit, bias))
    for op in ("l2", "dot"):
        entries = [codes.encode_product(o, centroid, book, op, F(0.5)) for o in members]
        put(f"{name}/{op}/codes", b"".join(codes.packed(e["numbers"], size) for e in entries))
        put(f"{name}/{op}/factors", b"".join(struct.pack("<fHH", *e["factors"]) for e in entries))
        put(f"{name}/{op}/estimates", floats(*(codes.product_estimate(made, e, op, F(7.5)) for e in entries)))


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
        row_codes(put, padded, made, members)
    for padded, parts, size in BOOKS:
        product_codes(put, padded, parts, size)
    path = pathlib.Path(__file__).parent.parent / "golden" / "codes.txt"
    path.write_text("\n".join(lines) + "\n")
    print(path, len(lines), "lines")


if __name__ == "__main__":
    main()

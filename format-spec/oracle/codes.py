"""The codes of the format, computed with NumPy alone: what every instruction set of the engine must reproduce bit for bit.

Nothing here is taken from the engine. All arithmetic is IEEE single precision in the order that `codes.md` lays down: sums are
collected in sixteen lanes (component i in lane i % 16), which are then folded in half four times.
"""

import numpy as np

F = np.float32
MASK = (1 << 64) - 1


def splitmix64(seed):
    """The generator of the format, an endless stream of 64-bit words."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def uniform(stream, count):
    """Numbers in -1 .. 1 with 23 bits: exact in single precision."""
    return np.array([(next(stream) >> 40) / 8388608.0 - 1.0 for _ in range(count)], dtype=F)


def fold(lanes):
    """Sixteen partial sums to one."""
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = lanes[:half] + lanes[half:]
    return lanes[0]


def total(terms):
    """The sum of single-precision terms in the order of the format."""
    lanes = np.zeros(16, dtype=F)
    for sixteen in terms.astype(F, copy=False).reshape(-1, 16):
        lanes = lanes + sixteen
    return fold(lanes)


def norm_squared(x):
    """Squared length in double precision: eight partial sums added pairwise."""
    x = x.astype(np.float64)
    x = np.concatenate([x, np.zeros(-len(x) % 8)]).reshape(-1, 8)
    lanes = np.zeros(8)
    for eight in x:
        lanes = lanes + eight * eight
    a, b, c, d, e, f, g, h = lanes
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


# ---- rotation


def hadamard(x):
    """Unscaled transform: distances 1, 2, 4 .. in turn."""
    h = 1
    while h < len(x):
        pairs = x.reshape(-1, 2, h)
        x = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(-1)
        h *= 2
    return x


def rotate(x, seed):
    """Rotates a vector whose length is a multiple of 64."""
    x = x.astype(F)
    padded = len(x)
    transform = 1 << (padded.bit_length() - 1)
    scale = F(1.0 / np.sqrt(np.float64(transform)))
    half = F(np.sqrt(0.5))
    stream = splitmix64(seed)
    for turn in range(4):
        words = [next(stream) for _ in range(padded // 64)]
        minus = np.array([word >> bit & 1 for word in words for bit in range(64)], dtype=bool)
        start = 0 if turn % 2 == 0 else padded - transform
        inside = np.zeros(padded, dtype=bool)
        inside[start : start + transform] = True
        size = np.where(inside, scale, F(1))
        x = x * np.where(minus, -size, size)
        x[start : start + transform] = hadamard(x[start : start + transform])
        if transform < padded and turn % 2 == 1:
            a, b = x[: padded // 2].copy(), x[padded // 2 :].copy()
            x = np.concatenate([(a + b) * half, (a - b) * half])
    return x


# ---- coding

STEP = [None, F(1.596), F(0.9957), F(0.586), F(0.3352), F(0.1881), F(0.1041), F(0.0569), F(0.0308)]
TRIALS = [F(t) for t in range(11, 19)]
SMALLEST = np.finfo(F).tiny


def bf16(x):
    """Bits of the nearest bfloat16, halves to even."""
    bits = int(np.array(x, dtype=F).view(np.uint32))
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def from_bf16(bits):
    return np.array(bits << 16, dtype=np.uint32).view(F)[()]


def half_word(x):
    """Bits of the nearest IEEE half; minus infinity if it does not fit."""
    with np.errstate(over="ignore"):
        value = np.float16(x)
    return int(np.array(value if np.isfinite(value) else -np.inf, dtype=np.float16).view(np.uint16))


def encode(vector, centroid, bits, op, scale, offset):
    """One entry: sign bits, first-stage words, further bits, factors of the whole code."""
    gain = F(2 if op == "l2" else 1)
    r = vector - centroid
    energy, size = total(r * r), total(np.abs(r))
    positive = r >= 0
    fixed = energy if op == "l2" else F(-(total(r * centroid) + F(offset)))
    codable = energy >= SMALLEST and np.isfinite(energy)
    rescale = F(F(2) * energy / size) if codable else F(0)
    centre = F(0.5) * total(np.where(positive, centroid, -centroid))
    word = bf16(rescale)
    add = half_word((fixed + from_bf16(word) * (gain * centre)) / F(scale))
    out = {
        "signs": np.packbits(positive, bitorder="little"),
        "sign_words": (add, word),
        "extra": np.zeros(0, dtype=np.uint8),
        "factors": (fixed + rescale * (gain * centre), rescale),
    }
    if bits > 1:
        out["extra"] = np.zeros(len(r), dtype=np.uint8)
        out["factors"] = (fixed, F(0))
        if codable:
            step = best_step(np.abs(r), energy, bits)
            largest = F((1 << (bits - 1)) - 1)
            m = magnitude(np.abs(r), F(1) / step, largest)
            g = m + F(0.5)
            product = centroid * g
            inner = total(np.abs(r) * g)
            centre = total(np.where(positive, product, -product))
            out["extra"] = np.where(positive, m, largest - m).astype(np.uint8)
            rescale = energy / inner
            out["factors"] = (fixed + rescale * (gain * centre), rescale)
    return out


def magnitude(size, inverse, largest):
    return np.floor(np.minimum(size * inverse, largest))


def best_step(size, energy, bits):
    unit = STEP[bits] * np.sqrt(energy / F(len(size))) / F(16)
    best, chosen = F(-np.inf), unit * F(16)
    for trial in TRIALS:
        step = unit * trial
        g = magnitude(size, F(1) / step, F((1 << (bits - 1)) - 1)) + F(0.5)
        cosine = total(size * g) / np.sqrt(total(g * g))
        if cosine > best:
            best, chosen = cosine, step
    return chosen


def record_code(values, extra_bits):
    """The code bits of a record: runs of 64 components, fields of 4, 2 and 1 bits."""
    if extra_bits == 8:
        return values.astype(np.uint8)
    out = []
    for run in values.reshape(-1, 64).astype(int):
        rest = extra_bits
        for width in (4, 2, 1):
            if extra_bits & width:
                rest -= width
                field = run >> rest & ((1 << width) - 1)
                if width == 1:
                    out.append(np.packbits(field.astype(bool), bitorder="little"))
                else:
                    parts = field.reshape(8 // width, 8 * width)
                    byte = sum(part << (i * width) for i, part in enumerate(parts))
                    out.append(byte.astype(np.uint8))
    return np.concatenate(out)


ENTRY = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]


def nibbles(signs):
    """The nibbles of an entry's groups: bit 3 is the first component."""
    bits = np.unpackbits(signs, bitorder="little").reshape(-1, 4).astype(int)
    return bits @ np.array([8, 4, 2, 1])


def block(entries, padded):
    """The sign block of up to 32 entries."""
    lanes = np.zeros((32, padded // 4), dtype=int)
    for lane, entry in enumerate(entries):
        lanes[lane] = nibbles(entry["signs"])
    lower = lanes[ENTRY].T
    upper = lanes[[e + 16 for e in ENTRY]].T
    return (lower | upper << 4).astype(np.uint8).reshape(-1)


# ---- queries


def tables(query):
    """Sign table, its unit and bias, and the two planes."""
    q = query.astype(F).reshape(-1, 4)
    size = np.abs(q)
    reach = ((size[:, 0] + size[:, 1]) + (size[:, 2] + size[:, 3])).reshape(-1, 2, 4)
    unit = (reach[:, 0] + reach[:, 1]).max() / F(254)
    unit = unit if unit >= SMALLEST else F(0)
    inverse = F(1) / unit if unit > 0 else F(0)
    y = q * inverse
    n = np.where(y < 0, y, F(0))
    sums = np.repeat(-((n[:, 0] + n[:, 1]) + (n[:, 2] + n[:, 3]))[:, None], 16, axis=1)
    for t in range(4):
        chosen = np.arange(16) >> (3 - t) & 1 == 1
        sums = sums + np.where(chosen, y[:, t : t + 1], F(0))
    table = np.rint(np.maximum(sums, F(0))).astype(np.uint8)
    query = query.astype(F)
    bias = total(np.minimum(query, F(0))) - F(0.5) * total(query)
    plane_unit = np.abs(query).max() / F(16000)
    plane_unit = plane_unit if plane_unit >= SMALLEST else F(0)
    scaled = query * (F(1) / plane_unit if plane_unit > 0 else F(0))
    value = np.rint(np.clip(scaled, F(-16000), F(16000))).astype(int)
    high = (value + 64) >> 7
    return {"table": table, "unit": unit, "bias": bias, "high": high, "low": value - 128 * high, "plane_unit": plane_unit}


def sign_sum(made, entry):
    return int(made["table"][np.arange(len(made["table"])), nibbles(entry["signs"])].astype(int).sum())


def product(made, total_bytes):
    return made["unit"] * F(total_bytes) + made["bias"]


SIGMA_1 = F(0.3014)


def bound(made, entry, op, base, reach, scale, z):
    """Estimate of the first stage less z standard errors."""
    gain = F(2 if op == "l2" else 1)
    add = np.array(entry["sign_words"][0], dtype=np.uint16).view(np.float16).astype(F)[()]
    rescale = from_bf16(entry["sign_words"][1])
    shift = gain * made["bias"] + gain * F(z) * (SIGMA_1 * reach)
    return (add * F(scale) + base) - rescale * (F(sign_sum(made, entry)) * (gain * made["unit"]) + shift)


def refined(made, entry, op, base, bits):
    """Estimate of the second stage."""
    gain = F(2 if op == "l2" else 1)
    extra_bits = bits - 1
    values = entry["extra"].astype(int)
    mean = (1 << extra_bits) - 1
    twice = 128 * (2 * int(values @ made["high"]) - mean * int(made["high"].sum()))
    if extra_bits > 4:
        twice += 2 * int(values @ made["low"]) - mean * int(made["low"].sum())
    further = F(twice) * (F(0.5) * made["plane_unit"])
    whole = F(1 << extra_bits) * product(made, sign_sum(made, entry)) + further
    add, rescale = entry["factors"]
    return (F(add) + base) - F(rescale) * (gain * whole)


# ---- row codes


def encode_row(vector, bits, op, offset):
    """Code and factors of a whole row, without a list."""
    size = np.abs(vector)
    energy = total(vector * vector)
    values, rescale = np.zeros(len(vector), dtype=int), F(0)
    if energy >= SMALLEST and np.isfinite(energy):
        step = size.max() / F(127.5) if bits == 8 else best_step(size, energy, bits)
        largest = F((1 << (bits - 1)) - 1)
        m = magnitude(size, F(1) / step, largest)
        rescale = energy / total(size * (m + F(0.5)))
        values = np.where(vector >= 0, m, largest - m).astype(int)
    values = values | np.where(vector >= 0, 1 << (bits - 1), 0)
    return {"values": values, "factors": (energy if op == "l2" else F(-F(offset)), rescale)}


def row_estimate(made, entry, op, base, bits):
    gain = F(2 if op == "l2" else 1)
    mean = (1 << bits) - 1
    twice = 128 * (2 * int(entry["values"] @ made["high"]) - mean * int(made["high"].sum()))
    if bits > 4:
        twice += 2 * int(entry["values"] @ made["low"]) - mean * int(made["low"].sum())
    add, rescale = entry["factors"]
    return (F(add) + base) - F(rescale) * (gain * (F(twice) * (F(0.5) * made["plane_unit"])))


# ---- product codes: a book is an array of parts x components of a part x codewords


def encode_product(vector, centroid, book, op, offset):
    """Numbers and factors of an entry: `F`, then `fr` and the standard error as bfloat16 words."""
    gain = F(2 if op == "l2" else 1)
    parts, width, size = book.shape
    r = vector - centroid
    distance = np.zeros((parts, size), dtype=F)
    for i in range(width):
        difference = r.reshape(parts, width)[:, i : i + 1] - book[:, i]
        distance = distance + difference * difference
    numbers = distance.argmin(axis=1)
    decoded = book[np.arange(parts), :, numbers].reshape(-1)
    energy, inner, square = total(r * r), total(r * decoded), total(decoded * decoded)
    fixed = energy if op == "l2" else F(-(total(r * centroid) + F(offset)))
    told = inner > 0 and np.isfinite(energy)
    word = bf16(energy / inner if told else F(0))
    tangent = max(energy * square / inner / inner - F(1), F(0)) if told else F(1)
    error = np.sqrt(energy * tangent / max(F(len(r)) - F(1), F(1)))
    add = fixed + from_bf16(word) * (gain * total(decoded * centroid))
    return {"numbers": numbers, "factors": (add, word, bf16(error))}


def packed(numbers, size):
    """One number per part, from the lowest bit of the first byte on."""
    bits = size.bit_length() - 1
    whole = sum(int(number) << (part * bits) for part, number in enumerate(numbers))
    return whole.to_bytes((len(numbers) * bits + 7) // 8, "little")


def product_tables(query, book):
    """Inner products of the query's parts with their codewords."""
    parts, width, size = book.shape
    sums = np.zeros((parts, size), dtype=F)
    for i in range(width):
        sums = sums + query.reshape(parts, width)[:, i : i + 1] * book[:, i]
    return sums


def product_estimate(made, entry, op, base):
    gain = F(2 if op == "l2" else 1)
    sums = [F(0)] * 4
    for part, number in enumerate(entry["numbers"]):
        sums[part % 4] = sums[part % 4] + made[part, number]
    add, rescale, _ = entry["factors"]
    return (add + base) - from_bf16(rescale) * (gain * ((sums[0] + sums[1]) + (sums[2] + sums[3])))


def product_block_tables(made):
    """Tables of a book of 16 words as bytes for the block scan, with their unit and bias."""
    groups = -len(made) % 16 + len(made)
    least, reach = made.min(axis=1), np.zeros(groups, dtype=F)
    reach[: len(made)] = made.max(axis=1) - least
    reach = reach.reshape(-1, 2, 4)
    unit = (reach[:, 0] + reach[:, 1]).max() / F(254)
    unit = unit if unit >= SMALLEST else F(0)
    inverse = F(1) / unit if unit > 0 else F(0)
    table = np.zeros((groups, 16), dtype=np.uint8)
    table[: len(made)] = np.rint((made - least[:, None]) * inverse).astype(np.uint8)
    bias = F(0)
    for smallest in least:
        bias = bias + smallest
    return table, unit, bias

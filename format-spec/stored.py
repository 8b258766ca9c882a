"""The files of a collection as bytes: checksums, manifests, row files, id tables, tombstone files.

The part of the independent reader that `reader.py` stands on. Every function raises `Damaged` for bytes that break a rule of the
pages beside this file, and `Unsupported` for a newer version.
"""

import math
import os
import struct
import zlib

MASK32, MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
PAGE_ROWS = 4096
UNIT, UNIT_PAYLOAD = 4096, 4088
METRICS = {1: "l2", 2: "cosine", 3: "ip"}
ID_KINDS = {1: "u64", 2: "bytes"}
ROW_FORMATS = {1: "f32", 2: "f16", 3: "bf16", 4: "i8", 5: "none"}
ELEMENTS = {**ROW_FORMATS, 6: "u8"}
I8, NONE = 4, 5
NARROWER = {1: (6, 2, 3), 2: (6,), 3: (6,)}
COMPONENT_BYTES = {"f32": 4, "f16": 2, "bf16": 2, "i8": 1, "none": 1, "u8": 1}


def stored_vector_bytes(dim, element):
    """Bytes of a stored vector: components, and the step behind those that are bytes. Under none, while rows wait for their lists."""
    return dim * COMPONENT_BYTES[element] + (4 if element in ("i8", "none") else 0)



class Damaged(Exception):
    """Bytes are not what was written there."""

    def __init__(self, file, offset, what):
        super().__init__(f"{file}, offset {offset}: {what}")
        self.file, self.offset, self.what = file, offset, what


class Unsupported(Exception):
    """A newer version wrote this."""


# ---- Numbers and checksums -------------------------------------------------------------------------------------------


def mix64(x):
    z = (x + 0x9E3779B97F4A7C15) & MASK64
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK64
    return z ^ z >> 31


def file_seed(file_id):
    return mix64((file_id >> 64) ^ mix64(file_id & MASK64)) >> 32


def unit_seed(seed, offset):
    return seed ^ (offset >> 3 & MASK32) ^ (offset >> 35 & MASK32)


def unit_crc(seed, offset, data):
    return zlib.crc32(data, unit_seed(seed, offset))


def siphash24(key, data):
    """SipHash-2-4 of `data` under a 128-bit key, low half first."""
    k0, k1 = key & MASK64, key >> 64
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(count):
        v0, v1, v2, v3 = v
        for _ in range(count):
            v0 = (v0 + v1) & MASK64
            v1 = (v1 << 13 & MASK64 | v1 >> 51) ^ v0
            v0 = v0 << 32 & MASK64 | v0 >> 32
            v2 = (v2 + v3) & MASK64
            v3 = (v3 << 16 & MASK64 | v3 >> 48) ^ v2
            v0 = (v0 + v3) & MASK64
            v3 = (v3 << 21 & MASK64 | v3 >> 43) ^ v0
            v2 = (v2 + v1) & MASK64
            v1 = (v1 << 17 & MASK64 | v1 >> 47) ^ v2
            v2 = v2 << 32 & MASK64 | v2 >> 32
        v[:] = v0, v1, v2, v3

    whole = len(data) // 8 * 8
    words = list(struct.unpack(f"<{whole // 8}Q", data[:whole]))
    words.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    for word in words:
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


class Bytes:
    """Takes fields from the front of a byte string; every shortage is damage."""

    def __init__(self, data, file, base=0):
        self.data, self.file, self.base, self.at = data, file, base, 0

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise self.bad("the bytes end inside a field")
        self.at += count
        return self.data[self.at - count : self.at]

    def fields(self, layout):
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def number(self, width):
        return int.from_bytes(self.take(width), "little")

    def left(self):
        return len(self.data) - self.at

    def bad(self, what):
        return Damaged(self.file, self.base + self.at, what)


def varint(source):
    """LEB128 in as few bytes as possible, at most 64 bits."""
    value = 0
    for i in range(10):
        byte = source.number(1)
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            if (i > 0 and byte == 0) or value > MASK64:
                break
            return value
    raise source.bad("a number is not in its shortest form")


# ---- Names -----------------------------------------------------------------------------------------------------------

PREFIXES = ("wal", "row", "idt", "del", "lst", "mod", "tmp")


def parse_name(name):
    """(kind, number) of a name of our grammar; None for a foreign file."""
    if name == "LOCK":
        return "lock", 0
    kind, dash, digits = name.partition("-")
    wanted = 16 if kind == "man" else 32
    good = dash and (kind == "man" or kind in PREFIXES) and len(digits) == wanted
    if not good or any(c not in "0123456789abcdef" for c in digits):
        return None
    return kind, int(digits, 16)


def name_of(kind, number):
    return f"{kind}-{number:016x}" if kind == "man" else f"{kind}-{number:032x}"


# ---- Manifests -------------------------------------------------------------------------------------------------------

MANIFEST_MAGIC = b"STVMAN\r\n"
HEAD_BYTES, TAIL_BYTES, ALIGN = 176, 8, 4096
KNOWN_TABLES = {1: 16, 2: 80, 3: 80, 4: 80, 5: 1, 6: 112, 7: 112}
TABLE_NAMES = {1: "origins", 2: "row", 3: "idt", 4: "del", 6: "mod", 7: "lst"}
IN_LISTS = 256
ALL_FAMILIES, VECTORS = 7, 1


class FileEntry:
    """What a manifest states about an immutable file."""

    FACTS = ("len", "root", "rows", "first_row", "last_row", "min_seq", "max_seq")

    def __init__(self, source, kind):
        self.id = source.number(16)
        self.kind = kind
        self.len, self.root, self.families, self.rows = source.fields("QIIQ")
        self.first_row, self.last_row, self.min_seq, self.max_seq = source.fields("QQQQ")
        origin, reserved = source.fields("II")
        self.in_lists = kind == "row" and self.families & IN_LISTS != 0
        self.narrow = self.families >> 16 if kind == "row" else 0
        families = self.families & 0xFFFF & ~IN_LISTS if kind == "row" else self.families
        self.bare = kind == "row" and families == ALL_FAMILIES - VECTORS
        if (origin, reserved) != (0, 0) or not (self.bare or families == (ALL_FAMILIES if kind == "row" else 0)):
            raise source.bad("an entry holds a value of another version")
        self.hash = source.take(32) if kind in ("mod", "lst") else bytes(32)

    @property
    def name(self):
        return name_of(self.kind, self.id)


class Manifest:
    """One copy of a manifest."""

    def __init__(self, data, generation, at):
        self.file = name_of("man", generation)
        copy = data[at:]
        head = Bytes(copy, self.file, at)
        magic, version, copy_len, compatible, read_only, incompatible, tables = head.fields("8sIIIIII")
        if magic != MANIFEST_MAGIC:
            raise Damaged(self.file, at, "does not begin as a manifest")
        if not HEAD_BYTES + TAIL_BYTES <= copy_len <= min(len(copy), 16 << 20):
            raise Damaged(self.file, at, "the copy is cut short")
        copy = copy[:copy_len]
        if unit_crc(file_seed(generation << 64), at, copy[:-4]) != int.from_bytes(copy[-4:], "little"):
            raise Damaged(self.file, at, "checksum")
        if version != 0 or incompatible != 0:
            raise Unsupported(f"{self.file}: version {version}, incompatible features {incompatible:#x}")
        self.copy_len = copy_len
        self.generation, self.parent = head.fields("QQ")
        self.collection = head.number(16)
        self.epoch, self.next_file_number, self.next_row, self.covered_seq = head.fields("QQQQ")
        self.first_wal = head.number(16)
        self.dim, metric, ids, rows, self.index, self.seed = head.fields("IBBBBQ")
        codes, bits, spill, anchors, nlist, parts, anchor_limit = head.fields("BBBBIII")
        if any(head.take(32)) or copy[-8:-4] != bytes(4) or self.generation != generation:
            raise Damaged(self.file, at, "reserved bytes, or the generation")
        counters = (self.generation, self.parent, self.next_file_number, self.next_row, self.covered_seq)
        if max(*counters, self.first_wal >> 64) >= 1 << 62:
            raise Damaged(self.file, at, "has counted further than any collection can")
        known = metric in METRICS and ids in ID_KINDS and rows in ROW_FORMATS and self.index in (1, 2, 3)
        coded = {0: bits == parts == 0, 1: 1 <= bits <= 8 and parts == 0, 2: 4 <= bits <= 10 and parts > 0, 3: bits == parts == 0}
        limits = {0: anchor_limit == 0, 1: anchor_limit == 0, 2: anchor_limit <= 2_000, 3: anchor_limit > 0}
        options = coded.get(codes, False) and limits.get(anchors, False) and spill <= 2 and nlist <= 1 << 24
        known = known and not (rows == NONE and (self.index == 1 or codes == 3))
        if not options or (self.index != 2 and (codes, bits, spill, nlist, parts, anchors) != (0, 0, 0, 0, 0, 0)):
            raise Damaged(self.file, at, "options of lists of another version")
        if codes == 2 and -(-self.dim // 64) * 64 % parts:
            raise Damaged(self.file, at, "parts that do not divide the dimension")
        self.codes, self.bits, self.parts = codes, bits, parts
        if not known or not 1 <= self.dim <= 65536:
            raise Damaged(self.file, at, "a schema of another version")
        self.metric, self.ids, self.rows = METRICS[metric], ID_KINDS[ids], ROW_FORMATS[rows]
        self.parameters = [self.dim, rows, metric, ids]
        self.tables, self.properties = {name: [] for name in TABLE_NAMES.values()}, {}
        self._read_tables(Bytes(copy[HEAD_BYTES:-TAIL_BYTES], self.file, at + HEAD_BYTES), tables)
        self._check()

    def _read_tables(self, source, count):
        previous = found = 0
        while source.left():
            kind, flags, width, entries = source.fields("HHIQ")
            if kind <= previous or width * entries == 0 or width * entries > source.left():
                raise source.bad("tables out of order, empty or cut")
            previous, found = kind, found + 1
            if kind not in KNOWN_TABLES:
                if not flags & 1:
                    raise Unsupported(f"{self.file}: table {kind}")
                source.take(width * entries)
                continue
            if width != KNOWN_TABLES[kind] or flags != 0:
                raise source.bad("a table has another width than its kind")
            if kind == 5:
                self._read_properties(Bytes(source.take(entries), self.file))
                continue
            name = TABLE_NAMES[kind]
            for _ in range(entries):
                self.tables[name].append(source.number(16) if kind == 1 else FileEntry(source, name))
        if found != count:
            raise source.bad("another number of tables than stated")

    def _read_properties(self, source):
        while source.left():
            name_len, value_len = source.fields("HH")
            name, value = source.take(name_len), source.take(value_len)
            try:
                name = name.decode()
            except UnicodeDecodeError:
                raise source.bad("the name of a property is not UTF-8") from None
            last = max(self.properties, key=str.encode, default="")
            if not 1 <= name_len <= 255 or value_len > 4096 or name.encode() <= last.encode() or len(self.properties) == 64:
                raise source.bad("a property is too long or not in order")
            self.properties[name] = value

    def _check(self):
        rows = self.tables["row"]
        ordered = all(a.last_row < b.first_row for a, b in zip(rows, rows[1:]))
        inside = all(
            e.first_row <= e.last_row < self.next_row and 0 < e.rows <= e.last_row - e.first_row + 1 for e in rows
        )
        covered = all(e.min_seq <= e.max_seq <= self.covered_seq for kind in ("row", "idt", "del") for e in self.tables[kind])
        numbered = all(e.min_seq > 0 for kind in ("row", "idt") for e in self.tables[kind])
        if len(self.tables["origins"]) != 1 or not ordered or not inside or not covered or not numbered:
            raise Damaged(self.file, 0, "the files it names contradict each other")
        self._check_lists()

    def _check_lists(self):
        models, lists, rows = self.tables["mod"], self.tables["lst"], self.tables["row"]
        flat = self.index == 1 and (models or lists)
        orphaned = any(all(model.hash != e.hash for model in models) for e in lists)
        unmade = any(e.in_lists for e in rows) and not models
        lost = any(e.bare and (self.rows != "none" or not e.in_lists) for e in rows)
        twice = len({e.hash for e in models}) < len(models) or len({e.id for e in models}) < len(models)
        if len(models) > 2 or twice or flat or orphaned or unmade or lost or any(e.rows == 0 for e in models):
            raise Damaged(self.file, 0, "models, lists and rows contradict each other")
        inside = all(
            e.first_row <= e.last_row < self.next_row
            and 0 < e.rows <= e.last_row - e.first_row + 1
            and 0 < e.min_seq <= e.max_seq <= self.covered_seq
            for e in lists
        )
        if not inside or any(a.last_row >= b.first_row for a, b in zip(lists, lists[1:])):
            raise Damaged(self.file, 0, "list segments overlap, or have rows that were not given")

    @property
    def origin(self):
        return self.tables["origins"][0]

    def files(self):
        return [entry for kind in ("row", "idt", "del", "mod", "lst") for entry in self.tables[kind]]


def second_copy(length):
    """Where the second copy of a manifest file of this length begins; None for a length that no manifest has."""
    at = -(-(-(-length // 2)) // ALIGN) * ALIGN
    rest = length - at
    return at if rest > 0 and -(-rest // ALIGN) * ALIGN == at else None


def read_manifest(data, generation):
    """The first copy that is whole, and the findings about the other and about the bytes between them."""
    findings, copies = [], []
    second = second_copy(len(data))
    for at in (0, second):
        try:
            if at is None:
                raise Damaged(name_of("man", generation), 0, "a length that no manifest has")
            copies.append(Manifest(data, generation, at))
        except Damaged as damage:
            findings.append(damage)
    if not copies:
        raise findings[0]
    if second is not None and len(copies) == 2:
        end = copies[0].copy_len
        same = data[: end - 4] == data[second : second + end - 4]
        if not same or -(-end // ALIGN) * ALIGN != second or any(data[end:second]):
            findings.append(Damaged(name_of("man", generation), end, "the copies differ, or padding is not zero"))
    return copies[0], findings


# ---- Immutable files -------------------------------------------------------------------------------------------------

MAGIC, FOOTER_MAGIC = b"STVSEG\r\n", b"STVF"
HEADER_BYTES, FOOTER_BYTES, ENTRY_BYTES = 64, 160, 64
KINDS = {"row": 1, "idt": 2, "del": 3, "lst": 4, "mod": 5}
RECORD, UNITS, OFFSETS, WHOLE, BLOCKS, PIECES = 1, 2, 3, 4, 5, 6
SECTIONS = {
    "row": {
        0x0101: "pages", 0x0102: "page-bitmaps", 0x0103: "vectors", 0x0104: "seqs", 0x0105: "u64-ids", 0x0106: "id-offsets",
        0x0107: "id-bytes", 0x0108: "attribute-offsets", 0x0109: "attribute-bytes", 0x010A: "payload-offsets",
        0x010B: "payload-blocks", 0x010C: "payload-table",
    },
    "idt": {0x0201: "pages", 0x0202: "fences", 0x0203: "filter", 0x0204: "entries"},
    "del": {0x0301: "pages", 0x0302: "arrays", 0x0303: "bitmaps"},
    "lst": {
        0x0401: "list-pages", 0x0402: "list-headers", 0x0403: "list-scan", 0x0404: "list-records", 0x0406: "list-checks",
    },
    "mod": {0x0501: "frame", 0x0502: "centroids", 0x0503: "centroid-codes", 0x0504: "codebooks"},
}  # fmt: skip


class Section:
    def __init__(self, source):
        self.kind, self.flags, self.offset, self.length = source.fields("IIQQ")
        self.entries, self.width, self.scheme, self.crc = source.fields("QIII")
        if any(source.take(20)) or self.flags & ~3 or self.entries == 0 or (self.crc and self.scheme != WHOLE):
            raise source.bad("a directory entry holds what it must not")

    def per_unit(self):
        return 1020 if self.scheme == OFFSETS else UNIT_PAYLOAD // self.width

    def used(self, unit):
        """Payload bytes of one unit of a unit stream."""
        here = min(self.entries - unit * self.per_unit(), self.per_unit())
        return here * self.width + (8 if self.scheme == OFFSETS else 0)

    def units(self):
        return -(-self.entries // self.per_unit())

    def stated_length(self):
        if self.scheme in (RECORD, WHOLE, PIECES):
            return self.entries * self.width
        if self.scheme in (UNITS, OFFSETS) and 1 <= self.width <= UNIT_PAYLOAD:
            last = self.units() - 1
            return last * UNIT + -(-self.used(last) // 8) * 8 + 8
        return self.length


def alignment(length):
    return 64 if length < 4096 else 4096 if length < 1 << 20 else 65536


class File:
    """An immutable file: its frame proven, its sections readable."""

    def __init__(self, directory, entry, manifest):
        self.name, self.entry = entry.name, entry
        path = os.path.join(directory, entry.name)
        try:
            if os.path.islink(path) or not os.path.isfile(path):
                raise Damaged(self.name, 0, "is missing or no regular file")
            with open(path, "rb") as handle:
                self.data = handle.read()
        except OSError as error:
            raise Damaged(self.name, 0, str(error)) from error
        self.seed = file_seed(entry.id)
        if len(self.data) < HEADER_BYTES + FOOTER_BYTES:
            raise Damaged(self.name, 0, "too short")
        self._header(manifest)
        self._footer(manifest)
        self._directory()

    def bad(self, offset, what):
        return Damaged(self.name, offset, what)

    def _header(self, manifest):
        source = Bytes(self.data[:HEADER_BYTES], self.name)
        magic, version, kind, _, _, incompatible = source.fields("8sHHIII")
        file_id, collection = source.number(16), source.number(16)
        reserved, crc = source.fields("II")
        if magic != MAGIC or crc != unit_crc(self.seed, 0, self.data[:60]):
            raise self.bad(0, "header: magic or checksum")
        if version != 0 or incompatible != 0:
            raise Unsupported(f"{self.name}: version {version}, features {incompatible:#x}")
        if (kind, file_id, collection, reserved) != (KINDS[self.entry.kind], self.entry.id, manifest.collection, 0):
            raise self.bad(0, "header: another file")

    def _footer(self, manifest):
        end = len(self.data)
        source = Bytes(self.data[end - FOOTER_BYTES :], self.name, end - FOOTER_BYTES)
        self.len, self.directory, self.count, reserved = source.fields("QQII")
        self.rows, self.first_row, self.last_row, self.min_seq, self.max_seq = source.fields("QQQQQ")
        origin = source.number(16)
        self.parameters = list(source.fields("QQQQ"))
        frame, reserved_b, magic, self.root = source.fields("32s8s4sI")
        if magic != FOOTER_MAGIC or self.len != end or self.count > 256:
            raise source.bad("footer: magic, length or count")
        if self.directory < HEADER_BYTES or self.directory + self.count * ENTRY_BYTES + FOOTER_BYTES != end:
            raise source.bad("the directory does not end where the footer starts")
        root = zlib.crc32(self.data[:HEADER_BYTES], unit_seed(self.seed, self.directory))
        root = zlib.crc32(self.data[self.directory : end - FOOTER_BYTES], root)
        if zlib.crc32(self.data[end - FOOTER_BYTES : end - 4], root) != self.root:
            raise source.bad("root checksum")
        if reserved or any(reserved_b) or origin != manifest.origin:
            raise source.bad("footer: reserved bytes or origin")
        self.frame = frame
        if any(frame) and self.entry.kind not in ("lst", "mod"):
            raise Unsupported(f"{self.name}: depends on a frame")
        stated = (self.entry.min_seq, self.entry.max_seq)
        if self.entry.kind in ("row", "idt") and stated[0] == stated[1] and (self.min_seq, self.max_seq) == (0, 0):
            self.min_seq, self.max_seq = stated
        for fact in FileEntry.FACTS:
            if getattr(self, fact) != getattr(self.entry, fact):
                raise source.bad(f"the manifest states another {fact}")

    def _directory(self):
        source = Bytes(self.data[self.directory : -FOOTER_BYTES], self.name, self.directory)
        self.sections, end, self.gaps = {}, HEADER_BYTES, []
        for _ in range(self.count):
            section = Section(source)
            behind = section.offset + section.length
            if section.offset < end or behind > self.directory or section.offset % alignment(section.length):
                raise source.bad("a section overlaps, leaves the file or is not aligned")
            name = SECTIONS[self.entry.kind].get(section.kind)
            if name is None and section.flags & 1:
                raise Unsupported(f"{self.name}: section {section.kind:#x}")
            if section.width == 0 or section.stated_length() != section.length or name in self.sections:
                raise source.bad("a section's length does not follow from its entries, or it is there twice")
            if name is not None:
                self.sections[name] = section
            self.gaps.append((end, section.offset))
            end = behind
        self.gaps.append((end, self.directory))

    def raw(self, section):
        return self.data[section.offset : section.offset + section.length]

    def section(self, name, scheme, width, entries=None):
        section = self.sections.get(name)
        if section is None:
            raise self.bad(self.directory, f"no section {name}")
        if (section.scheme, section.width) != (scheme, width) or entries not in (None, section.entries):
            raise self.bad(section.offset, f"section {name} has another shape")
        return section

    def unit(self, section, unit):
        """The proven payload of one unit."""
        at, used = section.offset + unit * UNIT, section.used(unit)
        padded = -(-used // 8) * 8 if unit == section.units() - 1 else UNIT_PAYLOAD
        body = self.data[at : at + padded + 4]
        (crc,) = struct.unpack_from("<I", self.data, at + padded + 4)
        if unit_crc(self.seed, at, body) != crc:
            raise self.bad(at, "checksum of a unit")
        if int.from_bytes(body[padded:], "little") != used or any(body[used:padded]):
            raise self.bad(at, "used bytes or padding of a unit")
        return body[:used]

    def stream(self, name, width, entries=None):
        """All payload bytes of a unit stream."""
        section = self.section(name, UNITS, width, entries)
        return b"".join(self.unit(section, unit) for unit in range(section.units()))

    def ends(self, name, entries):
        """An offset column as (start, end) pairs."""
        section, pairs = self.section(name, OFFSETS, 4, entries), []
        for unit in range(section.units()):
            payload = self.unit(section, unit)
            base = int.from_bytes(payload[:8], "little")
            ends = [base + end for end in struct.unpack(f"<{len(payload) // 4 - 2}I", payload[8:])]
            pairs += zip([base] + ends, ends)
        if any(a > b for a, b in pairs) or any(a[1] != b[0] for a, b in zip(pairs, pairs[1:])) or pairs[0][0]:
            raise self.bad(section.offset, "offsets do not follow each other")
        return pairs

    def whole(self, name, width, entries=None):
        """The bytes of a section under one checksum."""
        section = self.section(name, WHOLE, width, entries)
        if unit_crc(self.seed, section.offset, self.raw(section)) != section.crc:
            raise self.bad(section.offset, f"checksum of section {name}")
        return self.raw(section)

    def blobs(self, offsets, stream, cap):
        """A column of byte strings; None if the file has neither section."""
        if offsets not in self.sections and stream not in self.sections:
            return None
        pairs, data = self.ends(offsets, self.rows), self.stream(stream, 1)
        if pairs[-1][1] != len(data) or any(end - start > cap for start, end in pairs):
            raise self.bad(self.sections[offsets].offset, "strings do not cover their stream, or are too long")
        return [data[start:end] for start, end in pairs]

    def check_gaps(self):
        for start, end in self.gaps:
            if any(self.data[start:end]):
                raise self.bad(start, "bytes between sections are not zero")


def unpack_lz4(data, size, bad):
    """One LZ4 block, no frame."""
    out, at = bytearray(), 0

    def length(nibble):
        nonlocal at
        total = nibble
        while nibble == 15:
            more = data[at]
            at += 1
            total += more
            if more != 255:
                break
        return total

    try:
        while True:
            token = data[at]
            at += 1
            literals = length(token >> 4)
            if at + literals > len(data):
                raise bad("literals end behind the block")
            out += data[at : at + literals]
            at += literals
            if at == len(data):
                break
            back = data[at] | data[at + 1] << 8
            at += 2
            count = length(token & 15) + 4
            if back == 0 or back > len(out) or len(out) + count > size:
                raise bad("a match leaves the block")
            for _ in range(count):
                out.append(out[-back])
    except IndexError:
        raise bad("the block is cut") from None
    if len(out) != size:
        raise bad("the block unpacks to another size")
    return bytes(out)


class RowFile(File):
    """Rows: (row number, id, seq, vector bytes, norm, attributes, payload), ascending."""

    def __init__(self, directory, entry, manifest):
        super().__init__(directory, entry, manifest)
        wanted, self.bare = list(manifest.parameters), entry.bare
        if entry.narrow:
            if entry.bare or entry.narrow not in NARROWER.get(wanted[1], ()):
                raise self.bad(self.len - FOOTER_BYTES, "vectors that the collection has not")
            wanted[1] = entry.narrow
        elif wanted[1] == NONE and not entry.bare:
            wanted[1] = I8
        if self.parameters != wanted or self.rows == 0:
            raise self.bad(self.len - FOOTER_BYTES, "another schema")
        if self.bare and "vectors" in self.sections or (not self.bare and "u64-ids" in self.sections):
            raise self.bad(self.len - FOOTER_BYTES, "vectors, or ids beside them, that should not be there")
        self.element = ELEMENTS[wanted[1]]
        self.vector_bytes = stored_vector_bytes(manifest.dim, self.element)
        self.padded = -(-self.vector_bytes // 8) * 8
        self.manifest = manifest

    def row_numbers(self):
        pages, numbers, page_before, bitmap = self.whole("pages", 24), [], -1, 0
        if any(entry[4] != MASK32 for entry in struct.iter_unpack("<QIHHII", pages)):
            bitmaps = self.stream("page-bitmaps", 528)
        for page, ordinal, count, first, place, reserved in struct.iter_unpack("<QIHHII", pages):
            if page <= page_before or ordinal != len(numbers) or not 1 <= count <= PAGE_ROWS or reserved:
                raise self.bad(self.sections["pages"].offset, "pages do not follow each other")
            page_before, base = page, page * PAGE_ROWS
            if place == MASK32:
                if first + count > PAGE_ROWS:
                    raise self.bad(self.sections["pages"].offset, "a run leaves its page")
                numbers += range(base + first, base + first + count)
                continue
            at = bitmap * 528
            words = struct.unpack_from("<64Q", bitmaps, at + 16)
            places = [i * 64 + bit for i, word in enumerate(words) for bit in range(64) if word >> bit & 1]
            ranks = [sum(word.bit_count() for word in words[: i * 8]) for i in range(8)]
            if place != bitmap or first or len(places) != count or ranks != list(struct.unpack_from("<8H", bitmaps, at)):
                raise self.bad(self.sections["page-bitmaps"].offset, "a bitmap differs from its page")
            if places[-1] - places[0] + 1 == count:
                raise self.bad(self.sections["pages"].offset, "a page that is a run has a bitmap")
            bitmap += 1
            numbers += [base + place for place in places]
        if len(numbers) != self.rows or (numbers[0], numbers[-1]) != (self.first_row, self.last_row):
            raise self.bad(self.sections["pages"].offset, "the pages have other rows than the footer")
        return numbers

    def records(self):
        """(vector bytes, id, norm) per row, each proven; of a file without vectors no bytes."""
        if self.bare:
            numbers = [0] * self.rows
            if self.manifest.ids == "u64":
                numbers = struct.unpack(f"<{self.rows}Q", self.stream("u64-ids", 8, self.rows))
            if any(number == MASK64 for number in numbers):
                raise self.bad(self.sections["u64-ids"].offset, "an id that cannot be")
            yield from ((b"", number, 0.0) for number in numbers)
            return
        stride = self.padded + 16
        section = self.section("vectors", RECORD, stride, self.rows)
        for i in range(self.rows):
            at = section.offset + i * stride
            record = self.data[at : at + stride]
            number, norm, crc = struct.unpack_from("<QfI", record, self.padded)
            if unit_crc(self.seed, at, record[:-4]) != crc:
                raise self.bad(at, "checksum of a vector record")
            cosine = self.manifest.metric == "cosine"
            norm_fits = (math.isfinite(norm) and norm > 0) if cosine else record[-8:-4] == bytes(4)
            id_fits = number != MASK64 if self.manifest.ids == "u64" else number == 0
            if not norm_fits or not id_fits or any(record[self.vector_bytes : self.padded]):
                raise self.bad(at, "norm, id or padding of a vector record")
            yield record[: self.vector_bytes], number, norm

    def seqs(self):
        if self.min_seq == self.max_seq:
            return [self.min_seq] * self.rows
        seqs = struct.unpack(f"<{self.rows}Q", self.stream("seqs", 8, self.rows))
        if (min(seqs), max(seqs)) != (self.min_seq, self.max_seq):
            raise self.bad(self.sections["seqs"].offset, "sequence numbers outside what the footer states")
        return seqs

    def payloads(self):
        if "payload-offsets" not in self.sections:
            return [b""] * self.rows
        pairs, table = self.ends("payload-offsets", self.rows), self.stream("payload-table", 16)
        section = self.section("payload-blocks", BLOCKS, 1, len(table) // 16)
        raw, at, ends = b"", 0, []
        for raw_start, stored_start in struct.iter_unpack("<QQ", table):
            if (raw_start, stored_start) != (len(raw), at):
                raise self.bad(section.offset, "payload blocks do not follow each other")
            raw += self._block(section.offset + at, section.offset + section.length)
            stored = int.from_bytes(self.data[section.offset + at + 4 : section.offset + at + 8], "little")
            at += 16 + -(-stored // 8) * 8
            ends.append(len(raw))
        if at != section.length or pairs[-1][1] != len(raw):
            raise self.bad(section.offset, "payload blocks leave bytes over")
        if any(start < end_of_block < end for start, end in pairs for end_of_block in ends):
            raise self.bad(section.offset, "a payload straddles two blocks")
        return [raw[start:end] for start, end in pairs]

    def _block(self, at, limit):
        raw_len, stored_len, codec, crc = struct.unpack_from("<IIII", self.data, at)
        padded = -(-stored_len // 8) * 8
        if at + 16 + padded > limit or not 0 < raw_len <= 65536:
            raise self.bad(at, "a payload block leaves its section")
        body = self.data[at + 16 : at + 16 + padded]
        if zlib.crc32(body, unit_crc(self.seed, at, self.data[at : at + 12])) != crc or any(body[stored_len:]):
            raise self.bad(at, "checksum or padding of a payload block")
        if codec == 0 and raw_len == stored_len:
            return body[:stored_len]
        if codec != 1 or not stored_len < raw_len <= 64 * stored_len:
            raise self.bad(at, "codec or lengths of a payload block")
        return unpack_lz4(body[:stored_len], raw_len, lambda what: self.bad(at, what))

    def read(self):
        """All rows."""
        numbers, seqs, payloads = self.row_numbers(), self.seqs(), self.payloads()
        ids = self.blobs("id-offsets", "id-bytes", 512)
        attributes = self.blobs("attribute-offsets", "attribute-bytes", 65536) or [b""] * self.rows
        if (ids is None) != (self.manifest.ids == "u64") or (ids and not all(ids)):
            raise self.bad(self.directory, "ids of the other kind, or empty ones")
        for i, (vector, number, norm) in enumerate(self.records()):
            id = ids[i] if ids else number
            yield numbers[i], Row(id, seqs[i], vector, self.element, norm, attributes[i], payloads[i], self.name)


class Row:
    __slots__ = ("id", "seq", "vector", "element", "norm", "attributes", "payload", "file")

    def __init__(self, id, seq, vector, element, norm, attributes, payload, file):
        self.id, self.seq, self.vector, self.element, self.norm = id, seq, vector, element, norm
        self.attributes, self.payload, self.file = attributes, payload, file


def decode_attributes(data, file):
    """{name: (type, value)}."""
    if not data:
        return {}
    source = Bytes(data, file)

    def text():
        try:
            return source.take(varint(source)).decode("utf-8")
        except UnicodeDecodeError:
            raise source.bad("a text is not UTF-8") from None

    found, last = {}, b""
    count = varint(source)
    for _ in range(count):
        name = text()
        spelled = name.encode()
        if not 1 <= len(spelled) <= 255 or spelled <= last:
            raise source.bad("names of attributes are empty, too long or do not ascend")
        last, tag = spelled, source.number(1)
        if tag in (3, 4, 7):
            (value,) = source.fields("d" if tag == 4 else "q")
            found[name] = ({3: "i64", 4: "f64", 7: "timestamp"}[tag], value)
        elif tag in (0, 1, 2):
            found[name] = ("null", None) if tag == 0 else ("bool", tag == 2)
        elif tag == 5:
            found[name] = ("string", text())
        elif tag == 6:
            found[name] = ("strings", [text() for _ in range(varint(source))])
        else:
            raise source.bad("an attribute of an unknown type")
        if tag == 4 and math.isnan(value):
            raise source.bad("an attribute is NaN")
    if count == 0 or source.left():
        raise source.bad("no attributes, or bytes behind the last")
    return found


class Tombstones(File):
    def read(self):
        """Dead rows, ascending."""
        pages = list(struct.iter_unpack("<QII", self.whole("pages", 16)))
        positions = sum(count for _, count, _ in pages if count < 256)
        maps = sum(1 for _, count, _ in pages if count >= 256)
        arrays = self.stream("arrays", 2, positions) if positions else b""
        bitmaps = self.stream("bitmaps", 512, maps) if maps else b""
        dead, used, used_maps = [], 0, 0
        for page, count, place in pages:
            if count < 256:
                if place != used:
                    raise self.bad(self.sections["pages"].offset, "arrays do not follow each other")
                here, used = struct.unpack_from(f"<{count}H", arrays, 2 * place), used + count
            else:
                if place != used_maps:
                    raise self.bad(self.sections["pages"].offset, "bitmaps do not follow each other")
                bits = int.from_bytes(bitmaps[512 * place : 512 * place + 512], "little")
                here, used_maps = [i for i in range(PAGE_ROWS) if bits >> i & 1], used_maps + 1
            if len(here) != count or any(p >= PAGE_ROWS for p in here):
                raise self.bad(self.sections["pages"].offset, "a page counts other dead rows than it has")
            dead += [page * PAGE_ROWS + p for p in here]
        if any(a >= b for a, b in zip(dead, dead[1:])) or len(dead) != self.rows or not dead:
            raise self.bad(self.len - FOOTER_BYTES, "dead rows do not ascend, or are not as many as stated")
        if (dead[0], dead[-1]) != (self.first_row, self.last_row):
            raise self.bad(self.len - FOOTER_BYTES, "the footer states other rows")
        return dead


class IdTable(File):
    def read(self):
        """(key, row), ascending, with filter and fences checked."""
        pages = []
        for page, origin, reserved in struct.iter_unpack("<QII", self.whole("pages", 16)):
            if origin or reserved or (pages and page <= pages[-1]):
                raise self.bad(self.sections["pages"].offset, "pages do not ascend")
            pages.append(page)
        section = self.section("entries", UNITS, 12, self.rows)
        fences, entries = [], []
        for unit in range(section.units()):
            here = list(struct.iter_unpack("<QI", self.unit(section, unit)))
            fences.append(here[0][0])
            for key, word in here:
                if word >> 12 >= len(pages):
                    raise self.bad(section.offset + unit * UNIT, "an entry names a page that is not there")
                entries.append((key, pages[word >> 12] * PAGE_ROWS + (word & 4095)))
        if any(a >= b for a, b in zip(entries, entries[1:])):
            raise self.bad(section.offset, "entries do not ascend")
        if struct.pack(f"<{len(fences)}Q", *fences) != self.whole("fences", 8, len(fences)):
            raise self.bad(self.sections["fences"].offset, "fences are not the first keys")
        blocks = max(-(-self.rows * 10 // 512), 1)
        if self._filter(entries, blocks) != self.stream("filter", 64, blocks):
            raise self.bad(self.sections["filter"].offset, "the filter is not that of the keys")
        return entries

    @staticmethod
    def _filter(entries, blocks):
        """The filter that these keys make: seven bits of mix64(key) in the block that the key's high bits choose."""
        words = [0] * blocks
        for key, _ in entries:
            mixed = mix64(key)
            for probe in range(7):
                words[key * blocks >> 64] |= 1 << (mixed >> 9 * probe & 511)
        return b"".join(word.to_bytes(64, "little") for word in words)

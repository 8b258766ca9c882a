"""Models and list segments as `lists.md` lays them down, for reader.py: standard library only, nothing of the engine."""

import hashlib
import math
import struct
import sys

sys.dont_write_bytecode = True
from stored import FOOTER_BYTES, METRICS, PAGE_ROWS, PIECES, Damaged, File, Unsupported, unit_crc  # noqa: E402

LINE, CHUNK, LANES = 64, 65536, 32
NO_ROW = 0xFFFFFFFF
MODEL_SECTIONS = ("frame", "centroids", "centroid-codes")


def up(number, step):
    return -(-number // step) * step


class Model(File):
    """Frame and centroids: everything is proven at once, the hash included."""

    def __init__(self, directory, entry, manifest):
        super().__init__(directory, entry, manifest)
        self.lists, self.padded = self.rows, up(manifest.dim, 64)
        metric = next(code for code, name in METRICS.items() if name == manifest.metric)
        self.book = manifest.parts | manifest.bits << 24 if manifest.codes == 2 else 0
        if self.parameters != [self.lists, self.padded, metric, self.book] or self.lists == 0:
            raise self.bad(self.len - FOOTER_BYTES, "another dimension or metric than the collection's, or no lists")
        if (self.first_row, self.last_row, self.min_seq, self.max_seq) != (0, 0, 0, 0):
            raise self.bad(self.len - FOOTER_BYTES, "a model has no rows")
        stride, blocks = up(self.padded + 8, LINE), -(-self.lists // LANES)
        frame = self.whole("frame", 4)
        centroids = self.whole("centroids", stride, self.lists)
        codes = self.whole("centroid-codes", 4 * self.padded + 128, blocks)
        dim, padded, _, rounds, code, scale, reserved = struct.unpack_from("<IIQIIf36s", frame)
        mean = struct.unpack(f"<{manifest.dim}f", frame[64:]) if len(frame) == 64 + 4 * manifest.dim else (math.nan,)
        if (dim, padded, rounds, code) != (manifest.dim, self.padded, 4, metric) or any(reserved):
            raise self.bad(self.sections["frame"].offset, "the frame contradicts the collection")
        if scale <= 0 or math.frexp(scale)[0] != 0.5 or not all(map(math.isfinite, mean)):
            raise self.bad(self.sections["frame"].offset, "the scale is no power of two, or the mean is not finite")
        for start in range(0, len(centroids), stride):
            norm, step = struct.unpack_from("<ff", centroids, start + self.padded)
            if not (math.isfinite(norm) and math.isfinite(step) and norm >= 0 and step >= 0):
                raise self.bad(self.sections["centroids"].offset + start, "a centroid is not finite")
            if any(centroids[start + self.padded + 8 : start + stride]):
                raise self.bad(self.sections["centroids"].offset + start, "padding is not zero")
        sha = hashlib.sha256()
        books = self._codebooks(manifest)
        self.coding = (frame, *books)
        for part in (frame, centroids, codes, *books):
            sha.update(len(part).to_bytes(8, "little") + part)
        if sha.digest() != self.frame or self.frame != entry.hash:
            raise self.bad(self.len - FOOTER_BYTES, "the content does not have the hash that is stated")


    def _codebooks(self, manifest):
        """The section of codewords, if the schema asks for any."""
        if self.book == 0:
            if "codebooks" in self.sections:
                raise self.bad(self.sections["codebooks"].offset, "codewords that nobody asked for")
            return []
        book = self.whole("codebooks", 4, 16 + (self.padded << manifest.bits))
        parts, size, reserved = struct.unpack_from("<II56s", book)
        words = struct.unpack_from(f"<{self.padded << manifest.bits}f", book, 64)
        if (parts, size) != (manifest.parts, 1 << manifest.bits) or any(reserved) or not all(map(math.isfinite, words)):
            raise self.bad(self.sections["codebooks"].offset, "other codewords than the schema's, or not finite")
        return [book]


def block_bytes(padded, kind, value):
    """Bytes of codes and of factors, for 32 entries, and between the starts of two records; None if there is no such layout."""
    if kind == 1:
        bits, rounded = value & ~256, value & 256 != 0
        record = 0 if bits == 1 else padded // 8 * (bits - 1) + 8
        if 1 <= bits <= 8 and (not rounded or record % LINE == LINE - 8):
            return 4 * padded, 128, record + 8 * rounded
        return None
    if kind == 3 and value < 1 << 32:
        parts, bits = value & 0xFFFFFF, value >> 24
        if parts and padded % parts == 0 and 4 <= bits <= 10:
            codes = up(4 * parts, 64) * 4 if bits == 4 else up(parts * LANES * (1 if bits <= 8 else 2), LINE)
            return codes, 128, 0
    return (0, 0, 0) if (kind, value) == (4, 0) else None


class Lists(File):
    """One list segment of codes or of row words alone."""

    def __init__(self, directory, entry, manifest, models):
        super().__init__(directory, entry, manifest)
        model = next((model for model in models if model.frame == self.frame == entry.hash), None)
        lists, padded, kind, value = self.parameters
        if model is None or (lists, padded) != (model.lists, model.padded):
            raise self.bad(self.len - FOOTER_BYTES, "another model than the one that is named")
        if kind == 2:
            raise Unsupported(f"{self.name}: whole vectors in lists")
        layout = block_bytes(padded, kind, value)
        if layout is None or self.rows == 0:
            raise self.bad(self.len - FOOTER_BYTES, "no layout of ours, or no rows")
        if kind != {2: 3, 3: 4}.get(manifest.codes, 1) or (kind == 3 and value != model.book):
            raise self.bad(self.len - FOOTER_BYTES, "other codes than the schema asks for")
        self.lists, self.padded = lists, padded
        codes, factors, self.stride = layout
        self.zeros = 8 if kind == 1 and value & 256 else 0
        self.block = codes + factors

    def read(self):
        """(row, list, whether it is the first copy) of every entry, in the order of the file."""
        pages = [page for page, _, _ in struct.iter_unpack("<QII", self.whole("list-pages", 16))]
        if any(a >= b for a, b in zip(pages, pages[1:])):
            raise self.bad(self.sections["list-pages"].offset, "pages do not ascend")
        headers = list(struct.iter_unpack("<QQIIII", self.whole("list-headers", 32, self.lists)))
        checks = struct.unpack(f"<{len(self.whole('list-checks', 4)) // 4}I", self.whole("list-checks", 4))
        scan_at, record_at, used, entries = 0, 0, 0, []
        scan, records = self.section("list-scan", PIECES, LINE), self.sections.get("list-records")
        for number, (scan_offset, record_offset, primary, total, first_check, reserved) in enumerate(headers):
            if (scan_offset, record_offset, first_check, reserved) != (scan_at, record_at, used, 0) or primary > total:
                raise self.bad(self.sections["list-headers"].offset, f"list {number} does not follow the one before")
            blocks = -(-total // LANES)
            words = blocks * self.block
            length, of_records = words + blocks * 128, up(total * self.stride, LINE)
            chunks = [(scan, scan_at + at, min(CHUNK, length - at)) for at in range(0, length, CHUNK)]
            if total * self.stride:
                if records is None:
                    raise self.bad(self.directory, "no records")
                step = max(CHUNK // self.stride, 1) * self.stride
                count = 1 if total * self.stride <= CHUNK else -(-total // (step // self.stride))
                ends = [step * (i + 1) for i in range(count - 1)] + [of_records]
                chunks += [(records, record_at + start, end - start) for start, end in zip([0] + ends, ends)]
            for section, start, size in chunks:
                at = section.offset + start
                if used >= len(checks) or unit_crc(self.seed, at, self.data[at : at + size]) != checks[used]:
                    raise self.bad(at, f"checksum of list {number}")
                used += 1
            if records is not None and total * self.stride:
                start = records.offset + record_at
                piece = self.data[start : start + of_records]
                starts = range(self.stride - self.zeros, total * self.stride, self.stride)
                if any(any(piece[end : end + self.zeros]) for end in starts) or any(piece[total * self.stride :]):
                    raise self.bad(start, f"records of list {number} are not followed by zeros")
            start = scan.offset + scan_at + words
            lanes = struct.unpack(f"<{blocks * LANES}I", self.data[start : start + blocks * 128])
            if any(word != NO_ROW for word in lanes[total:]):
                raise self.bad(start, "a lane without an entry has a row")
            for lane, word in enumerate(lanes[:total]):
                if word >> 12 >= len(pages):
                    raise self.bad(start, "an entry names a page that is not there")
                entries.append((pages[word >> 12] * PAGE_ROWS + (word & 4095), number, lane < primary))
            scan_at, record_at = scan_at + length, record_at + of_records
        stated = (scan.length, records.length if records else 0, len(checks))
        if stated != (scan_at, record_at, used):
            raise self.bad(scan.offset, "pieces do not cover their sections")
        self._check(entries, pages)
        return entries

    def _check(self, entries, pages):
        first = {row: number for row, number, primary in entries if primary}
        second = [(row, number) for row, number, primary in entries if not primary]
        once = len(first) == self.rows == len(entries) - len(second) and len({row for row, _ in second}) == len(second)
        if not once or any(first.get(row, number) == number for row, number in second):
            raise Damaged(self.name, 0, "a row has other copies than one first and at most one second in another list")
        if (min(first), max(first)) != (self.first_row, self.last_row) or {row // PAGE_ROWS for row in first} != set(pages):
            raise Damaged(self.name, 0, "the footer states other rows, or a page is not used")


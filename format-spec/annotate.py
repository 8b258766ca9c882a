#!/usr/bin/env python3
"""Prints the files of a small collection byte by byte, each field with its name and value.

    annotate.py DIR [FILE ..]

The names come from the tables of fields in the pages beside this file. `worked-example.md` was made with it.
"""

import os
import re
import sys

sys.dont_write_bytecode = True
import stored  # noqa: E402
from reader import BATCH, LOG_HEADER, ROLL, Collection, Log  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
WIDE = 16


def tables():
    """Structure to its fields: (offset, size, name)."""
    found, current = {}, None
    for page in sorted(os.listdir(HERE)):
        if not page.endswith(".md"):
            continue
        with open(os.path.join(HERE, page), encoding="utf-8") as text:
            for line in text:
                heading = re.match(r"### `(\w+)` \d+ bytes", line)
                if heading or line.startswith("#"):
                    current = found.setdefault(heading[1], []) if heading else None
                cells = re.match(r"\| (\d+) \| (\d+) \| (\w+) \|", line)
                if cells and current is not None:
                    current.append((int(cells[1]), int(cells[2]), cells[3]))
    return found


class Printer:
    def __init__(self, data, fields):
        self.data, self.fields, self.at = data, fields, 0

    def show(self, size, text):
        """The next bytes with a remark; zeros are not spelled out."""
        piece, start = self.data[self.at : self.at + size], self.at
        self.at += size
        if size > WIDE and not any(piece):
            print(f"{start:04x}  {f'00 .. {size} times':<48} {text}".rstrip())
            return
        for i in range(0, size, WIDE):
            part = piece[i : i + WIDE].hex(" ")
            print(f"{start + i:04x}  {part:<48} {text if i == 0 else ''}".rstrip())

    def zeros_to(self, end, text):
        if end > self.at:
            self.show(end - self.at, text)

    def structure(self, name, remarks=None):
        start = self.at
        for offset, size, field in self.fields[name]:
            self.at = start + offset
            piece = self.data[self.at : self.at + size]
            value = str(int.from_bytes(piece, "little")) if size <= 8 and any(piece) and "crc" not in field else ""
            if field in ("magic", "root") or size > 8:
                value = ""
            self.show(size, " ".join(filter(None, [f"{name}.{field}", value, (remarks or {}).get(field)])))


def manifest(printer, file):
    first, _ = stored.read_manifest(printer.data, stored.parse_name(file)[1])
    printer.structure("ManifestHead")
    while printer.at < first.copy_len - stored.TAIL_BYTES:
        kind = printer.data[printer.at]
        count = int.from_bytes(printer.data[printer.at + 8 : printer.at + 16], "little")
        printer.structure("TableHead")
        for _ in range(count):
            if kind == 1:
                printer.show(16, "origin")
            else:
                printer.structure("FileEntryBytes")
    printer.structure("ManifestTail")
    second = stored.second_copy(len(printer.data))
    printer.zeros_to(second, "padding")
    print(f"{second:04x}  the same {first.copy_len - 4} bytes again, then")
    printer.at = len(printer.data) - 4
    printer.show(4, "ManifestTail.crc of the second copy")


def log(printer, collection, file):
    printer.structure("LogHeader")
    found = Log(collection.directory, stored.parse_name(file)[1])
    at = LOG_HEADER
    while (record := found.record(at)) is not None:
        printer.structure("RecordHeader")
        if record[3] == BATCH:
            batch(printer, collection.manifest, record[5])
        elif record[3] == ROLL:
            printer.show(16, "the log that follows")
        at = record[5]
    printer.zeros_to(len(printer.data), "a torn tail")


def batch(printer, schema, end):
    start = printer.at
    ops_end = start + 40 + int.from_bytes(printer.data[start + 8 : start + 12], "little")
    printer.structure("BatchHead")
    while printer.at < ops_end:
        head = stored.Bytes(printer.data[printer.at : printer.at + 16], "")
        kind, _, id_len, attributes, payload, _ = head.fields("BBHIIf")
        start = printer.at
        printer.structure("OpHead")
        printer.show(id_len, "id")
        if kind == 1:
            printer.show(stored.stored_vector_bytes(schema.dim, schema.rows), "vector")
            printer.show(attributes, "attributes")
            printer.show(payload, "payload")
        printer.zeros_to(printer.at + -(printer.at - start) % 8, "padding")
    while printer.at < end:
        printer.show(8, "a killed row")


ENTRIES = {"row pages": "PageEntry", "idt pages": "PageName", "del pages": "DeadPage", "idt entries": "KeyEntry"}


def immutable(printer, file):
    printer.structure("Header")
    for name, section in sorted(file.sections.items(), key=lambda item: item[1].offset):
        printer.zeros_to(section.offset, "gap")
        print(f"      section {name}")
        entry = ENTRIES.get(f"{file.entry.kind} {name}")
        if section.scheme in (stored.RECORD, stored.WHOLE):
            for _ in range(section.entries):
                if entry:
                    printer.structure(entry)
                elif section.scheme == stored.RECORD:
                    printer.show(section.width - 16, "vector")
                    printer.structure("RecordTrailer")
                else:
                    printer.show(section.width, "entry")
        elif section.scheme in (stored.UNITS, stored.OFFSETS):
            for unit in range(section.units()):
                used = section.used(unit)
                for _ in range(used // section.width if entry else 0):
                    printer.structure(entry)
                printer.zeros_to(section.offset + unit * stored.UNIT + used, "payload of a unit")
                last = unit == section.units() - 1
                printer.zeros_to(printer.at + (-used % 8 if last else stored.UNIT_PAYLOAD - used), "padding of a unit")
                printer.structure("UnitTrailer")
        else:
            printer.show(section.length, "blocks")
    printer.zeros_to(file.directory, "gap")
    for _ in range(file.count):
        printer.structure("SectionEntry")
    printer.structure("Footer")


def main(directory, wanted):
    collection, fields = Collection(directory), tables()
    immutables = {f.name: f for f in collection.row_files + collection.id_tables + collection.tombstones}
    for file in wanted or sorted(name for name, parsed in collection.names.items() if parsed and name != "LOCK"):
        with open(os.path.join(directory, file), "rb") as handle:
            printer = Printer(handle.read(), fields)
        print(f"\n{file}, {len(printer.data)} bytes\n")
        if file.startswith("man-"):
            manifest(printer, file)
        elif file.startswith("wal-"):
            log(printer, collection, file)
        elif file in immutables:
            immutable(printer, immutables[file])
        if printer.at != len(printer.data):
            raise SystemExit(f"{file}: shown up to {printer.at} of {len(printer.data)} bytes")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

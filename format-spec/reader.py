#!/usr/bin/env python3
"""An independent reader of Stratavec collections: standard library and numpy, nothing of the engine.

Holds to the pages beside this file and shares no code with the engine; where they and it disagree, one of them is wrong. It opens a directory without a lock and
without changing anything, so the collection should not be written to meanwhile.

    reader.py DIR                         what the collection is and holds
    reader.py DIR --dump                  every live row as a line of JSON, in row order
    reader.py DIR --search '[0.1, ..]'    the nearest rows (exact), with -k N
    reader.py DIR --verify                every byte and every rule; exit code 1 if anything is wrong

As a module: `Collection(path).rows()`, `.search(query, k)`, `.verify()`.
"""

import argparse
import json
import math
import os
import struct
import sys

import numpy as np

sys.dont_write_bytecode = True
from stored import (  # noqa: E402
    MASK64,
    Bytes,
    Damaged,
    IdTable,
    Row,
    RowFile,
    Tombstones,
    Unsupported,
    decode_attributes,
    file_seed,
    mix64,
    name_of,
    parse_name,
    read_manifest,
    siphash24,
    stored_vector_bytes,
    unit_crc,
)
from stored_lists import Lists, Model  # noqa: E402

MAX_RECORD = 64 << 20


# ---- The log ---------------------------------------------------------------------------------------------------------

LOG_MAGIC, LOG_HEADER, RECORD_HEADER = b"STVWAL\r\n", 128, 32
BATCH, SEAL, ROLL = 1, 2, 3


class Log:
    """One log: its bytes, and which records are whole."""

    def __init__(self, directory, file_id):
        self.id, self.name, self.seed = file_id, name_of("wal", file_id), file_seed(file_id)
        path = os.path.join(directory, self.name)
        if os.path.islink(path) or not os.path.isfile(path):
            raise Damaged(self.name, 0, "the log is missing or no regular file")
        with open(path, "rb") as handle:
            self.data = handle.read()

    def header(self, manifest):
        source = Bytes(self.data, self.name)
        magic, version, incompatible = source.fields("8sII")
        collection, file_id = source.number(16), source.number(16)
        epoch, self.first_seq, self.first_row = source.fields("QQQ")
        source.take(28)
        reserved, crc = source.fields("24sI")
        if magic != LOG_MAGIC or crc != unit_crc(self.seed, 0, self.data[:124]):
            raise Damaged(self.name, 0, "header: magic or checksum")
        if (collection, file_id) != (manifest.collection, self.id) or any(reserved):
            raise Damaged(self.name, 0, "header: another log")
        if version != 0 or incompatible != 0:
            raise Unsupported(f"{self.name}: version {version}")
        return crc

    def record(self, at):
        """(seq, synced_to, previous_crc, kind, payload, end, crc) of the whole record at an offset, else None."""
        if at + RECORD_HEADER > len(self.data):
            return None
        crc, size, seq, synced_to, previous, kind, reserved = struct.unpack_from("<IIQQIB3s", self.data, at)
        end = at + RECORD_HEADER + size
        sizes = {BATCH: 0 < size <= MAX_RECORD and size % 8 == 0, SEAL: size == 0, ROLL: size == 16}
        if end > len(self.data) or not sizes.get(kind) or any(reserved) or synced_to > at:
            return None
        if unit_crc(self.seed, at, self.data[at + 4 : end]) != crc:
            return None
        return seq, synced_to, previous, kind, self.data[at + RECORD_HEADER : end], end, crc

    def scan(self, at):
        """Whole records at any multiple of 8 from an offset on."""
        at = -(-at // 8) * 8
        while at + RECORD_HEADER <= len(self.data):
            record = self.record(at)
            if record is not None:
                yield at, record
            at = record[5] if record is not None else at + 8


def replay(directory, manifest, wal_ids):
    """[(log, [(seq, payload)], dropped bytes)] of the chain of logs."""
    chain, next_seq, wanted = [], manifest.covered_seq + 1, manifest.first_wal
    while wanted is not None:
        log = Log(directory, wanted)
        if any(log.id == other.id for other, _, _ in chain):
            raise Damaged(log.name, 0, "logs in a circle")
        last_crc = log.header(manifest)
        if log.first_seq != next_seq:
            raise Damaged(log.name, 0, f"begins with batch {log.first_seq}, not {next_seq}")
        at, batches, wanted = LOG_HEADER, [], None
        while wanted is None:
            record = log.record(at)
            if record is None or record[2] != last_crc or record[0] != next_seq:
                break
            _, _, _, kind, payload, at, last_crc = record
            if kind == BATCH:
                batches.append((next_seq, payload))
                next_seq += 1
            elif kind == ROLL:
                wanted = int.from_bytes(payload, "little")
        if any(r[1] > at and r[0] >= next_seq for _, r in (log.scan(at) if at < len(log.data) else ())):
            raise Damaged(log.name, at, "a record that was durable is damaged")
        chain.append((log, batches, len(log.data) - at))
    youngest = max(log.id >> 64 for log, _, _ in chain)
    for other in (id for id in wal_ids if id >> 64 > youngest):
        for _, record in Log(directory, other).scan(LOG_HEADER):
            if record[3] == BATCH and record[0] >= next_seq:
                raise Damaged(chain[-1][0].name, 0, "the logs end, but another log goes on")
    return chain


def decode_batch(payload, manifest, name, seq):
    """(first row, [Row], [killed rows]) of a batch; deletes need nothing done."""
    source = Bytes(payload, name)
    first_row, ops_len, op_count, put_count, kill_count, fragment = source.fields("QIIIIB")
    if fragment:
        raise Unsupported(f"{name}: a batch in fragments")
    if any(source.take(7)) or source.number(8):
        raise source.bad("reserved bytes of a batch")
    ops, rows, count = Bytes(source.take(ops_len), name), [], 0
    vector_bytes = stored_vector_bytes(manifest.dim, manifest.rows)
    while ops.left():
        start = ops.at
        kind, flags, id_len, attributes_len, payload_len, norm = ops.fields("BBHIIf")
        if kind not in (1, 2) or flags or max(attributes_len, payload_len) > 65536:
            raise ops.bad("an operation of an unknown kind, or too long")
        id = ops.take(id_len)
        if manifest.ids == "u64":
            if id_len != 8 or int.from_bytes(id, "little") == MASK64:
                raise ops.bad("an id that is no number")
            id = int.from_bytes(id, "little")
        elif not 1 <= id_len <= 512:
            raise ops.bad("the length of an id")
        if kind == 1:
            vector, attributes = ops.take(vector_bytes), ops.take(attributes_len)
            rows.append(Row(id, seq, vector, manifest.rows, norm, attributes, ops.take(payload_len), name))
        elif attributes_len or payload_len or norm:
            raise ops.bad("a delete that carries data")
        if any(ops.take(-(ops.at - start) % 8)):
            raise ops.bad("padding of an operation")
        count += 1
    kills = struct.unpack(f"<{kill_count}Q", source.take(8 * kill_count))
    if source.left() or (count, len(rows)) != (op_count, put_count):
        raise source.bad("a batch counts other things than it holds")
    return first_row, rows, kills


# ---- Collections -----------------------------------------------------------------------------------------------------


class Collection:
    """The content of a directory: manifest, files, logs. Everything is read and proven at once."""

    def __init__(self, directory):
        self.directory = directory
        self.names = {name: parse_name(name) for name in sorted(os.listdir(directory))}
        generations = [number for parsed in self.names.values() if parsed for kind, number in [parsed] if kind == "man"]
        if not generations:
            raise FileNotFoundError(f"no collection in {directory}")
        self.generations = sorted(generations)
        self.manifest, self.notes = read_manifest(self._manifest_bytes(self.generations[-1]), self.generations[-1])
        manifest = self.manifest
        self.row_files = [RowFile(directory, entry, manifest) for entry in manifest.tables["row"]]
        self.id_tables = [IdTable(directory, entry, manifest) for entry in manifest.tables["idt"]]
        self.tombstones = [Tombstones(directory, entry, manifest) for entry in manifest.tables["del"]]
        self.models = [Model(directory, entry, manifest) for entry in manifest.tables["mod"]]
        if manifest.rows == "none" and len({model.coding for model in self.models}) > 1:
            raise self.models[-1].bad(0, "codes of the model before it mean nothing to this one")
        self.lists = [Lists(directory, entry, manifest, self.models) for entry in manifest.tables["lst"]]
        wal_ids = {number for parsed in self.names.values() if parsed for kind, number in [parsed] if kind == "wal"}
        self.logs = replay(directory, manifest, wal_ids)
        self.all_rows, self.dead = {}, set()
        self._read()

    def _manifest_bytes(self, generation):
        with open(os.path.join(self.directory, name_of("man", generation)), "rb") as handle:
            return handle.read()

    def _read(self):
        for file in self.row_files:
            self.all_rows.update(file.read())
        for file in self.tombstones:
            self.dead.update(file.read())
        self.file_rows = {row for row in self.all_rows if row not in self.dead}
        next_row = self.manifest.next_row
        for log, batches, _ in self.logs:
            if log.first_row != next_row:
                raise Damaged(log.name, 56, f"begins at row {log.first_row}, not {next_row}")
            for seq, payload in batches:
                first_row, rows, kills = decode_batch(payload, self.manifest, log.name, seq)
                if first_row != next_row:
                    raise Damaged(log.name, 0, f"batch {seq} begins at row {first_row}, not {next_row}")
                alive = all(row < next_row and row in self.all_rows and row not in self.dead for row in kills)
                if not alive or len(set(kills)) != len(kills):
                    raise Damaged(log.name, 0, f"batch {seq} kills rows that are dead or were never written")
                self.dead.update(kills)
                self.all_rows.update((next_row + i, row) for i, row in enumerate(rows))
                next_row += len(rows)

    @property
    def last_seq(self):
        return self.manifest.covered_seq + sum(len(batches) for _, batches, _ in self.logs)

    def rows(self):
        """(row number, Row) of every live row, in row order."""
        return [(number, row) for number, row in sorted(self.all_rows.items()) if number not in self.dead]

    def vector(self, row):
        """The stored components as float32."""
        if row.element == "bf16":
            return (np.frombuffer(row.vector, "<u2").astype(np.uint32) << 16).view(np.float32)
        if not row.vector:
            return np.zeros(0, np.float32)
        if row.element in ("i8", "none"):
            step = np.frombuffer(row.vector[self.manifest.dim :], "<f4")
            return np.frombuffer(row.vector[: self.manifest.dim], "i1").astype(np.float32) * step
        return np.frombuffer(row.vector, {"f32": "<f4", "f16": "<f2", "u8": "u1"}[row.element]).astype(np.float32)

    def search(self, query, k):
        """The k nearest live rows as (distance, id), by distance, then id. Exact, in 64-bit floats."""
        if self.manifest.rows == "none":
            raise Unsupported("the collection keeps no vectors; its codes are not searched here")
        query, live = np.asarray(query, np.float64), [row for _, row in self.rows()]
        if query.shape != (self.manifest.dim,) or not live:
            return []
        vectors = np.stack([self.vector(row) for row in live]).astype(np.float64)
        if self.manifest.metric == "l2":
            distances = ((vectors - query) ** 2).sum(axis=1)
        elif self.manifest.metric == "ip":
            distances = -(vectors @ query)
        else:
            norms = np.array([row.norm for row in live], np.float64)
            distances = np.clip(1 - vectors @ query / (norms * np.linalg.norm(query)), 0, 2)
        ranked = sorted(zip(distances.tolist(), (row.id for row in live)), key=lambda hit: (hit[0], hit[1]))
        return ranked[:k]

    def key(self, id):
        return mix64(id) if self.manifest.ids == "u64" else siphash24(self.manifest.collection, id)

    def verify(self):
        """Everything that is wrong beyond what opening has proven, as texts."""
        findings = [str(note) for note in self.notes]
        for generation in self.generations[:-1]:
            try:
                findings += map(str, read_manifest(self._manifest_bytes(generation), generation)[1])
            except Damaged as damage:
                findings.append(str(damage))
        for file in self.row_files + self.id_tables + self.tombstones + self.models + self.lists:
            try:
                file.check_gaps()
            except Damaged as damage:
                findings.append(str(damage))
        findings += self._verify_ids() + self._verify_rows()
        return findings + self._verify_lists()

    def _verify_lists(self):
        """Every live row of a file that says so is the first copy in one place; no row of another file is in a list."""
        findings, filed = [], {}
        for file in self.lists:
            for row, _, primary in file.read():
                if primary and row in filed:
                    findings.append(f"{file.name}: row {row} is in {filed[row]} too")
                if primary:
                    filed[row] = file.name
        for file, entry in zip(self.row_files, self.manifest.tables["row"]):
            for row, _ in file.read():
                if entry.in_lists and row in self.file_rows and row not in filed:
                    findings.append(f"{file.name}: live row {row} is in no list")
                if not entry.in_lists and row in filed:
                    findings.append(f"{file.name}: row {row} is in a list, though the manifest says that none is")
        return findings

    def _verify_ids(self):
        """The newest entry of an id decides: it must lead to the live row, and every live row must be led to."""
        findings, newest = [], {}
        for table in self.id_tables:
            for key, row in table.read():
                if row not in self.all_rows:
                    findings.append(f"{table.name}: names row {row}, which no row file has")
                elif self.key(self.all_rows[row].id) != key:
                    findings.append(f"{table.name}: the key of row {row} is not that of its id")
                else:
                    id = self.all_rows[row].id
                    newest[id] = max(row, newest.get(id, -1))
        for row in sorted(self.file_rows):
            if newest.get(self.all_rows[row].id) != row:
                findings.append(f"{self.all_rows[row].file}: live row {row} is not found by its id")
        return findings

    def _verify_rows(self):
        findings, seen = [], {}
        for number, row in self.rows():
            if row.id in seen:
                findings.append(f"rows {seen[row.id]} and {number} are live under one id")
            seen[row.id] = number
            vector = self.vector(row)
            if not np.isfinite(vector).all():
                findings.append(f"{row.file}: row {number} has a component that is not finite")
            length = math.sqrt(float((vector.astype(np.float64) ** 2).sum()))
            if len(vector) and self.manifest.metric == "cosine" and not math.isclose(row.norm, length, rel_tol=1e-5):
                findings.append(f"{row.file}: the norm of row {number} is {row.norm}, its length {length}")
            try:
                decode_attributes(row.attributes, row.file)
            except Damaged as damage:
                findings.append(str(damage))
        unknown = [row for file in self.tombstones for row in file.read() if row >= self.manifest.next_row]
        return findings + [f"a tombstone names row {row}, which was never given" for row in unknown]


# ---- The command line ------------------------------------------------------------------------------------------------


def as_json(collection, number, row):
    id = row.id if collection.manifest.ids == "u64" else row.id.decode("utf-8", "backslashreplace")
    attributes = {name: {kind: value} for name, (kind, value) in decode_attributes(row.attributes, row.file).items()}
    return {
        "row": number, "id": id, "seq": row.seq, "vector": [] if collection.manifest.rows == "none" else collection.vector(row).tolist(),
        "attributes": attributes, "payload": row.payload.hex(),
    }  # fmt: skip


def info(collection):
    manifest = collection.manifest
    return {
        "generation": manifest.generation, "collection": f"{manifest.collection:032x}", "dim": manifest.dim,
        "metric": manifest.metric, "ids": manifest.ids, "rows": manifest.rows, "covered_seq": manifest.covered_seq,
        "last_seq": collection.last_seq, "live_rows": len(collection.rows()),
        "row_files": len(collection.row_files), "id_tables": len(collection.id_tables),
        "tombstone_files": len(collection.tombstones), "logs": len(collection.logs),
        "lists": collection.models[-1].lists if collection.models else 0, "models": len(collection.models), "list_segments": len(collection.lists),
        "dropped_bytes": sum(dropped for _, _, dropped in collection.logs),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory")
    parser.add_argument("--dump", action="store_true", help="every live row as a line of JSON")
    parser.add_argument("--search", metavar="JSON", help="a query vector, or a list of them")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--verify", action="store_true", help="check every byte and every rule")
    arguments = parser.parse_args()
    try:
        collection = Collection(arguments.directory)
        if arguments.verify:
            findings = collection.verify()
            print(json.dumps({"findings": findings, **info(collection)}))
            return 1 if findings else 0
        if arguments.dump:
            for number, row in collection.rows():
                print(json.dumps(as_json(collection, number, row)))
        elif arguments.search:
            queries = json.loads(arguments.search)
            for query in queries if queries and isinstance(queries[0], list) else [queries]:
                hits = collection.search(query, arguments.k)
                print(json.dumps([[d, id if isinstance(id, int) else id.decode("utf-8", "backslashreplace")] for d, id in hits]))
        else:
            print(json.dumps(info(collection), indent=2))
    except (Damaged, Unsupported) as problem:
        print(json.dumps({"findings": [f"{type(problem).__name__}: {problem}"]}))
        return 1
    except FileNotFoundError as problem:
        print(f"reader.py: {problem}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())

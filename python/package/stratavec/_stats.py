"""Figures of a collection: a dictionary that shows itself as a small table."""

from __future__ import annotations

from typing import Any

from . import _table

_STEPS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def _bytes(number: float) -> str:
    step = 0
    while number >= 1024 and step < len(_STEPS) - 1:
        number, step = number / 1024, step + 1
    return f"{number:.0f} {_STEPS[step]}" if step == 0 or number >= 100 else f"{number:.1f} {_STEPS[step]}"


def _part(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


class Stats(dict[str, Any]):
    """What ``stats()`` returns. Keys are attributes as well; ``str()`` is a table, and notebooks show one."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def table(self) -> list[tuple[str, str]]:
        """The rows of the table: a label and what stands beside it."""
        schema, memory = self["schema"], self["memory"]
        rows, disk = self["rows"], self["file_bytes"] + self["wal_bytes"]
        raw = 4 * schema["dim"] * rows
        share = f" ({_part(disk, raw)} of raw float32)" if raw else ""
        what = f"{rows:,} · {schema['dim']}-d {schema['metric']} {schema['rows']} · {_bytes(disk)} on disk{share}"
        table = [("vectors", what), ("delta", self._delta())]
        files = f"{self['row_files']} row files, {self['id_tables']} id tables, {self['list_segments']} list segments"
        dead = f"{self['dead_rows']:,} dead rows ({_part(self['dead_rows'], rows + self['dead_rows'])})"
        table.append(("files", f"{files} · {dead} · generation {self['generation']:,}"))
        table.append(("upkeep", self._upkeep()))
        table.append(("search", self._search()))
        limit = f" of {_bytes(memory['budget'])}" if memory["budget"] is not None else ""
        table.append(("memory", f"{_bytes(memory['used'])}{limit}, {_bytes(memory['peak'])} at most so far"))
        for name in ("flush_error", "compaction_error", "poisoned"):
            if self[name] is not None:
                table.append((name.replace("_", " "), str(self[name])))
        if self["scrub_findings"]:
            table.append(("damage", f"{len(self['scrub_findings'])} findings of scrubs: {self['scrub_findings'][0]}"))
        return table

    def _delta(self) -> str:
        log = _bytes(self["wal_bytes"])
        if self["flush_bytes"]:
            log += f" of {_bytes(self['flush_bytes'])}"
        synced = "" if self["durable_seq"] >= self["last_seq"] else f", synced up to {self['durable_seq']:,}"
        return f"{self['delta_rows']:,} rows in memory · log {log} · last batch {self['last_seq']:,}{synced}"

    def _upkeep(self) -> str:
        if self["compaction_debt"]:
            return f"{_bytes(self['compaction_debt'])} due to be merged"
        rows, files = self["dead_rows_to_compaction"], self["files_to_compaction"]
        first = "" if rows is None else f"{rows:,} more dead rows in one file or "
        return f"next merge after {first}{files:,} small files"

    def _search(self) -> str:
        kind = self["schema"]["index"]
        if self["lists"]:
            in_files = max(self["rows"] - self["delta_rows"], self["rows_in_lists"])
            return f"{kind}: {self['lists']:,} lists, {_part(self['rows_in_lists'], in_files)} of the rows in files are in them"
        return f"{kind}, exact: a query measures every vector"

    def __str__(self) -> str:
        return _table.as_text(str(self["path"]), self.table())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return _table.as_html(str(self["path"]), self.table())

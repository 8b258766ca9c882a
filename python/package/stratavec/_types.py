"""Names for what calls take."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypedDict, Union

from numpy.typing import NDArray

Id: TypeAlias = Union[str, bytes, int]
Ids: TypeAlias = Union[Iterable[Id], NDArray[Any]]
Path: TypeAlias = Union[str, "os.PathLike[str]"]
Value: TypeAlias = Union[None, bool, int, float, str, Sequence[str], datetime]  # Of sequences: lists and tuples.
Attributes: TypeAlias = Mapping[str, Value]
Payload: TypeAlias = Union[bytes, bytearray, memoryview]
Durability: TypeAlias = Literal["sync", "group", "os"]
IncludeName: TypeAlias = Literal["vector", "attributes", "payload"]
Include: TypeAlias = Union[IncludeName, Iterable[IncludeName]]
Progress: TypeAlias = Union[bool, Callable[[int, int], object], None]
Metric: TypeAlias = Literal["l2", "cosine", "ip"]
IdKind: TypeAlias = Literal["bytes", "u64"]
RowFormat: TypeAlias = Literal["f32", "f16", "bf16", "i8", "none"]
Access: TypeAlias = Literal["mmap", "pread"]
VectorSource: TypeAlias = Callable[[list[Any]], Union[NDArray[Any], Sequence[Any]]]
IndexKind: TypeAlias = Literal["flat", "ivf", "auto"]


class Options(TypedDict, total=False):
    """What ``create`` takes beside a path, a dimension and a metric; see :func:`stratavec.open`."""

    ids: IdKind | None
    rows: RowFormat | None
    index: IndexKind | None
    nlist: int | None
    bits: int | None
    codes: str | None
    spill: bool | None
    anchors: str | None
    seed: int | None
    durability: Durability | None
    memory_budget: int | None
    flush_bytes: int | None
    flush_rows: int | None
    compaction: Literal["auto", "manual"] | None
    dead_ratio: float | None
    fanout: int | None
    scrub_bytes_per_second: int | None
    delete_reserve: int | None
    background: bool | None
    access: Access | None
    on_recovery: Callable[[Any], object] | None

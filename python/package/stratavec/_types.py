"""Names for what calls take."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias, Union

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

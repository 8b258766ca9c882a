"""Stratavec: an embeddable vector index on disk, crash-safe, with exact or approximate search.

>>> import stratavec
>>> c = stratavec.open("data/idx", dim=384, metric="cosine")    # creates or opens
>>> c.upsert(["a", "b"], vectors)                               # durable when it returns
>>> hits = c.search(query, k=10)                                # hits[0].id, hits[0].distance

Vectors are arrays of float32, taken as they are if they lie in C order. float16, bfloat16 and integers of up to 16 bits are
converted exactly, float64 is rounded to the nearest float32, wider integers are refused if float32 does not hold them. Do not write to an
array while a call reads it: calls work without the interpreter's lock.

Calls can be made from any thread. Ctrl-C ends every long call: a bulk load, compaction or scrub is cancelled, a batch of queries and a walk
over rows stop; anything else that was begun goes on to its end in the background. Only what is short is waited for: a search by lists, and
the commit of arrays of at most 64 MiB. A handle belongs to the process that opened it; after a fork it raises
:class:`ForkedError`, and the fork keeps the collection locked until it ends. Pickling a handle pickles the path: what comes out is a
:class:`Follower`. Answers, rows and reports are plain data and can be pickled as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import overload as _overload

from . import errors as errors
from ._stats import Stats
from ._stratavec import (
    Batch,
    BulkReport,
    CheckpointReport,
    Collection,
    CompactReport,
    Explain,
    Filter,
    Follower,
    Health,
    Hit,
    Hits,
    Item,
    Reader,
    Receipt,
    RecoveryReport,
    RepairReport,
    Scan,
    ScrubReport,
    Snapshot,
    UpgradeReport,
    VerifyReport,
    __version__,
    _create,
    _open,
    _open_read_only,
    repair,
    upgrade,
    verify,
)
from .errors import (
    AlreadyExistsError,
    BatchTooLargeError,
    BusyError,
    CancelledError,
    ClosedError,
    CorruptError,
    ForkedError,
    InvalidArgumentError,
    IoError,
    LockedError,
    NoSpaceError,
    NotFoundError,
    OverBudgetError,
    PoisonedError,
    SchemaMismatchError,
    StratavecError,
    UnsupportedVersionError,
)

if _TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    from typing_extensions import Unpack as _Unpack

    from ._types import Access, Durability, IdKind, IndexKind, Metric, Options, Path, RowFormat

__all__ = [
    "AlreadyExistsError",
    "Batch",
    "BatchTooLargeError",
    "BulkReport",
    "BusyError",
    "CancelledError",
    "CheckpointReport",
    "ClosedError",
    "Collection",
    "CompactReport",
    "CorruptError",
    "Explain",
    "Filter",
    "Follower",
    "Health",
    "ForkedError",
    "Hit",
    "Hits",
    "InvalidArgumentError",
    "IoError",
    "Item",
    "LockedError",
    "NoSpaceError",
    "NotFoundError",
    "OverBudgetError",
    "PoisonedError",
    "Reader",
    "Receipt",
    "RecoveryReport",
    "RepairReport",
    "Scan",
    "SchemaMismatchError",
    "ScrubReport",
    "Snapshot",
    "Stats",
    "StratavecError",
    "UnsupportedVersionError",
    "UpgradeReport",
    "VerifyReport",
    "__version__",
    "create",
    "open",
    "repair",
    "upgrade",
    "verify",
]

_SCHEMA = ("dim", "metric", "ids", "rows", "index", "nlist", "bits", "codes", "spill", "anchors", "seed")
_TREATMENT = (
    "durability",
    "memory_budget",
    "flush_bytes",
    "flush_rows",
    "compaction",
    "dead_ratio",
    "fanout",
    "scrub_bytes_per_second",
    "delete_reserve",
    "background",
    "access",
    "on_recovery",
)


@_overload
def open(  # noqa: A001
    path: Path,
    dim: int | None = None,
    metric: Metric | None = None,
    *,
    ids: IdKind | None = None,
    rows: RowFormat | None = None,
    index: IndexKind | None = None,
    nlist: int | None = None,
    bits: int | None = None,
    codes: str | None = None,
    spill: bool | None = None,
    anchors: str | None = None,
    seed: int | None = None,
    read_only: Literal[False] = False,
    durability: Durability | None = None,
    memory_budget: int | None = None,
    flush_bytes: int | None = None,
    flush_rows: int | None = None,
    compaction: Literal["auto", "manual"] | None = None,
    dead_ratio: float | None = None,
    fanout: int | None = None,
    scrub_bytes_per_second: int | None = None,
    delete_reserve: int | None = None,
    background: bool | None = None,
    access: Access | None = None,
    on_recovery: Callable[[RecoveryReport], object] | None = None,
) -> Collection: ...
@_overload
def open(  # noqa: A001
    path: Path,
    dim: int | None = None,
    metric: Metric | None = None,
    *,
    ids: IdKind | None = None,
    rows: RowFormat | None = None,
    index: IndexKind | None = None,
    nlist: int | None = None,
    bits: int | None = None,
    codes: str | None = None,
    spill: bool | None = None,
    anchors: str | None = None,
    seed: int | None = None,
    read_only: Literal[True],
    access: Access | None = None,
) -> Follower: ...
@_overload
def open(  # noqa: A001
    path: Path,
    dim: int | None = None,
    metric: Metric | None = None,
    *,
    ids: IdKind | None = None,
    rows: RowFormat | None = None,
    index: IndexKind | None = None,
    nlist: int | None = None,
    bits: int | None = None,
    codes: str | None = None,
    spill: bool | None = None,
    anchors: str | None = None,
    seed: int | None = None,
    read_only: bool,
    durability: Durability | None = None,
    memory_budget: int | None = None,
    flush_bytes: int | None = None,
    flush_rows: int | None = None,
    compaction: Literal["auto", "manual"] | None = None,
    dead_ratio: float | None = None,
    fanout: int | None = None,
    scrub_bytes_per_second: int | None = None,
    delete_reserve: int | None = None,
    background: bool | None = None,
    access: Access | None = None,
    on_recovery: Callable[[RecoveryReport], object] | None = None,
) -> Collection | Follower: ...
def open(  # noqa: A001
    path: Path,
    dim: int | None = None,
    metric: Metric | None = None,
    *,
    ids: IdKind | None = None,
    rows: RowFormat | None = None,
    index: IndexKind | None = None,
    nlist: int | None = None,
    bits: int | None = None,
    codes: str | None = None,
    spill: bool | None = None,
    anchors: str | None = None,
    seed: int | None = None,
    read_only: bool = False,
    durability: Durability | None = None,
    memory_budget: int | None = None,
    flush_bytes: int | None = None,
    flush_rows: int | None = None,
    compaction: Literal["auto", "manual"] | None = None,
    dead_ratio: float | None = None,
    fanout: int | None = None,
    scrub_bytes_per_second: int | None = None,
    delete_reserve: int | None = None,
    background: bool | None = None,
    access: Access | None = None,
    on_recovery: Callable[[RecoveryReport], object] | None = None,
) -> Collection | Follower:
    """Opens the collection in a directory, or makes it if there is none and ``dim`` and ``metric`` are given.

    What the collection is (fixed when it is made; what is given for one that exists is checked against it, the seed excepted):

    * ``dim``: components of a vector. ``metric``: ``"l2"`` (squared), ``"cosine"`` (1 - cos) or ``"ip"`` (negated inner product).
    * ``ids``: ``"bytes"`` (text and bytes; the default) or ``"u64"`` (numbers).
    * ``rows``: how vectors are stored, ``"f32"`` (the default), ``"f16"``, ``"bf16"``, ``"i8"`` (a byte per component: distances
      are estimates) or ``"none"`` (with ``"ivf"``: codes alone answer; ``rerank_with`` of a search makes distances exact).
    * ``index``: ``"flat"`` (every row is measured; the default), ``"ivf"`` (lists of neighbours) or ``"auto"`` (flat up to twenty
      thousand rows, then lists). With ``"ivf"``: ``nlist`` lists, ``bits`` of code per component (1 to 8) or other ``codes``
      (``"product:48x256"``, 48 parts of 256 codewords; ``"none"``), ``spill``, whether rows stand in second lists,
      ``anchors``, what lists are gathered around: ``"k-means"``, ``"random"`` rows, ``"max-coverage:200"`` (rows at least so many
      thousandths apart) or ``"stratified:10"`` (k-means in each group of ids, so many lists at least).
    * ``seed`` of everything drawn at random.

    How the handle treats it (nothing of it is stored):

    * ``read_only``: opens a :class:`Follower`, which takes no lock and writes nothing. Any number of them may read beside the one writer.
    * ``durability`` of commits: ``"group"`` (the default; durable, may share a sync), ``"sync"`` or ``"os"`` (survives a crash of the
      process, not a power cut).
    * ``memory_budget`` in bytes for everything the handle holds; ``flush_bytes``, ``flush_rows``: when rows in memory move to files.
    * ``compaction``: ``"auto"`` (``dead_ratio``, ``fanout``: when) or ``"manual"``. ``background=False``: flushes and merges happen in
      the call that makes them due.
    * ``access``: files are mapped (``"mmap"``, the default) or read piece by piece (``"pread"``); also with ``read_only``.
    * ``scrub_bytes_per_second``: files are read again and again at this rate. ``delete_reserve``: bytes of disk kept for deletes.
    * ``on_recovery``: called with a :class:`RecoveryReport` before ``open`` returns, if there was anything to recover or to clean up.
    """
    wanted = dict(zip(_SCHEMA, (dim, metric, ids, rows, index, nlist, bits, codes, spill, anchors, seed), strict=True))
    told = (
        durability,
        memory_budget,
        flush_bytes,
        flush_rows,
        compaction,
        dead_ratio,
        fanout,
        scrub_bytes_per_second,
        delete_reserve,
        background,
        access,
        on_recovery,
    )
    treatment = dict(zip(_TREATMENT, told, strict=True))
    if not read_only:
        return _open(path, wanted, treatment)
    for name, value in treatment.items():
        if value is not None and name != "access":
            raise InvalidArgumentError(f"{name} is for the writer; read_only takes none", argument=name)
    return _open_read_only(path, wanted, access)


def create(path: Path, dim: int, metric: Metric, **options: _Unpack[Options]) -> Collection:
    """Makes a collection in a directory that does not exist or is empty. Arguments are those of :func:`open`."""
    unknown = [name for name in options if name not in _SCHEMA + _TREATMENT]
    if unknown:
        raise TypeError(f"create() got an unexpected keyword argument {unknown[0]!r}")
    told: dict[str, Any] = {"dim": dim, "metric": metric, **options}
    wanted = {name: told.get(name) for name in _SCHEMA}
    return _create(path, wanted, {name: told.get(name) for name in _TREATMENT})


def _reopen(path: str) -> Follower:
    """What a pickled handle becomes."""
    return _open_read_only(path, dict.fromkeys(_SCHEMA))


def _restore(kind: Any, fields: tuple[Any, ...]) -> Any:
    """What a pickled answer or report becomes."""
    return kind._restore(fields)


def _register_sequences() -> None:
    from collections.abc import Sequence

    Sequence.register(Hits)


_register_sequences()

"""Classes and functions that are written in Rust."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, final, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import disjoint_base

from ._stats import Stats
from ._types import Attributes, Durability, Id, Ids, Include, Path, Payload, Progress, VectorSource
from .errors import StratavecError

__version__: str

@disjoint_base
class Reader:
    """Everything that reads: what a collection, a follower and a snapshot have in common."""

    def search(
        self,
        query: ArrayLike,
        k: int = 10,
        *,
        recall: float | None = None,
        nprobe: int | None = None,
        patience: int | None = None,
        confidence: float | None = None,
        exact: bool = False,
        ids: Ids | None = None,
        filter: Filter | Callable[[Any], object] | None = None,
        max_distance: float | None = None,
        include: Include | None = None,
        deadline: float | None = None,
        candidates: int | None = None,
        rerank_with: VectorSource | None = None,
        mode: Literal["auto", "hot", "cold"] = "auto",
    ) -> Hits:
        """The k nearest rows, nearest first.

        How hard to look, where there are lists (one of them; recall of 0.95 if nothing is said): ``recall``, the part of the true
        neighbours that is found on average; ``confidence``, the same, shared out by need; ``nprobe`` lists, perhaps fewer if
        ``patience`` of them bring nothing better; ``exact``. ``ids`` and ``filter`` (a callable that is given an id, or a
        :class:`Filter`) leave out rows, ``max_distance`` those that are farther. ``include``: what hits hold beside id and distance.
        After ``deadline`` seconds the best rows found by then are returned.

        ``rerank_with`` is given a list of ids, those of the best rows by estimate (``candidates`` of them), and gives their vectors, or
        ``None`` for some: distances are then exact, where the collection keeps vectors as bytes or none. ``mode`` tells whether lists and
        rows are in memory (``"hot"``) or are asked for ahead (``"cold"``).
        """
    def search_batch(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        recall: float | None = None,
        nprobe: int | None = None,
        patience: int | None = None,
        confidence: float | None = None,
        exact: bool = False,
        ids: Ids | None = None,
        filter: Filter | Callable[[Any], object] | None = None,
        max_distance: float | None = None,
        deadline: float | None = None,
        candidates: int | None = None,
        rerank_with: VectorSource | None = None,
        mode: Literal["auto", "hot", "cold"] = "auto",
        threads: int = 1,
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The ids and distances of the k nearest rows of each of n queries, as arrays of n x k.

        Rows with fewer than k hits end in -1 (``None`` where ids are byte strings) and infinity. Ids are int64, unless an id needs the
        64th bit; then they are uint64 and the missing ones 2^64 - 1.
        """
    def search_each(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        recall: float | None = None,
        nprobe: int | None = None,
        patience: int | None = None,
        confidence: float | None = None,
        exact: bool = False,
        ids: Ids | None = None,
        filter: Filter | Callable[[Any], object] | None = None,
        max_distance: float | None = None,
        include: Include | None = None,
        deadline: float | None = None,
        candidates: int | None = None,
        rerank_with: VectorSource | None = None,
        mode: Literal["auto", "hot", "cold"] = "auto",
        threads: int = 1,
    ) -> list[Hits]:
        """As :meth:`search_batch`, with whole hits for each query: what is to be included, and how each answer came about."""
    def get(self, id: Id) -> Item | None:
        """The row of an id."""
    def get_many(self, ids: Ids) -> list[Item | None]:
        """The rows of many ids, all of one state."""
    def __contains__(self, id: Id, /) -> bool: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def scan(self) -> Iterator[Item]:
        """All rows of the state at the time of the call, in the order in which they were written."""
    def __iter__(self) -> Iterator[Item]: ...
    @property
    def seq(self) -> int:
        """Sequence number of the last batch that is seen."""
    @property
    def default_effort(self) -> dict[str, Any]:
        """How hard searches look that do not say it, as arguments of :meth:`search`; see :meth:`Collection.set_default_effort`."""
    @property
    def dim(self) -> int:
        """Components of a vector."""
    @property
    def metric(self) -> str:
        """``"l2"``, ``"cosine"`` or ``"ip"``."""
    @property
    def schema(self) -> dict[str, Any]:
        """What the collection is."""
    @property
    def path(self) -> str:
        """Where it is."""
    @property
    def closed(self) -> bool:
        """Whether the handle was closed."""
    # Last, so that it does not hide the decorator.
    def property(self, name: str) -> bytes | None:
        """A property that a bulk load has set: in the newest state, or in the one shown or pinned."""

@final
class Collection(Reader):
    """A collection opened for writing: the only handle of its kind in all processes. Reads show the newest committed state."""

    def upsert(
        self,
        ids: Id | Ids,
        vectors: ArrayLike,
        attributes: Attributes | Iterable[Attributes | None] | None = None,
        payloads: Payload | Iterable[Payload | None] | None = None,
        *,
        durability: Durability | None = None,
    ) -> Receipt:
        """Writes rows as one batch, replacing those that have these ids: n ids with n x dim components, or one id with dim.

        A batch takes at most 64 MiB, and at most a sixteenth of a ``memory_budget``; :meth:`bulk_load` takes any number of rows.
        """
    def insert(
        self,
        ids: Id | Ids,
        vectors: ArrayLike,
        attributes: Attributes | Iterable[Attributes | None] | None = None,
        payloads: Payload | Iterable[Payload | None] | None = None,
        *,
        durability: Durability | None = None,
    ) -> Receipt:
        """Writes rows as one batch; :class:`AlreadyExistsError`, and nothing is written, if one of the ids is there."""
    def delete(self, ids: Id | Ids, *, durability: Durability | None = None) -> int:
        """Deletes the rows of these ids as one batch; how many there were."""
    def batch(self, *, durability: Durability | None = None) -> Batch:
        """A batch: committed at the end of a ``with`` block, forgotten if that raises."""
    @overload
    def bulk_load(
        self,
        ids: Ids,
        vectors: ArrayLike,
        attributes: Iterable[Attributes | None] | None = None,
        payloads: Iterable[Payload | None] | None = None,
        *,
        progress: Progress = None,
        properties: dict[str, bytes] | None = None,
    ) -> BulkReport:
        """Writes any number of rows straight to files, in bounded memory; all of them become visible together or none.

        Arrays, or an iterable of ``(id, vector)``, ``(id, vector, attributes)`` or ``(id, vector, attributes, payload)``. ``progress``: a
        callable of (done, total), True or False for a bar; a bar is shown if standard error is a terminal. What the iterable or the
        callable raises, and Ctrl-C, cancels the load. ``properties`` are set in the same step; see :meth:`property`.
        """
    @overload
    def bulk_load(
        self,
        ids: Iterable[tuple[Any, ...]],
        vectors: None = None,
        attributes: None = None,
        payloads: None = None,
        *,
        progress: Progress = None,
        properties: dict[str, bytes] | None = None,
    ) -> BulkReport: ...
    def snapshot(self) -> Snapshot:
        """The newest committed state, pinned."""
    def sync(self) -> int:
        """Makes everything acknowledged so far durable; the sequence number up to which it now is."""
    def wait_durable(self, seq: int) -> None:
        """Returns when the batch with this sequence number is durable."""
    def flush(self) -> None:
        """Moves everything in memory to files."""
    def compact(self, what: Literal["auto", "full", "retrain"] = "auto", *, progress: Progress = None, dry_run: bool = False) -> CompactReport:
        """Merges files and drops dead rows: what the rules ask for, or everything, or lists made anew. With ``dry_run`` only tells what would be done."""
    def checkpoint(self, path: Path) -> CheckpointReport:
        """Makes a copy in a directory that does not exist or is empty, by hard links where they are possible."""
    def scrub(self, *, progress: Progress = None) -> ScrubReport:
        """Reads every byte of every file again and compares it with its checksum."""
    def health(self) -> Health:
        """Measures how good the lists are: one pass over all vectors."""
    def set_default_effort(
        self,
        *,
        recall: float | None = None,
        nprobe: int | None = None,
        patience: int | None = None,
        confidence: float | None = None,
        exact: bool = False,
    ) -> None:
        """Stores how hard searches look that do not say it, for every handle that opens the collection from now on."""
    def stats(self) -> Stats:
        """Figures of the collection and of this handle."""
    @property
    def durable_seq(self) -> int:
        """Sequence number up to which everything survives a power loss."""
    @property
    def recovery(self) -> RecoveryReport:
        """What opening found and did."""
    @property
    def read_only(self) -> Literal[False]: ...
    def close(self) -> None:
        """Flushes and ends the handle, after the calls that other threads are in; the next open has nothing to recover."""
    def __enter__(self) -> Collection: ...
    def __exit__(
        self, kind: type[BaseException] | None = None, raised: BaseException | None = None, trace: TracebackType | None = None, /
    ) -> None: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    def __copy__(self) -> Collection: ...
    def __deepcopy__(self, memo: Any, /) -> Collection: ...

@final
class Follower(Reader):
    """A collection opened for reading only, beside the writer or without one. Shows one state until :meth:`refresh`."""

    def refresh(self) -> int:
        """Shows what was committed meanwhile; the sequence number of the last batch shown."""
    def snapshot(self) -> Snapshot:
        """The state last refreshed to, pinned."""
    def health(self) -> Health:
        """Measures how good the lists are: one pass over all vectors."""
    def stats(self) -> Stats:
        """Figures of the state shown."""
    @property
    def read_only(self) -> Literal[True]: ...
    def close(self) -> None:
        """Ends the handle."""
    def __enter__(self) -> Follower: ...
    def __exit__(
        self, kind: type[BaseException] | None = None, raised: BaseException | None = None, trace: TracebackType | None = None, /
    ) -> None: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    def __copy__(self) -> Follower: ...
    def __deepcopy__(self, memo: Any, /) -> Follower: ...

@final
class Snapshot(Reader):
    """One committed state, pinned: later writes do not touch it."""

    def close(self) -> None:
        """Lets go of the state."""
    def __enter__(self) -> Snapshot: ...
    def __exit__(
        self, kind: type[BaseException] | None = None, raised: BaseException | None = None, trace: TracebackType | None = None, /
    ) -> None: ...
    def __reduce__(self) -> Any: ...

@final
class Batch:
    """Writes that happen together or not at all. Of several writes of one id the last counts."""

    def upsert(
        self,
        ids: Id | Ids,
        vectors: ArrayLike,
        attributes: Attributes | Iterable[Attributes | None] | None = None,
        payloads: Payload | Iterable[Payload | None] | None = None,
    ) -> None:
        """Writes rows, replacing those that have these ids."""
    def insert(
        self,
        ids: Id | Ids,
        vectors: ArrayLike,
        attributes: Attributes | Iterable[Attributes | None] | None = None,
        payloads: Payload | Iterable[Payload | None] | None = None,
    ) -> None:
        """Writes rows whose ids must not be there."""
    def delete(self, ids: Id | Ids) -> None:
        """Deletes the rows of these ids."""
    def commit(self, *, durability: Durability | None = None) -> Receipt:
        """Commits before the end of the ``with`` block, or without one."""
    def discard(self) -> None:
        """Forgets everything."""
    @property
    def receipt(self) -> Receipt | None:
        """What the commit did; ``None`` before it."""
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __enter__(self) -> Batch: ...
    def __exit__(
        self, kind: type[BaseException] | None = None, raised: BaseException | None = None, trace: TracebackType | None = None, /
    ) -> None: ...

@final
class Filter:
    """Which rows a search may return; combined with ``&``, ``|`` and ``~``. Made once, a set of ids serves many searches."""

    @staticmethod
    def ids(ids: Ids) -> Filter:
        """Rows whose id is one of these."""
    @staticmethod
    def by(predicate: Callable[[Any], object]) -> Filter:
        """Rows for whose id the callback says yes. It is called for rows that are near enough to be a result."""
    def __and__(self, other: Filter, /) -> Filter: ...
    def __or__(self, other: Filter, /) -> Filter: ...
    def __rand__(self, other: Filter, /) -> Filter: ...
    def __ror__(self, other: Filter, /) -> Filter: ...
    def __invert__(self) -> Filter: ...

@final
class Hit:
    """One row found."""

    @property
    def id(self) -> Any:
        """The id: an int, or a str (bytes if it is no UTF-8)."""
    @property
    def distance(self) -> float:
        """In the metric's own unit; smaller is nearer."""
    @property
    def exact(self) -> bool:
        """Whether the distance is exact with respect to the stored vector."""
    @property
    def vector(self) -> NDArray[np.float32] | None:
        """The vector as stored, if it was included."""
    @property
    def attributes(self) -> dict[str, Any] | None:
        """The attributes, if they were included."""
    @property
    def payload(self) -> bytes | None:
        """The payload, if it was included and there is one."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Hits(Sequence[Hit]):
    """The rows found, nearest first; at most k, never padded."""

    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    @overload
    def __getitem__(self, index: int, /) -> Hit: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Hit]: ...
    def __iter__(self) -> Iterator[Hit]: ...
    @property
    def ids(self) -> list[Any]:
        """The ids alone."""
    @property
    def distances(self) -> NDArray[np.float32]:
        """The distances alone."""
    @property
    def all_exact(self) -> bool:
        """Whether all distances are exact with respect to the stored vectors."""
    @property
    def explain(self) -> Explain:
        """How the answer came about."""

@final
class Item:
    """One row with everything stored for it."""

    @property
    def id(self) -> Any: ...
    @property
    def vector(self) -> NDArray[np.float32] | None:
        """The vector as stored; ``None`` if the collection keeps none."""
    @property
    def approximate(self) -> bool:
        """Whether the vector is less than rounded: bytes stand for it, or there is none."""
    @property
    def attributes(self) -> dict[str, Any]: ...
    @property
    def payload(self) -> bytes | None: ...
    @property
    def seq(self) -> int:
        """Sequence number of the batch that wrote it."""

@final
class Scan(Iterator[Item]):
    """Walks over all rows of a state."""

    def __iter__(self) -> Scan: ...
    def __next__(self) -> Item: ...

@final
class Receipt:
    """What a committed batch did."""

    @property
    def seq(self) -> int: ...
    @property
    def durable(self) -> bool: ...
    @property
    def inserted(self) -> int: ...
    @property
    def replaced(self) -> int: ...
    @property
    def deleted(self) -> int: ...

@final
class BulkReport:
    """What a bulk load did."""

    @property
    def seq(self) -> int: ...
    @property
    def items(self) -> int: ...
    @property
    def inserted(self) -> int: ...
    @property
    def replaced(self) -> int: ...
    @property
    def repeated(self) -> int: ...
    @property
    def bytes_written(self) -> int: ...

@final
class CompactReport:
    """What a compaction did, or would do. What upkeep in the background did beside it counts."""

    @property
    def merges(self) -> int: ...
    @property
    def files_read(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def bytes_read(self) -> int: ...
    @property
    def bytes_written(self) -> int: ...
    @property
    def filed(self) -> int: ...
    @property
    def list_merges(self) -> int: ...
    @property
    def retrains(self) -> int: ...
    @property
    def refiled(self) -> int: ...

@final
class Health:
    """How good the lists of a collection are, measured on a sample of its rows. Shows itself as a small table, in notebooks as well.

    Where no row is in a list every search is exact and there is nothing to grade: ``score`` and what it is made of are ``None``. What asks or
    is compared with vectors is ``None``, and counts as good, if the collection keeps none.
    """

    @property
    def score(self) -> float | None:
        """0 to 100; more than 70 is healthy, 80 excellent, less than 60 is not."""
    @property
    def coverage(self) -> float | None:
        """How near rows are to the centroids of their lists: 0 as far as from one centroid for all, 1 as near as to the nearest other row."""
    @property
    def quantization_error(self) -> float | None:
        """Mean difference of inner products by codes and exactly, as a part of the mean squared length."""
    @property
    def bias(self) -> float | None:
        """The same with its sign."""
    @property
    def balance(self) -> float | None:
        """What looking at a list would cost if all had as many rows, as a part of what it costs."""
    @property
    def connectivity(self) -> float | None:
        """The part of the lists that have a live row."""
    @property
    def delta_ratio(self) -> float | None:
        """Rows in memory or in no list yet, and dead rows, for each live row in lists."""
    @property
    def latency_ratio(self) -> float | None:
        """Entries that a search scans, for each that it scanned when the lists were new; ``None`` if that is not known."""
    @property
    def entries_scanned(self) -> float | None:
        """Those entries, on average."""
    @property
    def recall(self) -> float | None:
        """The part of its ten nearest that a row finds by a search of the default effort."""
    @property
    def sampled(self) -> int:
        """Rows that were looked at."""
    @property
    def lists(self) -> int:
        """Lists of the newest model; 0 if there is none."""
    @property
    def skew(self) -> float | None:
        """The length of a list that one in a hundred surpasses, as a multiple of the mean."""
    @property
    def growth(self) -> float | None:
        """Live rows for each that the lists were made for."""
    @property
    def drift(self) -> float | None:
        """How far rows that came since are from their centroids, for what rows were that training had not seen."""
    @property
    def retrain(self) -> Literal["growth", "drift", "balance"] | None:
        """Why the lists are to be made anew, if they are."""
    def _repr_html_(self) -> str: ...

@final
class CheckpointReport:
    """What a checkpoint made."""

    @property
    def seq(self) -> int: ...
    @property
    def files_linked(self) -> int: ...
    @property
    def bytes_linked(self) -> int: ...
    @property
    def files_copied(self) -> int: ...
    @property
    def bytes_copied(self) -> int: ...

@final
class UpgradeReport:
    """What an upgrade found and did."""

    @property
    def from_version(self) -> int: ...
    @property
    def to_version(self) -> int: ...
    @property
    def files_rewritten(self) -> int: ...

@final
class RecoveryReport:
    """What an open found and did."""

    @property
    def is_clean(self) -> bool: ...
    @property
    def batches_replayed(self) -> int: ...
    @property
    def bytes_replayed(self) -> int: ...
    @property
    def tail_bytes_dropped(self) -> int: ...
    @property
    def orphans_removed(self) -> int: ...
    @property
    def manifest_copy_used(self) -> bool: ...

@final
class Explain:
    """How an answer came about."""

    @property
    def seq(self) -> int: ...
    @property
    def rows_scored(self) -> int: ...
    @property
    def sources_scanned(self) -> int: ...
    @property
    def bytes_read(self) -> int: ...
    @property
    def cold(self) -> bool: ...
    @property
    def reads(self) -> int: ...
    @property
    def lists_probed(self) -> int: ...
    @property
    def entries_scanned(self) -> int: ...
    @property
    def fresh_scanned(self) -> int: ...
    @property
    def records_read(self) -> int: ...
    @property
    def reranked(self) -> int: ...
    @property
    def by_lookup(self) -> bool: ...
    @property
    def rows_skipped(self) -> int: ...
    @property
    def cut_short(self) -> bool: ...

@final
class VerifyReport:
    """What a check found; true if nothing is damaged."""

    @property
    def is_sound(self) -> bool: ...
    @property
    def findings(self) -> list[StratavecError]: ...
    @property
    def notes(self) -> list[str]: ...
    @property
    def files(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def log(self) -> RecoveryReport: ...
    def __bool__(self) -> bool: ...

@final
class ScrubReport:
    """What a scrub found."""

    @property
    def files(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def findings(self) -> list[StratavecError]: ...

@final
class RepairReport:
    """What a repair kept and lost."""

    @property
    def is_complete(self) -> bool: ...
    @property
    def generation(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def last_seq(self) -> int: ...
    @property
    def losses(self) -> list[str]: ...
    @property
    def rows_lost(self) -> int: ...
    @property
    def ids_lost(self) -> list[Any]: ...
    @property
    def stale_rows(self) -> int: ...
    @property
    def notes(self) -> list[str]: ...

def _open(path: Path, wanted: dict[str, Any], treatment: dict[str, Any]) -> Collection: ...
def _create(path: Path, wanted: dict[str, Any], treatment: dict[str, Any]) -> Collection: ...
def _open_read_only(path: Path, wanted: dict[str, Any], access: str | None = None) -> Follower: ...
def _long_scans(bytes: int) -> int: ...
def verify(path: Path, mode: Literal["quick", "full"] = "full") -> VerifyReport:
    """Checks a collection without changing anything. Damage is no error: it is in the report."""

def repair(path: Path, to: Path, mode: Literal["keep_proven"] = "keep_proven") -> RepairReport:
    """Makes a new collection of what a damaged one can prove. The old directory is only read."""

def upgrade(path: Path) -> UpgradeReport:
    """Brings a collection to the format version that this release writes."""

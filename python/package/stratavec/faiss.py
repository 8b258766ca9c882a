"""Classes in the shape of FAISS: ``import stratavec.faiss as faiss`` runs code that was written for it, as far as this module goes.

An index lives in a directory. ``IndexFlatL2(64)`` makes a temporary one, which goes with the index; ``IndexFlatL2(64, path="data/idx")`` makes
or opens one that stays, and what was added to it is durable. :func:`write_index` makes a copy in another directory, :func:`read_index` opens it:
any number of processes may, until one of them changes it. From then on that one has it for itself, and its changes stay without another
:func:`write_index`. Indexes can be cloned, pickled and turned into bytes.

What is different: ``train`` takes vectors and does nothing with them, since lists are trained on the rows themselves as they are filed. An
``IndexIVFFlat`` looks at ``nprobe`` lists by their codes and measures the best rows exactly; with ``nprobe`` equal to ``nlist`` every row is
measured. So does an ``IndexIVFPQ``: its codes are those of FAISS, but the vectors are kept as well, so distances are exact and so is what is
reconstructed. Vectors hold 32-bit floats and must be finite. An id has one row: adding it again replaces that, and what ``add`` of an index with
lists numbers after a removal gets numbers that no row had (FAISS would give some of them twice); -1 is no id. A search uses one thread until :func:`omp_set_num_threads` says otherwise.
What FAISS has beyond this (graphs, scalar quantizers, binary indexes, GPUs, ``Kmeans``) is not here, and asking for it raises ``AttributeError``.
"""

from __future__ import annotations

import io
import itertools
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

import stratavec

from ._selectors import (
    IDSelectorAll,
    IDSelectorAnd,
    IDSelectorArray,
    IDSelectorBatch,
    IDSelectorBitmap,
    IDSelectorNot,
    IDSelectorOr,
    IDSelectorRange,
    IDSelectorXOr,
    SearchParameters,
    SearchParametersIVF,
    Selector,
)

__all__ = [
    "IO_FLAG_MMAP",
    "IO_FLAG_READ_ONLY",
    "METRIC_INNER_PRODUCT",
    "METRIC_L2",
    "IDSelectorAll",
    "IDSelectorAnd",
    "IDSelectorArray",
    "IDSelectorBatch",
    "IDSelectorBitmap",
    "IDSelectorNot",
    "IDSelectorOr",
    "IDSelectorRange",
    "IDSelectorXOr",
    "Index",
    "IndexFlat",
    "IndexFlatIP",
    "IndexFlatL2",
    "IndexIDMap",
    "IndexIDMap2",
    "IndexIVFFlat",
    "IndexIVFPQ",
    "ParameterSpace",
    "SearchParameters",
    "SearchParametersIVF",
    "clone_index",
    "deserialize_index",
    "downcast_index",
    "extract_index_ivf",
    "get_num_gpus",
    "index_factory",
    "knn",
    "normalize_L2",
    "omp_get_max_threads",
    "omp_set_num_threads",
    "read_index",
    "serialize_index",
    "vector_to_array",
    "write_index",
]

METRIC_INNER_PRODUCT = 0
METRIC_L2 = 1

#: How :func:`read_index` opens an index; the values are those of FAISS.
IO_FLAG_READ_ONLY = 2
IO_FLAG_MMAP = 0x646F0008

#: Vectors that are written to the log in one batch, in bytes; more than so many at once go straight to files.
_BATCH_BYTES = 16 << 20

#: The property of a collection that says what kind of index it is.
_KIND = "faiss.kind"

#: How many lists a copy of an index is to look at, and whether it was trained.
_PROBES = "faiss.nprobe"
_TRAINED = "faiss.trained"

#: Threads of a search.
_threads = 1

_Floats: TypeAlias = NDArray[np.float32]
_Ints: TypeAlias = NDArray[np.int64]


class Index:
    """Rows numbered from 0 on in the order in which they were added, or by ids of the caller's."""

    _reader: stratavec.Collection | stratavec.Follower
    #: A temporary directory that goes with the index.
    _own: tempfile.TemporaryDirectory[str] | None

    def __init__(self, d: int, metric: int, path: str | Path | None, **options: Any) -> None:
        names = {METRIC_L2: "l2", METRIC_INNER_PRODUCT: "ip"}
        if metric not in names:
            raise ValueError("metric is METRIC_L2 or METRIC_INNER_PRODUCT")
        self._open(path, dim=d, metric=names[metric], ids="u64", **options)

    def _open(self, path: str | Path | None, **options: Any) -> None:
        own: tempfile.TemporaryDirectory[str] | None = None
        if path is None:
            own = _room()
            path = Path(own.name) / "index"
            options["durability"] = "os"
        collection = stratavec.open(path, **options)
        if collection.property(_KIND) is None:
            _mark(collection, b"places")
        self._adopt(collection)
        self._own = own

    def _adopt(self, reader: stratavec.Collection | stratavec.Follower) -> None:
        """Takes rows that are there."""
        self._reader = reader
        self._home = Path(reader.path).absolute()
        self._inode = self._home.stat().st_ino
        self._own = None
        self._fixed = False
        self.verbose = False
        self._live: _Ints | None = None
        self._next = 0
        if len(reader):
            stored = _signed([item.id for item in reader.scan()])
            self._next = int(stored.max()) + 1
            if self._next != len(stored):
                self._live = np.sort(stored)

    def _opened(self) -> stratavec.Collection:
        """The rows opened for writing, if they are still those that were read."""
        collection = stratavec.open(self._home)
        if collection.seq != self._reader.seq or self._home.stat().st_ino != self._inode:
            collection.close()
            raise RuntimeError(f"{self._home} was changed since it was read; read it again")
        return collection

    def _writer(self) -> stratavec.Collection:
        """What changes go to. An index that was read is opened for writing by the first of them."""
        if self._fixed:
            raise RuntimeError("the index was read with IO_FLAG_READ_ONLY")
        if isinstance(self._reader, stratavec.Follower):
            collection = self._opened()
            self._reader.close()
            self._reader = collection
        return self._reader

    @property
    def collection(self) -> stratavec.Collection:
        """What holds the rows, opened for writing."""
        return self._writer()

    @property
    def d(self) -> int:
        return self._reader.dim

    @property
    def metric_type(self) -> int:
        return METRIC_L2 if self._reader.metric == "l2" else METRIC_INNER_PRODUCT

    @property
    def ntotal(self) -> int:
        return len(self._reader)

    @property
    def is_trained(self) -> bool:
        return True

    def train(self, x: ArrayLike) -> None:
        """Checks the vectors. Lists are trained on the rows."""
        self._rows(x)

    def add(self, x: ArrayLike) -> None:
        """Adds vectors, numbered from ``ntotal`` on."""
        rows = self._rows(x)
        ids = np.arange(self._next, self._next + len(rows), dtype=np.int64)
        self._write(ids, rows)
        self._next += len(rows)
        if self._live is not None:
            self._live = np.concatenate([self._live, ids])

    def add_with_ids(self, x: ArrayLike, ids: ArrayLike) -> None:
        raise RuntimeError("add_with_ids not implemented for this type of index; wrap it in IndexIDMap")

    def _write(self, ids: _Ints, rows: _Floats) -> None:
        if rows.nbytes > 4 * _BATCH_BYTES:
            self._writer().bulk_load(_unsigned(ids), rows, progress=False)
            return
        step = max(1, _BATCH_BYTES // (4 * self.d))
        for start in range(0, len(rows), step):
            self._writer().upsert(_unsigned(ids[start : start + step]), rows[start : start + step])

    def search(
        self, x: ArrayLike, k: int, *, params: SearchParameters | None = None, D: _Floats | None = None, I: _Ints | None = None
    ) -> tuple[_Floats, _Ints]:
        """Distances and ids of the k nearest rows of each vector; where there are fewer, -1 behind them."""
        found, distances = self._reader.search_batch(self._rows(x), k, threads=_threads, **self._effort(params), **self._chosen(params))
        distances = self._distances(distances)
        ids = self._outer(found.astype(np.int64, copy=False))
        if D is not None:
            D[:] = distances
        if I is not None:
            I[:] = ids
        return (distances if D is None else D), (ids if I is None else I)

    def assign(self, x: ArrayLike, k: int = 1) -> _Ints:
        """The ids of the k nearest rows, as an array of n x k."""
        return self.search(x, k)[1]

    def search_and_reconstruct(
        self, x: ArrayLike, k: int, *, params: SearchParameters | None = None
    ) -> tuple[_Floats, _Ints, _Floats]:
        """As :meth:`search`, and the vectors of the rows; those of missing rows are NaN."""
        distances, ids = self.search(x, k, params=params)
        vectors = np.full((*ids.shape, self.d), np.nan, np.float32)
        for place in np.argwhere(ids >= 0):
            vectors[tuple(place)] = self.reconstruct(int(ids[tuple(place)]))
        return distances, ids, vectors

    def range_search(self, x: ArrayLike, thresh: float, *, params: SearchParameters | None = None) -> tuple[NDArray[np.uint64], _Floats, _Ints]:
        """All rows that are nearer than ``thresh``, or whose product is larger: ``lims``, ``D`` and ``I``. Those of vector ``i`` are at
        ``lims[i]`` to ``lims[i + 1]``, nearest first."""
        bound = thresh if self.metric_type == METRIC_L2 else -thresh
        lims, parts, names = [0], [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        terms = {**self._effort(params), **self._chosen(params)}
        for row in self._rows(x):
            hits = self._reader.search(row, max(1, self.ntotal), max_distance=float(bound), **terms)
            distances = hits.distances
            inside = distances < np.float32(bound)
            parts.append(self._distances(distances[inside]))
            names.append(_signed(hits.ids)[inside])
            lims.append(lims[-1] + int(inside.sum()))
        return np.asarray(lims, np.uint64), np.concatenate(parts), self._outer(np.concatenate(names))

    def remove_ids(self, x: ArrayLike | Selector) -> int:
        """Removes rows and tells how many there were. As in FAISS, rows that are numbered by their place move up."""
        gone = self._inner(self._named(x))
        removed = self._writer().delete(gone) if len(gone) else 0
        if removed:
            before = np.arange(self._next, dtype=np.int64) if self._live is None else self._live
            self._live = np.setdiff1d(before, gone)
        return removed

    def reconstruct(self, key: int) -> _Floats:
        """The vector of a row."""
        inner = self._inner(np.asarray([key], np.int64))
        item = self._reader.get(int(inner[0])) if len(inner) else None
        vector = None if item is None else item.vector
        if vector is None:
            raise RuntimeError(f"id {key} not found")
        return vector

    def reconstruct_n(self, n0: int = 0, ni: int = -1) -> _Floats:
        """The vectors of ``ni`` rows from ``n0`` on; all of them without numbers."""
        count = self.ntotal - n0 if ni < 0 else ni
        return self.reconstruct_batch(np.arange(n0, n0 + count))

    def reconstruct_batch(self, key: ArrayLike) -> _Floats:
        """The vectors of rows."""
        rows = [self.reconstruct(int(one)) for one in np.asarray(key).ravel()]
        return np.stack(rows) if rows else np.empty((0, self.d), np.float32)

    def merge_from(self, otherIndex: Index | IndexIDMap, add_id: int = 0) -> None:
        """Takes all rows of another index, which is empty then."""
        other = _inside(otherIndex)
        if (other.d, other.metric_type) != (self.d, self.metric_type):
            raise RuntimeError("the indexes have vectors of other dimensions or another metric")
        if add_id:
            raise RuntimeError("cannot set ids in an index whose rows are numbered by their place")
        if other.ntotal:
            self.add(other.reconstruct_n())
        other.reset()

    def reset(self) -> None:
        """Removes all rows."""
        ids = [item.id for item in self._reader.scan()]
        step = 500_000
        for start in range(0, len(ids), step):
            self._writer().delete(ids[start : start + step])
        self._next, self._live = 0, None

    def __reduce__(self) -> tuple[Any, ...]:
        return (deserialize_index, (serialize_index(self),))

    def close(self) -> None:
        """Lets go of the directory; a temporary one is removed."""
        self._reader.close()
        if self._own is not None:
            self._own.cleanup()

    def _rows(self, x: ArrayLike) -> _Floats:
        rows = np.ascontiguousarray(x, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.d:
            raise ValueError(f"x has the shape {rows.shape}; use (n, {self.d})")
        return rows

    def _distances(self, distances: _Floats) -> _Floats:
        if self.metric_type == METRIC_L2:
            # What is missing is the largest number, as in FAISS.
            return np.where(np.isinf(distances), np.finfo(np.float32).max, distances).astype(np.float32, copy=False)
        return np.where(np.isinf(distances), -np.finfo(np.float32).max, -distances).astype(np.float32, copy=False)

    def _effort(self, params: SearchParameters | None) -> dict[str, Any]:
        return {"exact": True}

    def _chosen(self, params: SearchParameters | None) -> dict[str, Any]:
        sel = None if params is None else params.sel
        return {} if sel is None else {"filter": self._filter(sel)}

    def _filter(self, sel: Selector) -> stratavec.Filter:
        if isinstance(sel, IDSelectorNot):
            return ~self._filter(sel.sel)
        if isinstance(sel, IDSelectorAnd):
            return self._filter(sel.lhs) & self._filter(sel.rhs)
        if isinstance(sel, IDSelectorOr):
            return self._filter(sel.lhs) | self._filter(sel.rhs)
        return stratavec.Filter.ids(self._inner(self._named(sel)))

    def _named(self, x: ArrayLike | Selector) -> _Ints:
        """The ids that a selector or an array stands for, of those that there are if it stands for many."""
        if isinstance(x, IDSelectorBatch):
            return x.ids
        if hasattr(x, "is_member"):
            return np.fromiter((id for id in self._all() if x.is_member(id)), np.int64)
        return np.unique(np.asarray(x, np.int64).ravel())

    def _all(self) -> Iterable[int]:
        return range(self.ntotal)

    # Numbers as the caller sees them are places among the live rows; inside, a row keeps its number for ever.

    def _outer(self, ids: _Ints) -> _Ints:
        if self._live is None or not ids.size:
            return ids
        return np.where(ids < 0, -1, np.searchsorted(self._live, ids)).astype(np.int64)

    def _inner(self, ids: _Ints) -> _Ints:
        if self._live is None:
            return ids[(ids >= 0) & (ids < self._next)]
        return self._live[ids[(ids >= 0) & (ids < len(self._live))]]

    def _kept(self) -> dict[str, bytes]:
        """What a copy of the index has to know beside its rows."""
        return {}


class IndexFlat(Index):
    """Every row is measured."""

    def __init__(self, d: int, metric: int = METRIC_L2, *, path: str | Path | None = None) -> None:
        super().__init__(d, metric, path, index="flat")


class IndexFlatL2(IndexFlat):
    """Squared Euclidean distances."""

    def __init__(self, d: int, *, path: str | Path | None = None) -> None:
        super().__init__(d, METRIC_L2, path=path)


class IndexFlatIP(IndexFlat):
    """Inner products; larger is nearer."""

    def __init__(self, d: int, *, path: str | Path | None = None) -> None:
        super().__init__(d, METRIC_INNER_PRODUCT, path=path)


class _ByIds(Index):
    """An index whose rows keep the ids that they were given."""

    def add_with_ids(self, x: ArrayLike, ids: ArrayLike) -> None:
        """Adds vectors under these ids. A row that has one of them is replaced (FAISS would keep both)."""
        rows, names = self._rows(x), np.asarray(ids, np.int64).ravel()
        if len(names) != len(rows):
            raise ValueError(f"there are {len(rows)} vectors and {len(names)} ids")
        self._write(names, rows)
        if len(names):
            self._next = max(self._next, int(names.max()) + 1)

    def merge_from(self, otherIndex: Index | IndexIDMap, add_id: int = 0) -> None:
        """Takes all rows of another index, which is empty then; ``add_id`` is added to their ids."""
        other = _inside(otherIndex)
        if (other.d, other.metric_type) != (self.d, self.metric_type) or not isinstance(other, _ByIds):
            raise RuntimeError("the indexes have vectors of other dimensions, another metric or other numbers of rows")
        ids = np.fromiter(other._all(), np.int64)
        if len(ids):
            self.add_with_ids(other.reconstruct_batch(ids), ids + add_id)
        other.reset()

    def remove_ids(self, x: ArrayLike | Selector) -> int:
        """Removes rows and tells how many there were. The others keep their ids."""
        gone = self._inner(self._named(x))
        return self._writer().delete(gone) if len(gone) else 0

    def reconstruct_n(self, n0: int = 0, ni: int = -1) -> _Floats:
        """The vectors of rows in the order of their ids."""
        ids = sorted(self._all())
        return self.reconstruct_batch(np.asarray(ids[n0:] if ni < 0 else ids[n0 : n0 + ni], np.int64))

    def _adopt(self, reader: stratavec.Collection | stratavec.Follower) -> None:
        super()._adopt(reader)
        self._live = None

    def _all(self) -> Iterable[int]:
        return [int(id) for id in _signed([item.id for item in self._reader.scan()])]

    # Ids with a sign are stored as the numbers without one that have the same bits.

    def _outer(self, ids: _Ints) -> _Ints:
        return ids

    def _inner(self, ids: _Ints) -> Any:
        return _unsigned(ids[ids != -1])


class IndexIVFFlat(_ByIds):
    """Lists of neighbours, of which ``nprobe`` are looked at."""

    quantizer: Index | None

    def __init__(
        self, quantizer: Index | None, d: int, nlist: int, metric: int = METRIC_L2, *, path: str | Path | None = None, **options: Any
    ) -> None:
        super().__init__(d, metric, path, index="ivf", nlist=nlist, **options)
        self.quantizer = quantizer

    def _adopt(self, reader: stratavec.Collection | stratavec.Follower) -> None:
        super()._adopt(reader)
        self.quantizer = None
        self.nprobe = int(reader.property(_PROBES) or b"1")
        self._trained = self.ntotal > 0 or reader.property(_TRAINED) is not None

    def _kept(self) -> dict[str, bytes]:
        return {_PROBES: str(self.nprobe).encode(), **({_TRAINED: b"yes"} if self._trained else {})}

    @property
    def nlist(self) -> int:
        return int(self._reader.schema["nlist"])

    @property
    def is_trained(self) -> bool:
        return self._trained

    def train(self, x: ArrayLike) -> None:
        super().train(x)
        self._trained = True

    def _write(self, ids: _Ints, rows: _Floats) -> None:
        if not self._trained:
            raise RuntimeError("Error: 'is_trained' failed: train the index before rows are added")
        # Rows in files are in lists; a load of many makes and fills them.
        if len(rows) >= 1000:
            self._writer().bulk_load(_unsigned(ids), rows, progress=False)
        else:
            super()._write(ids, rows)

    def update_vectors(self, keys: ArrayLike, x: ArrayLike) -> None:
        """Replaces the vectors of rows that are there."""
        names = np.asarray(keys, np.int64).ravel()
        if any(item is None for item in self._reader.get_many(_unsigned(names))):
            raise RuntimeError("update_vectors: one of the keys is no row")
        self.add_with_ids(x, names)

    def make_direct_map(self, new_maintain_direct_map: bool = True) -> None:
        """Does nothing: rows can be reconstructed as they are."""

    def _effort(self, params: SearchParameters | None) -> dict[str, Any]:
        if not self._trained:
            raise RuntimeError("Error: 'is_trained' failed: train the index before it is searched")
        told = params.nprobe if isinstance(params, SearchParametersIVF) else None
        nprobe = self.nprobe if told is None else told
        return {"exact": True} if nprobe >= self.nlist else {"nprobe": nprobe}


class IndexIVFPQ(IndexIVFFlat):
    """Lists of neighbours whose rows have codes of ``M`` parts of ``nbits`` bits; the vectors are kept beside them."""

    def __init__(
        self, quantizer: Index | None, d: int, nlist: int, M: int, nbits: int, metric: int = METRIC_L2, *, path: str | Path | None = None
    ) -> None:
        super().__init__(quantizer, d, nlist, metric, path=path, codes=f"product:{M}x{1 << nbits}")


class IndexIDMap:
    """Gives rows of an index the ids of the caller's. The index must be empty, or one that has such ids already."""

    def __init__(self, index: Index) -> None:
        if index._reader.property(_KIND) != b"ids":
            if index.ntotal:
                raise RuntimeError("index must be empty on input")
            _mark(index._writer(), b"ids")
        self.index = index
        if not isinstance(index, _ByIds):
            # From here on rows are known by their ids.
            index.__class__ = _WithIds
            index._live = None

    def add(self, x: ArrayLike) -> None:
        raise RuntimeError("add does not make sense with IndexIDMap, use add_with_ids")

    @property
    def id_map(self) -> _Ints:
        """The ids, in the order in which their rows were written."""
        return np.fromiter(self.index._all(), np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return (deserialize_index, (serialize_index(self),))

    def __getattr__(self, name: str) -> Any:
        if name == "index":
            raise AttributeError(name)
        return getattr(self.index, name)


class IndexIDMap2(IndexIDMap):
    """As :class:`IndexIDMap`; both reconstruct vectors."""


class _WithIds(_ByIds):
    """A flat index in an ``IndexIDMap``."""


def _mark(collection: stratavec.Collection, kind: bytes) -> None:
    collection.bulk_load([], properties={_KIND: kind}, progress=False)


def _signed(ids: list[Any]) -> _Ints:
    """Ids as FAISS has them: with a sign."""
    return np.asarray(ids, np.uint64).view(np.int64)


def _unsigned(ids: _Ints) -> NDArray[np.uint64]:
    """Ids as collections have them."""
    return np.ascontiguousarray(ids).view(np.uint64)


def _inside(index: Index | IndexIDMap) -> Index:
    """The index itself, without what gives its rows ids."""
    return index.index if isinstance(index, IndexIDMap) else index


def index_factory(d: int, description: str, metric: int = METRIC_L2, *, path: str | Path | None = None) -> Index | IndexIDMap:
    """``"Flat"``, ``"IVF100,Flat"``, ``"IVF100,PQ16"`` or ``"IVF100,PQ16x4"``, each perhaps with ``"IDMap"`` or ``"IDMap2"`` before or behind it."""
    parts = [part.strip() for part in description.split(",")]
    maps: dict[str, type[IndexIDMap]] = {"IDMap": IndexIDMap, "IDMap2": IndexIDMap2}
    mapped = maps.get(parts[0]) or (maps.get(parts[-1]) if len(parts) > 1 else None)
    rest = parts if mapped is None else parts[1:] if parts[0] in maps else parts[:-1]
    lists = int(rest[0][3:]) if len(rest) == 2 and rest[0].startswith("IVF") and rest[0][3:].isdigit() else None
    code = rest[-1][2:].split("x") if rest and rest[-1].startswith("PQ") else []
    index: Index
    if rest == ["Flat"]:
        index = IndexFlat(d, metric, path=path)
    elif lists and rest[1] == "Flat":
        index = IndexIVFFlat(None, d, lists, metric, path=path)
    elif lists and 1 <= len(code) <= 2 and all(number.isdigit() for number in code):
        bits = int(code[1]) if len(code) == 2 else 8
        index = IndexIVFPQ(None, d, lists, int(code[0]), bits, metric, path=path)
    else:
        raise RuntimeError(f"no index for {description!r}; there are Flat, IVF<n>,Flat and IVF<n>,PQ<m>[x<bits>], with IDMap or IDMap2 before or behind them")
    return index if mapped is None else mapped(index)


class ParameterSpace:
    """Sets what an index is searched with by its name: ``nprobe``."""

    def set_index_parameter(self, index: Index | IndexIDMap, name: str, val: float) -> None:
        lists = extract_index_ivf(index)
        if name != "nprobe":
            raise RuntimeError(f"could not set parameter {name}; there is nprobe")
        lists.nprobe = int(val)

    def set_index_parameters(self, index: Index | IndexIDMap, description: str) -> None:
        """As in ``"nprobe=8"``, several with commas."""
        for part in filter(None, description.split(",")):
            name, _, value = part.partition("=")
            self.set_index_parameter(index, name.strip(), float(value))


def downcast_index(index: Any) -> Any:
    """The index: classes are those that they are."""
    return index


def extract_index_ivf(index: Index | IndexIDMap) -> IndexIVFFlat:
    """The lists in an index."""
    inner = _inside(index)
    if not isinstance(inner, IndexIVFFlat):
        raise RuntimeError("could not extract an IVF index: this one has no lists")
    return inner


def vector_to_array(v: ArrayLike) -> NDArray[Any]:
    """The numbers as an array."""
    return np.asarray(v)


def get_num_gpus() -> int:
    """None are used."""
    return 0


def omp_set_num_threads(num_threads: int) -> None:
    """How many threads a search of many vectors may use from now on."""
    global _threads
    if not 1 <= num_threads <= 1024:
        raise ValueError(f"num_threads is {num_threads}; use 1..=1024")
    _threads = int(num_threads)


def omp_get_max_threads() -> int:
    """How many threads a search of many vectors may use."""
    return _threads


def knn(xq: ArrayLike, xb: ArrayLike, k: int, metric: int = METRIC_L2) -> tuple[_Floats, _Ints]:
    """Distances and numbers of the k nearest of ``xb`` to each of ``xq``, without an index that stays."""
    rows = np.ascontiguousarray(xb, np.float32)
    index = IndexFlat(rows.shape[-1], metric)
    try:
        index.add(rows)
        return index.search(xq, k)
    finally:
        index.close()


def normalize_L2(x: _Floats) -> None:
    """Scales the vectors to length 1, in place. Zero vectors stay as they are."""
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    x /= np.where(lengths == 0, 1, lengths)


def _copy(index: Index | IndexIDMap, target: Path) -> None:
    """Makes a copy of an index in a directory that is not there, with how it is searched."""
    inner = _inside(index)
    if isinstance(inner._reader, stratavec.Follower):
        with inner._opened() as collection:
            collection.checkpoint(target)
    else:
        inner._reader.checkpoint(target)
    if kept := inner._kept():
        with stratavec.open(target) as made:
            made.bulk_load([], properties=kept, progress=False)


def write_index(index: Index | IndexIDMap, fname: str | Path) -> None:
    """Makes a copy of an index in a directory, instead of an index that is there. Anything else that is there is left alone, and refused. Where
    the index is in that directory already, what was changed is there, and nothing is copied."""
    target, inner = Path(fname), _inside(index)
    occupied = target.exists()
    if occupied and target.samefile(inner._home):
        if any(inner._reader.property(name) != value for name, value in inner._kept().items()):
            inner._writer().bulk_load([], properties=inner._kept(), progress=False)
        return
    beside = (target.with_name(f".{target.name}.{n}") for n in itertools.count())
    fresh = next(place for place in beside if not place.exists())
    old = next(place for place in beside if not place.exists())
    if occupied:
        with stratavec.open(target) as there:
            if there.property(_KIND) is None:
                raise RuntimeError(f"{target} is a collection that is no index of this module")
    _copy(index, fresh)
    if occupied:
        target.rename(old)
    fresh.rename(target)
    if occupied:
        shutil.rmtree(old)


def read_index(fname: str | Path, io_flags: int = 0) -> Index | IndexIDMap:
    """Opens what :func:`write_index` wrote. Others may read it as well, until it is changed here: then it is opened for writing, and changes as the
    index does. With ``IO_FLAG_READ_ONLY`` it cannot be changed. Files are always mapped, with ``IO_FLAG_MMAP`` or without."""
    if io_flags & ~(IO_FLAG_READ_ONLY | IO_FLAG_MMAP):
        raise RuntimeError(f"io_flags is {io_flags}; there are IO_FLAG_READ_ONLY and IO_FLAG_MMAP")
    found = stratavec.open(fname, read_only=True)
    schema, kind = found.schema, found.property(_KIND)
    shapes = {("flat", "l2"): IndexFlatL2, ("flat", "ip"): IndexFlatIP}
    product = str(schema.get("codes")).startswith("product:")
    shape = (IndexIVFPQ if product else IndexIVFFlat) if schema["index"] == "ivf" else shapes.get((schema["index"], schema["metric"]))
    if shape is None or schema["ids"] != "u64":
        found.close()
        raise RuntimeError(f"{fname} is a collection that no class of this module stands for")
    index: Index = shape.__new__(shape)
    index._adopt(found)
    index._fixed = bool(io_flags & IO_FLAG_READ_ONLY)
    return IndexIDMap(index) if kind == b"ids" else index


def _temporary(own: tempfile.TemporaryDirectory[str]) -> Index | IndexIDMap:
    """The index in a temporary directory, which goes with it."""
    index = read_index(Path(own.name) / "index")
    _inside(index)._own = own
    return index


def _room() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="stratavec-", ignore_cleanup_errors=True)


def clone_index(index: Index | IndexIDMap) -> Index | IndexIDMap:
    """A copy, in a temporary directory, which goes its own way."""
    own = _room()
    _copy(index, Path(own.name) / "index")
    return _temporary(own)


def serialize_index(index: Index | IndexIDMap) -> NDArray[np.uint8]:
    """A copy of an index as bytes."""
    with _room() as room:
        folder = Path(room) / "index"
        _copy(index, folder)
        stored = io.BytesIO()
        with zipfile.ZipFile(stored, "w") as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, file.name)
    return np.frombuffer(stored.getvalue(), np.uint8)


def deserialize_index(data: NDArray[np.uint8]) -> Index | IndexIDMap:
    """The index that :func:`serialize_index` made bytes of, in a temporary directory."""
    own = _room()
    folder = Path(own.name) / "index"
    folder.mkdir(mode=0o700)
    try:
        with zipfile.ZipFile(io.BytesIO(np.asarray(data, np.uint8).tobytes())) as archive:
            for name in archive.namelist():
                if Path(name).name != name:
                    raise RuntimeError(f"these are not the bytes of an index: they name {name!r}")
                (folder / name).write_bytes(archive.read(name))
    except zipfile.BadZipFile as error:
        raise RuntimeError("these are not the bytes of an index") from error
    return _temporary(own)


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"stratavec.faiss has no {name}; it has IndexFlat, IndexFlatL2, IndexFlatIP, IndexIVFFlat, IndexIVFPQ, IndexIDMap, index_factory "
        "and what goes with them"
    )

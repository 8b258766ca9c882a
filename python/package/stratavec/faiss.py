"""Classes in the shape of FAISS: ``import stratavec.faiss as faiss`` runs code that was written for it, as far as this module goes.

An index lives in a directory. ``IndexFlatL2(64)`` makes a temporary one, which goes with the index; ``IndexFlatL2(64, path="data/idx")`` makes
or opens one that stays, and what was added to it is durable. :func:`write_index` makes a copy in another directory, :func:`read_index` opens it.
Indexes can be cloned, pickled and turned into bytes.

What is different: ``train`` takes vectors and does nothing with them, since lists are trained on the rows themselves as they are filed. An
``IndexIVFFlat`` looks at ``nprobe`` lists by their codes and measures the best rows exactly; with ``nprobe`` equal to ``nlist`` every row is
measured. So does an ``IndexIVFPQ``: its codes are those of FAISS, but the vectors are kept as well, so distances are exact and so is what is
reconstructed. Vectors hold 32-bit floats and must be finite. A search uses one thread until :func:`omp_set_num_threads` says otherwise.
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

    def __init__(self, d: int, metric: int, path: str | Path | None, **options: Any) -> None:
        names = {METRIC_L2: "l2", METRIC_INNER_PRODUCT: "ip"}
        if metric not in names:
            raise ValueError("metric is METRIC_L2 or METRIC_INNER_PRODUCT")
        self._open(path, dim=d, metric=names[metric], ids="u64", **options)

    def _open(self, path: str | Path | None, **options: Any) -> None:
        self._own: tempfile.TemporaryDirectory[str] | None = None
        if path is None:
            self._own = tempfile.TemporaryDirectory(prefix="stratavec-", ignore_cleanup_errors=True)
            path = Path(self._own.name) / "index"
            options["durability"] = "os"
        self._collection: stratavec.Collection = stratavec.open(path, **options)
        if self._collection.property(_KIND) is None:
            self._mark(b"places")
        self.verbose = False
        self._live: _Ints | None = None
        self._next = 0
        rows = len(self._collection)
        if rows:
            stored = np.fromiter((item.id for item in self._collection.scan()), np.int64, rows)
            self._next = int(stored.max()) + 1
            if self._next != rows:
                self._live = np.sort(stored)

    def _mark(self, kind: bytes) -> None:
        self._collection.bulk_load([], properties={_KIND: kind}, progress=False)

    @property
    def collection(self) -> stratavec.Collection:
        """What holds the rows."""
        return self._collection

    @property
    def d(self) -> int:
        return self._collection.dim

    @property
    def metric_type(self) -> int:
        return METRIC_L2 if self._collection.metric == "l2" else METRIC_INNER_PRODUCT

    @property
    def ntotal(self) -> int:
        return len(self._collection)

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
            self._collection.bulk_load(ids, rows, progress=False)
            return
        step = max(1, _BATCH_BYTES // (4 * self.d))
        for start in range(0, len(rows), step):
            self._collection.upsert(ids[start : start + step], rows[start : start + step])

    def search(
        self, x: ArrayLike, k: int, *, params: SearchParameters | None = None, D: _Floats | None = None, I: _Ints | None = None
    ) -> tuple[_Floats, _Ints]:
        """Distances and ids of the k nearest rows of each vector; where there are fewer, -1 behind them."""
        found, distances = self._collection.search_batch(self._rows(x), k, threads=_threads, **self._effort(params), **self._chosen(params))
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

    def range_search(self, x: ArrayLike, thresh: float, *, params: SearchParameters | None = None) -> tuple[_Ints, _Floats, _Ints]:
        """All rows that are nearer than ``thresh``, or whose product is larger: ``lims``, ``D`` and ``I``. Those of vector ``i`` are at
        ``lims[i]`` to ``lims[i + 1]``, nearest first."""
        bound = thresh if self.metric_type == METRIC_L2 else -thresh
        lims, parts, names = [0], [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        terms = {**self._effort(params), **self._chosen(params)}
        for row in self._rows(x):
            hits = self._collection.search(row, max(1, self.ntotal), max_distance=float(bound), **terms)
            distances = hits.distances
            inside = distances < np.float32(bound)
            parts.append(self._distances(distances[inside]))
            names.append(np.asarray(hits.ids, np.int64)[inside])
            lims.append(lims[-1] + int(inside.sum()))
        return np.asarray(lims, np.int64), np.concatenate(parts), self._outer(np.concatenate(names))

    def remove_ids(self, x: ArrayLike | Selector) -> int:
        """Removes rows and tells how many there were. As in FAISS, rows that are numbered by their place move up."""
        gone = self._inner(self._named(x))
        removed = self._collection.delete(gone) if len(gone) else 0
        if removed:
            before = np.arange(self._next, dtype=np.int64) if self._live is None else self._live
            self._live = np.setdiff1d(before, gone)
        return removed

    def reconstruct(self, key: int) -> _Floats:
        """The vector of a row."""
        inner = self._inner(np.asarray([key], np.int64))
        item = self._collection.get(int(inner[0])) if len(inner) else None
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
        ids = [item.id for item in self._collection.scan()]
        step = 500_000
        for start in range(0, len(ids), step):
            self._collection.delete(ids[start : start + step])
        self._next, self._live = 0, None

    def __reduce__(self) -> tuple[Any, ...]:
        return (deserialize_index, (serialize_index(self),))

    def close(self) -> None:
        """Lets go of the directory; a temporary one is removed."""
        self._collection.close()
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
        gone = self._named(x)
        gone = gone[gone >= 0]
        return self._collection.delete(gone) if len(gone) else 0

    def reconstruct_n(self, n0: int = 0, ni: int = -1) -> _Floats:
        """The vectors of rows in the order of their ids."""
        ids = sorted(self._all())
        return self.reconstruct_batch(np.asarray(ids[n0:] if ni < 0 else ids[n0 : n0 + ni], np.int64))

    def _open(self, path: str | Path | None, **options: Any) -> None:
        super()._open(path, **options)
        self._live = None

    def _all(self) -> Iterable[int]:
        return (item.id for item in self._collection.scan())

    def _outer(self, ids: _Ints) -> _Ints:
        return ids

    def _inner(self, ids: _Ints) -> _Ints:
        return ids[ids >= 0]


class IndexIVFFlat(_ByIds):
    """Lists of neighbours, of which ``nprobe`` are looked at."""

    def __init__(
        self, quantizer: Index | None, d: int, nlist: int, metric: int = METRIC_L2, *, path: str | Path | None = None, **options: Any
    ) -> None:
        super().__init__(d, metric, path, index="ivf", nlist=nlist, **options)
        self.quantizer = quantizer
        self.nprobe = int(self._collection.property(_PROBES) or b"1")
        self._trained = self.ntotal > 0 or self._collection.property(_TRAINED) is not None

    @property
    def nlist(self) -> int:
        return int(self._collection.schema["nlist"])

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
            self._collection.bulk_load(ids, rows, progress=False)
        else:
            super()._write(ids, rows)

    def update_vectors(self, keys: ArrayLike, x: ArrayLike) -> None:
        """Replaces the vectors of rows that are there."""
        names = np.asarray(keys, np.int64).ravel()
        if any(item is None for item in self._collection.get_many(names)):
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
        if index.collection.property(_KIND) != b"ids":
            if index.ntotal:
                raise RuntimeError("index must be empty on input")
            index._mark(b"ids")
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


def _inside(index: Index | IndexIDMap) -> Index:
    """The index itself, without what gives its rows ids."""
    return index.index if isinstance(index, IndexIDMap) else index


def index_factory(d: int, description: str, metric: int = METRIC_L2, *, path: str | Path | None = None) -> Index | IndexIDMap:
    """``"Flat"``, ``"IVF100,Flat"``, ``"IVF100,PQ16"`` or ``"IVF100,PQ16x4"``, each perhaps with ``"IDMap,"`` or ``"IDMap2,"`` before it."""
    parts = [part.strip() for part in description.split(",")]
    mapped = parts[0] in ("IDMap", "IDMap2")
    rest = parts[1:] if mapped else parts
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
        raise RuntimeError(f"no index for {description!r}; there are Flat, IVF<n>,Flat and IVF<n>,PQ<m>[x<bits>], with IDMap or IDMap2 before them")
    return IndexIDMap(index) if mapped else index


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
    inner.collection.checkpoint(target)
    if isinstance(inner, IndexIVFFlat) and inner.is_trained:
        with stratavec.open(target) as made:
            made.bulk_load([], properties={_PROBES: str(inner.nprobe).encode(), _TRAINED: b"yes"}, progress=False)


def write_index(index: Index | IndexIDMap, fname: str | Path) -> None:
    """Makes a copy of an index in a directory, instead of an index that is there. Anything else that is there is left alone, and refused."""
    target = Path(fname)
    beside = (target.with_name(f".{target.name}.{n}") for n in itertools.count())
    fresh = next(place for place in beside if not place.exists())
    old = next(place for place in beside if not place.exists())
    occupied = target.exists()
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


def read_index(fname: str | Path) -> Index | IndexIDMap:
    """Opens what :func:`write_index` wrote. It is opened for writing and changes as the index does."""
    with stratavec.open(fname, read_only=True) as found:
        schema, kind = found.schema, found.property(_KIND)
    metric = METRIC_L2 if schema["metric"] == "l2" else METRIC_INNER_PRODUCT
    index: Index
    if schema["index"] == "ivf" and (codes := str(schema["codes"])).startswith("product:"):
        parts, _, words = codes.removeprefix("product:").partition("x")
        index = IndexIVFPQ(None, schema["dim"], schema["nlist"], int(parts), int(words).bit_length() - 1, metric, path=fname)
    elif schema["index"] == "ivf":
        index = IndexIVFFlat(None, schema["dim"], schema["nlist"], metric, path=fname)
    else:
        index = IndexFlat(schema["dim"], metric, path=fname)
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
    with zipfile.ZipFile(io.BytesIO(np.asarray(data, np.uint8).tobytes())) as archive:
        for name in archive.namelist():
            if Path(name).name != name:
                raise RuntimeError(f"these are not the bytes of an index: they name {name!r}")
            (folder / name).write_bytes(archive.read(name))
    return _temporary(own)


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"stratavec.faiss has no {name}; it has IndexFlat, IndexFlatL2, IndexFlatIP, IndexIVFFlat, IndexIVFPQ, IndexIDMap, index_factory "
        "and what goes with them"
    )

"""Which rows a search of :mod:`stratavec.faiss` may return, or a removal takes."""

from __future__ import annotations

from typing import Any, TypeAlias, Union

import numpy as np
from numpy.typing import ArrayLike


class IDSelectorAll:
    """Every row."""

    def is_member(self, id: int) -> bool:
        return True


class IDSelectorBatch:
    """Rows with these ids."""

    def __init__(self, ids: ArrayLike) -> None:
        self.ids = np.unique(np.asarray(ids, np.int64).ravel())

    def is_member(self, id: int) -> bool:
        at = int(np.searchsorted(self.ids, id))
        return at < len(self.ids) and int(self.ids[at]) == id


class IDSelectorArray(IDSelectorBatch):
    """Rows with these ids."""


class IDSelectorBitmap(IDSelectorBatch):
    """Rows whose bit is set: that of row ``i`` is bit ``i % 8`` of byte ``i // 8``."""

    def __init__(self, bitmap: ArrayLike) -> None:
        bits = np.unpackbits(np.asarray(bitmap, np.uint8).ravel(), bitorder="little")
        super().__init__(np.flatnonzero(bits))


class IDSelectorRange:
    """Rows with ids from ``imin`` up to, not including, ``imax``."""

    def __init__(self, imin: int, imax: int) -> None:
        self.imin, self.imax = imin, imax

    def is_member(self, id: int) -> bool:
        return self.imin <= id < self.imax


class IDSelectorNot:
    """The rows that another selector leaves out."""

    def __init__(self, sel: Selector) -> None:
        self.sel = sel

    def is_member(self, id: int) -> bool:
        return not self.sel.is_member(id)


class _Pair:
    def __init__(self, lhs: Selector, rhs: Selector) -> None:
        self.lhs, self.rhs = lhs, rhs


class IDSelectorAnd(_Pair):
    """Rows that both select."""

    def is_member(self, id: int) -> bool:
        return self.lhs.is_member(id) and self.rhs.is_member(id)


class IDSelectorOr(_Pair):
    """Rows that one of two selects, or both."""

    def is_member(self, id: int) -> bool:
        return self.lhs.is_member(id) or self.rhs.is_member(id)


class IDSelectorXOr(_Pair):
    """Rows that one of two selects, and not both."""

    def is_member(self, id: int) -> bool:
        return self.lhs.is_member(id) != self.rhs.is_member(id)


Selector: TypeAlias = Union[IDSelectorAll, IDSelectorBatch, IDSelectorRange, IDSelectorNot, IDSelectorAnd, IDSelectorOr, IDSelectorXOr]


class SearchParameters:
    """What one search is told: ``sel``, which rows it may return."""

    def __init__(self, sel: Selector | None = None, **other: Any) -> None:
        if other:
            raise TypeError(f"{type(self).__name__} takes no {', '.join(other)}")
        self.sel = sel


class SearchParametersIVF(SearchParameters):
    """As :class:`SearchParameters`, and how many lists to look at."""

    def __init__(self, sel: Selector | None = None, nprobe: int | None = None, **other: Any) -> None:
        super().__init__(sel, **other)
        self.nprobe = nprobe

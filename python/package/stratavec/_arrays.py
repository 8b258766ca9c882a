"""What may stand for an array of 32-bit floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import InvalidArgumentError

#: Kinds and sizes of numbers of which float32 holds every value.
_EXACT = {("f", 2), ("f", 4), ("i", 1), ("u", 1), ("i", 2), ("u", 2)}


def as_f32(given: Any, name: str, dimensions: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """An array of float32 in C order with so many dimensions.

    No copy of what is that already. Half floats, bfloat16 and integers of up to 16 bits are converted exactly; float64 is rounded to the
    nearest float32; wider integers are taken if float32 holds each of them. Everything else is refused.
    """
    if np.ma.is_masked(given):
        raise InvalidArgumentError(f"{name} has masked numbers", argument=name, hint="leave out those rows, or fill them with filled()")
    array = np.asarray(given)
    if array.ndim != dimensions:
        if dimensions == 2 and array.size == 0:
            return np.empty((0, 0), np.float32)
        shape = "(dim,)" if dimensions == 1 else "(rows, dim)"
        raise InvalidArgumentError(f"{name} has the shape {array.shape}; use {shape}", argument=name)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if (kind, size) in _EXACT or array.dtype.name == "bfloat16":
        return np.require(array, np.float32, ["C", "A"])
    if kind == "f":
        with np.errstate(over="ignore"):
            rounded = np.ascontiguousarray(array, np.float32)
        if np.isinf(rounded).any() and not np.isinf(array).any():
            raise InvalidArgumentError(f"{name} has a number beyond the range of float32", argument=name)
        return rounded
    if kind in "iu":
        rounded = np.ascontiguousarray(array, np.float32)
        if array.size and not _holds(rounded, array):
            raise InvalidArgumentError(
                f"{name} has integers that float32 cannot hold exactly", argument=name, hint="convert them to float32 if rounding is meant"
            )
        return rounded
    if array.size == 0:
        return np.empty(array.shape, np.float32)
    raise TypeError(f"{name} has elements of type {array.dtype}; use floats or integers")


def _holds(rounded: np.ndarray[Any, Any], array: np.ndarray[Any, Any]) -> bool:
    """Whether rounding changed nothing. Beyond 2^63 and 2^64 the way back is not defined."""
    limit = 2.0 ** (array.dtype.itemsize * 8 - (array.dtype.kind == "i"))
    return bool((np.abs(rounded) < limit).all() and (rounded.astype(array.dtype) == array).all())

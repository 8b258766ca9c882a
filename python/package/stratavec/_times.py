"""Values of attributes that are no plain ones: timestamps, as microseconds since 1970 in UTC, and numpy's numbers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

_START = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def micros(name: str, value: Any) -> int | None:
    """The number for a datetime; ``None`` for everything else."""
    if not isinstance(value, datetime):
        return None
    if value.tzinfo is None:
        raise ValueError(f"attribute {name} is a datetime without a time zone; give it one, as in value.astimezone()")
    return (value - _START) // _MICROSECOND


def number(value: Any) -> bool | int | float | None:
    """A number of numpy's as one of Python's; ``None`` for everything else, arrays and dates among it."""
    if isinstance(value, np.timedelta64):
        return None  # An integer to numpy, of whatever unit.
    kinds: tuple[tuple[type, type], ...] = ((np.bool_, bool), (np.integer, int), (np.floating, float))
    return next((plain(value) for kind, plain in kinds if isinstance(value, kind)), None)


def from_micros(number: int) -> datetime | int:
    """The datetime in UTC; the number itself if it is beyond the years that Python knows."""
    try:
        return _START + timedelta(microseconds=number)
    except OverflowError:
        return number

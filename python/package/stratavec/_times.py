"""Timestamps of attributes: microseconds since 1970 in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

_START = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def micros(name: str, value: Any) -> int | None:
    """The number for a datetime; ``None`` for everything else."""
    if not isinstance(value, datetime):
        return None
    if value.tzinfo is None:
        raise ValueError(f"attribute {name} is a datetime without a time zone; give it one, as in value.astimezone()")
    return (value - _START) // _MICROSECOND


def from_micros(number: int) -> datetime | int:
    """The datetime in UTC; the number itself if it is beyond the years that Python knows."""
    try:
        return _START + timedelta(microseconds=number)
    except OverflowError:
        return number

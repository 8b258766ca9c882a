"""A bar on standard error."""

from __future__ import annotations

import sys
import time

_CELLS = 28
_BEAT = 0.1
#: A job that is over within this time draws nothing.
_PATIENCE = 0.5


class Bar:
    """One line that is drawn again and again."""

    def __init__(self, what: str, unit: str) -> None:
        self._what, self._unit = what, unit
        self._began = self._drawn = time.monotonic()
        self._last: tuple[int, int] | None = None
        self._width = 0

    def update(self, done: int, total: int) -> None:
        """Draws what is done of what there is to do, ten times a second at most."""
        now = time.monotonic()
        self._last = (done, total)
        if now - self._began >= _PATIENCE and now - self._drawn >= _BEAT:
            self._drawn = now
            self._draw(done, total, now)

    def end(self) -> None:
        """Draws the last state and leaves the line."""
        if self._width and self._last:
            self._draw(*self._last, time.monotonic())
            sys.stderr.write("\n")
            sys.stderr.flush()

    def _draw(self, done: int, total: int, now: float) -> None:
        rate = done / max(now - self._began, 1e-9)
        if total > 0:
            part = min(done / total, 1.0)
            filled = round(part * _CELLS)
            left = (total - done) / rate if rate > 0 and total > done else 0.0
            text = f"{self._what} {'█' * filled}{'░' * (_CELLS - filled)} {part:4.0%}  {done:,} of {total:,} {self._unit}  {rate:,.0f}/s  {left:.0f} s left"
        else:
            text = f"{self._what}  {done:,} {self._unit}  {rate:,.0f}/s"
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)


def bar(wanted: bool | None, what: str, unit: str) -> Bar | None:
    """A bar if one is wanted; if nobody said, where standard error is a terminal."""
    if wanted is None:
        wanted = sys.stderr is not None and sys.stderr.isatty()
    return Bar(what, unit) if wanted and sys.stderr is not None else None

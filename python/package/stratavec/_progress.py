"""A bar on standard error."""

from __future__ import annotations

import shutil
import sys
import time

_CELLS = 28
_BEAT = 0.1
#: Where nobody looks at a terminal, a line of its own is written so often.
_LINE_BEAT = 5.0
#: A job that is over within this time draws nothing.
_PATIENCE = 0.5


class Bar:
    """One line that is drawn again and again; into files, a line now and then."""

    def __init__(self, what: str, unit: str, live: bool) -> None:
        self._what, self._unit, self._live = what, unit, live
        self._began = self._drawn = time.monotonic()
        self._last: tuple[int, int] | None = None
        self._width = 0

    def update(self, done: int, total: int) -> None:
        """Draws what is done of what there is to do, ten times a second at most."""
        now = time.monotonic()
        self._last = (done, total)
        if now - self._began >= _PATIENCE and now - self._drawn >= (_BEAT if self._live else _LINE_BEAT):
            self._drawn = now
            self._draw(done, total, now)

    def end(self) -> None:
        """Draws the last state and leaves the line."""
        if self._width and self._last:
            self._draw(*self._last, time.monotonic())
            if self._live:
                self._write("\n")

    def _draw(self, done: int, total: int, now: float) -> None:
        # The last column stays empty: there a terminal would go to the next line.
        columns = max(20, shutil.get_terminal_size().columns - 1) if self._live else 100
        text = self._text(done, total, now, columns)[:columns]
        self._write("\r" + text.ljust(min(self._width, columns)) if self._live else text + "\n")
        self._width = len(text)

    def _text(self, done: int, total: int, now: float, columns: int) -> str:
        rate = done / max(now - self._began, 1e-9)
        if total <= 0:
            return f"{self._what}  {done:,} {self._unit}  {rate:,.0f}/s"
        part = min(done / total, 1.0)
        left = (total - done) / rate if rate > 0 and total > done else 0.0
        figures = f" {part:4.0%}  {done:,} of {total:,} {self._unit}  {rate:,.0f}/s  {left:.0f} s left"
        if not self._live:
            return self._what + figures
        # Where there is little room the cells go first, then figures from the end.
        cells = min(_CELLS, columns - len(self._what) - 1 - len(figures))
        if cells < 6:
            return f"{self._what}{figures}"
        filled = round(part * cells)
        return f"{self._what} {'█' * filled}{'░' * (cells - filled)}{figures}"

    def _write(self, text: str) -> None:
        """What cannot be written is not: a job does not fail for its bar."""
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            self.update = lambda done, total: None  # type: ignore[method-assign]
            self._width = 0


def _is_terminal() -> bool:
    try:
        return bool(sys.stderr.isatty())
    except (OSError, ValueError, AttributeError):
        # Closed, or replaced by something that only writes.
        return False


def bar(wanted: bool | None, what: str, unit: str) -> Bar | None:
    """A bar if one is wanted; if nobody said, where standard error is a terminal."""
    live = _is_terminal()
    wanted = live if wanted is None else wanted
    return Bar(what, unit, live) if wanted and sys.stderr is not None else None

"""Small tables of labels and what stands beside them: as text of eighty columns, and as HTML for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence

_COLUMNS = 80
_MARK = " · "


def _lines(label: str, text: str, indent: int) -> list[str]:
    """The row in as many lines as it takes; it is broken at its marks only."""
    lines = [label.ljust(indent)]
    for part in text.split(_MARK):
        longer = lines[-1] + (part if len(lines[-1]) == indent else _MARK + part)
        if len(longer) > _COLUMNS and len(lines[-1]) > indent:
            lines.append(" " * indent + part)
        else:
            lines[-1] = longer
    return lines


def as_text(caption: str, rows: Sequence[tuple[str, str]]) -> str:
    """The table below its caption."""
    indent = max((len(label) for label, _ in rows), default=0) + 2
    return "\n".join([caption, *(line for label, text in rows for line in _lines(label, text, indent))])


def as_html(caption: str, rows: Sequence[tuple[str, str]]) -> str:
    """The table as HTML; whatever the texts hold is shown and not obeyed."""
    cells = "".join(
        f'<tr><th style="text-align:left">{html.escape(label)}</th><td style="text-align:left">{html.escape(text)}</td></tr>' for label, text in rows
    )
    return f"<table><caption>{html.escape(caption)}</caption>{cells}</table>"

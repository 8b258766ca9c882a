"""How the health of lists shows itself."""

from __future__ import annotations

from . import _table
from ._stratavec import Health


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def _caption(health: Health) -> str:
    if health.score is None:
        return "health: no row is in a list, every search is exact"
    seen = f"{health.sampled:,} rows looked at" if health.sampled else "no vectors to ask with"
    return f"health {health.score:.0f} of 100, {seen}"


def table(health: Health) -> list[tuple[str, str]]:
    """The rows of the table: only what is known."""
    rows = []
    if health.recall is not None:
        scanned = "" if health.entries_scanned is None else f" · {health.entries_scanned:,.0f} entries scanned"
        rows.append(("recall", f"{_percent(health.recall)} of the ten nearest{scanned}"))
    if health.coverage is not None:
        rows.append(("coverage", _percent(health.coverage)))
    if health.quantization_error is not None:
        bias = "" if health.bias is None else f" · bias {health.bias:+.4f}"
        rows.append(("codes", f"off by {health.quantization_error:.4f} of the squared length{bias}"))
    if health.balance is not None:
        filled = "" if health.connectivity is None else f" · {_percent(health.connectivity)} of the lists hold rows"
        skew = "" if health.skew is None else f" · long ones {health.skew:.1f} times the mean"
        rows.append(("balance", _percent(health.balance) + filled + skew))
    if health.delta_ratio is not None:
        rows.append(("delta", f"{_percent(health.delta_ratio)} outside of lists or dead"))
    if health.latency_ratio is not None:
        rows.append(("work", f"{health.latency_ratio:.2f} times that of new lists"))
    if health.lists:
        growth = "" if health.growth is None else f" · {health.growth:.2f} times the rows they were made for"
        drift = "" if health.drift is None else f" · new rows {health.drift:.2f} times as far away"
        what = "to be made anew" if health.sampled else "more are due"
        due = "" if health.retrain is None else f" · {what}: {health.retrain}"
        rows.append(("lists", f"{health.lists:,}{growth}{drift}{due}"))
    return rows


def as_text(health: Health) -> str:
    """For terminals."""
    return _table.as_text(_caption(health), table(health))


def as_html(health: Health) -> str:
    """For notebooks."""
    return _table.as_html(_caption(health), table(health))

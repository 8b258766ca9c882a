"""One exception class for each kind of error, all of them under :class:`StratavecError`."""

from __future__ import annotations

from typing import Any

__all__ = [
    "AlreadyExistsError",
    "BatchTooLargeError",
    "BusyError",
    "CancelledError",
    "ClosedError",
    "CorruptError",
    "ForkedError",
    "InvalidArgumentError",
    "IoError",
    "LockedError",
    "NoSpaceError",
    "NotFoundError",
    "OverBudgetError",
    "PoisonedError",
    "SchemaMismatchError",
    "StratavecError",
    "UnsupportedVersionError",
]


class StratavecError(Exception):
    """What every error of the engine is. Attributes that say nothing about an error are ``None``.

    kind: a stable lower-case name. hint: one sentence of advice. argument: the argument that was refused. file, section,
    offset: where the damage is, relative to the collection's directory. outcome: of a failed commit, ``"not_committed"`` (the
    batch is absent, now and after every recovery) or ``"unknown"`` (reopening tells).
    """

    kind: str = "error"

    def __init__(
        self,
        message: str = "",
        *,
        argument: str | None = None,
        file: str | None = None,
        section: str | None = None,
        offset: int | None = None,
        hint: str | None = None,
        outcome: str = "not_committed",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.argument = argument
        self.file = file
        self.section = section
        self.offset = offset
        self.hint = hint
        self.outcome = outcome

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {name: getattr(self, name) for name in ("argument", "file", "section", "offset", "hint", "outcome")}
        return (_rebuild, (type(self), self.message, facts))


class InvalidArgumentError(StratavecError, ValueError):
    """An argument is outside what the call accepts. Nothing changed."""

    kind = "invalid_argument"


class AlreadyExistsError(StratavecError):
    """``insert`` of an id that is present, or given twice. Nothing of the batch was applied."""

    kind = "already_exists"


class NotFoundError(StratavecError):
    """There is no collection at this place."""

    kind = "not_found"


class SchemaMismatchError(StratavecError):
    """What ``open`` was told about the collection disagrees with what it was created with."""

    kind = "schema_mismatch"


class BatchTooLargeError(StratavecError):
    """A batch is larger than one log record may be (64 MiB). Commit parts, or use ``bulk_load``."""

    kind = "batch_too_large"


class LockedError(StratavecError):
    """Another handle, here or in another process, is the writer."""

    kind = "locked"


class BusyError(StratavecError):
    """A writer replaced files faster than they could be opened for reading. Trying again may help."""

    kind = "busy"


class CorruptError(StratavecError):
    """Bytes on disk are not what was written there; see ``file``, ``section`` and ``offset``."""

    kind = "corrupt"


class UnsupportedVersionError(StratavecError):
    """The files were written by a newer format than this release reads."""

    kind = "unsupported_version"


class NoSpaceError(StratavecError):
    """The device or quota is full."""

    kind = "no_space"


class IoError(StratavecError):
    """The operating system refused a call."""

    kind = "io"


class PoisonedError(StratavecError):
    """A sync failed earlier; this handle takes no more writes. Open the collection again to go on."""

    kind = "poisoned"


class ClosedError(StratavecError):
    """The handle was closed."""

    kind = "closed"


class CancelledError(StratavecError):
    """Work was cancelled."""

    kind = "cancelled"


class OverBudgetError(StratavecError):
    """The work needs more memory than ``memory_budget`` leaves. Nothing changed."""

    kind = "over_budget"


class ForkedError(StratavecError):
    """The handle belongs to the process that this one was forked from. Open the collection here."""

    kind = "forked"


_KINDS: dict[str, type[StratavecError]] = {kind.kind: kind for kind in StratavecError.__subclasses__()}


#: How calls are written that hints of the engine name.
_CALLS = {"Collection::open_read_only": "stratavec.open(path, read_only=True)", "Collection::": "stratavec.", "Effort::": ""}


def _of_engine(kind: str, message: str, facts: dict[str, Any]) -> StratavecError:
    """The exception of an engine's error; a kind that this release of the package does not know is the base class."""
    if hint := facts.get("hint"):
        for rust, python in _CALLS.items():
            hint = hint.replace(rust, python)
        facts = {**facts, "hint": hint}
    error = _KINDS.get(kind, StratavecError)(message, **facts)
    if type(error) is StratavecError:
        error.kind = kind
    return error


def _rebuild(kind: type[StratavecError], message: str, facts: dict[str, Any]) -> StratavecError:
    return kind(message, **facts)

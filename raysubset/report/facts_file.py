"""Files of facts: one JSON object, a frozen dataclass in memory, versioned by its ``schema``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from raysubset.errors import RecordError, StorageError
from raysubset.report.atomic import write_text

_T = TypeVar("_T")


def read_facts(path: Path, schema: int, what: str) -> dict[str, Any]:
    """Return the object in a file, its ``schema`` checked, its fields not yet.

    Args:
        path: The file.
        schema: The one that this version reads.
        what: Whose facts they are, with its article: "a run".

    Raises:
        StorageError: The file cannot be read; is the folder that of such a thing?
        RecordError: It holds no JSON object, or one of another schema; names the file.
    """
    try:
        return parse_facts(path.read_text(encoding="utf-8"), schema, what)
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"Cannot read {path}: {reason}. Is {path.parent} the folder of {what}?") from error
    except (RecordError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: {error}") from error


def parse_facts(text: str, schema: int, what: str) -> dict[str, Any]:
    """Return the object in a text; see `read_facts`."""
    try:
        row = json.loads(text)
    except ValueError as error:
        raise RecordError(f"The facts of {what} are not JSON: {error}.") from error
    if not isinstance(row, dict) or row.get("schema") != schema:
        found = row.get("schema") if isinstance(row, dict) else type(row).__name__
        raise RecordError(f"The facts of {what} have schema {found!r}, this version reads {schema}.")
    return row


class StudyFile:
    """Facts of a study, in a file of its run's folder; a frozen dataclass that names the file and its schema."""

    __slots__ = ()
    FILE: ClassVar[str]
    SCHEMA: ClassVar[int]
    WHAT: ClassVar[str]  # with its article: "a study of trainings"

    def write(self, folder: Path, derived: Mapping[str, Any]) -> None:
        """Write ``folder``/`FILE` in one step.

        Args:
            folder: Of the run.
            derived: What follows from the facts and the records, in JSON's types: there for readers, never read
                back.

        Raises:
            StorageError: It cannot be written.
        """
        facts: Any = self
        plain = {"schema": self.SCHEMA, **asdict(facts), **derived}
        write_text(folder / self.FILE, json.dumps(plain, indent=1, allow_nan=False) + "\n")

    @classmethod
    def made(cls, folder: Path, make: Callable[[Mapping[str, Any]], _T]) -> _T:
        """Read ``folder``/`FILE`` and return what ``make`` makes of its object.

        Raises:
            StorageError: It cannot be read.
            RecordError: It is not what `write` wrote; the message names the file.
        """
        path = folder / cls.FILE
        plain = read_facts(path, cls.SCHEMA, cls.WHAT)
        try:
            return make(plain)
        except (AttributeError, KeyError, TypeError) as error:
            raise RecordError(f"{path} is not {cls.WHAT} ({type(error).__name__}: {error}).") from error


def build(kind: type[_T], row: Any, where: str) -> _T:
    """Make a dataclass from a JSON object, naming every missing and unknown field at once."""
    if not isinstance(row, dict):
        raise RecordError(f"{where} must be an object, got {row!r}.")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    required = {name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    faults = [f"missing {name}" for name in sorted(required - set(row))]
    faults += [f"unknown {name}" for name in sorted(set(row) - set(known))]
    if faults:
        raise RecordError(f"{where}: {'; '.join(faults)}. Fields: {', '.join(known)}.")
    try:
        return kind(**row)
    except TypeError as error:
        raise RecordError(f"{where}: a value has the wrong type ({error}).") from error


def finite(value: Any) -> Any:
    """Strict JSON knows no NaN or infinity: they become None, inside mappings and lists too."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value

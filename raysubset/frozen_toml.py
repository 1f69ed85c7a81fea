"""Frozen option objects in and out of TOML; a misspelt key is an error that lists the known ones."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

import tomli_w

from raysubset.errors import OptionsError

OptionsT = TypeVar("OptionsT")


def to_toml(options: Any, parts: Mapping[str, Any]) -> str:
    """Return a dataclass as TOML.

    Args:
        options: Its fields are TOML values, or dataclasses of them; a part's None is left out, as its default.
        parts: Names of the fields that are dataclasses, and their types; tables of the text, after all else.
    """
    plain = {key: value for key, value in asdict(options).items() if key not in parts}
    for part in parts:
        plain[part] = {key: v for key, v in asdict(getattr(options, part)).items() if v is not None}
    return tomli_w.dumps(plain)


def from_toml(kind: type[OptionsT], text: str, parts: Mapping[str, Any]) -> OptionsT:
    """Read what `to_toml` wrote; what is left out keeps its default.

    Raises:
        OptionsError: Not TOML, an unknown key (lists the known ones), a missing one, or a value out of range.
    """
    plain = read_toml(kind.__name__, text)
    refuse_unknown(kind.__name__, plain, field_names(kind))
    for part, part_kind in parts.items():
        if part in plain:
            plain[part] = from_table(part_kind, part, plain[part])
    return _made(kind, kind.__name__, plain)


def from_table(kind: type[OptionsT], name: str, table: Mapping[str, Any]) -> OptionsT:
    """Make a dataclass of a table; lists become tuples. ``name`` is the table's, for errors.

    Raises:
        OptionsError: It is no table, or as `from_toml`.
    """
    if not isinstance(table, Mapping):
        raise OptionsError(f"{name} = {table!r}: need a table, [{name}].")
    refuse_unknown(name, table, field_names(kind))
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return _made(kind, name, plain)


def _made(kind: type[OptionsT], name: str, plain: Mapping[str, Any]) -> OptionsT:
    try:
        return kind(**plain)
    except TypeError as error:  # a field without default is missing, or a text stands where a number is meant
        raise OptionsError(f"{name}: {error}.") from error


def read_toml(name: str, text: str) -> dict[str, Any]:
    """Return the tables of a text.

    Raises:
        OptionsError: It is not TOML; ``name`` says what it was to be.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionsError(f"{name} is not valid TOML: {error}.") from error


def refuse_unknown(name: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse keys that nothing reads.

    Raises:
        OptionsError: There are some; lists the known ones.
    """
    if unknown := sorted(set(table) - set(known)):
        faults = [f"unknown key {key!r}" for key in unknown]
        raise OptionsError.of(name, [*faults, f"known: {', '.join(sorted(known))}"])


def field_names(kind: Any) -> set[str]:
    """Return the names of a dataclass' fields."""
    return {one.name for one in fields(kind)}

"""What is said inside an option: NAME=VALUE, names, numbers and schedules with commas between them."""

from __future__ import annotations

import re
import tomllib
from typing import Any, cast, get_args

from raysubset.errors import OptionsError
from raysubset.selection.ratio import Schedule


def read_options(texts: list[str] | None) -> dict[str, Any]:
    """Read a selector's options, NAME=VALUE each.

    Raises:
        OptionsError: One has another form, or is given twice.
    """
    return {name: scalar(name, text) for name, text in pairs("option", texts, "VALUE").items()}


def pairs(flag: str, texts: list[str] | None, right: str) -> dict[str, str]:
    """Read NAME=TEXT each; ``right`` is what an error calls the text.

    Raises:
        OptionsError: One has another form, or is given twice.
    """
    found: dict[str, str] = {}
    for text in texts or []:
        name, _, value = text.partition("=")
        if not (name and value):
            raise OptionsError(f"--{flag} {text!r}: need NAME={right}.")
        if name in found:
            raise OptionsError(f"--{flag} {name!r} is given twice: {found[name]!r} and {value!r}.")
        found[name] = value
    return found


def scalar(name: str, text: str) -> Any:
    """Read a TOML scalar, or a bare word, path or cell as a string; True and None are Python's, not TOML's.

    Raises:
        OptionsError: It is none of them.
    """
    special = ("true", "false", "none", "nan", "inf")
    if re.fullmatch(r"(?:[A-Za-z/~]|\.\.?/)[\w./~+:-]*", text) and text.lower() not in special:
        return text
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        values = {}
    if set(values) != {"value"} or not isinstance(values["value"], bool | int | float | str):
        raise OptionsError(f"--option {name}={text}: need a number, true, false, a word or a quoted string.")
    return values["value"]


def names(text: str) -> tuple[str, ...]:
    """Read names with commas between them."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(flag: str, text: str, such_as: str = "0.1,0.3") -> tuple[float, ...]:
    """Read numbers with commas between them; a fraction such as 1/8 is one.

    Raises:
        OptionsError: One of them is no number; the message shows ``such_as``.
    """
    found = []
    for part in names(text):
        above, _, below = part.partition("/")
        try:
            found.append(float(above) / (float(below) if below else 1.0))
        except (ValueError, ZeroDivisionError) as error:
            raise OptionsError(f"--{flag} {text!r}, need numbers and commas, such as {such_as}.") from error
    return tuple(found)


def schedules(text: str) -> tuple[Schedule, ...]:
    """Read schedules with commas between them.

    Raises:
        OptionsError: One of them is none.
    """
    if wrong := [part for part in names(text) if part not in get_args(Schedule)]:
        raise OptionsError(f"--schedule {wrong[0]!r}, need {', '.join(get_args(Schedule))} or both with a comma.")
    return cast("tuple[Schedule, ...]", names(text))

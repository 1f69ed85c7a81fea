"""Options that belong together come as a dataclass: a command takes it whole, the shell sees its fields.

::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Where:
        name: Annotated[str | None, Option(help="Run name.")] = None

    @grouped
    def show(*, where: Where, loud: bool = False) -> None: ...

is the command ``show --name NAME --loud``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with an option for each field of the dataclasses that it takes.

    Options stand in the order of parameters and fields. Groups are made when the command is called, so what a
    group refuses (``__post_init__``) is refused by the command.

    Raises:
        ValueError: Two options have one name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    options: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        options += _fields(groups[name]) if name in groups else [_option(name, hints[name], parameter.default)]

    @wraps(command)
    def taken_apart(**given: Any) -> None:
        made = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**made, **given)

    taken_apart.__signature__ = Signature(options)  # type: ignore[attr-defined]  # what typer reads
    return taken_apart


def _fields(group: Any) -> Iterator[Parameter]:
    """Return the fields of a dataclass as parameters."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        yield _option(
            field.name, hints[field.name], Parameter.empty if field.default is MISSING else field.default
        )


def _option(name: str, hint: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=hint, default=default)

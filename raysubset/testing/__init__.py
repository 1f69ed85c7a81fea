"""Contract suites that every implementation, ours or a plug-in's, inherits."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raysubset.testing.clients import ClientContract as ClientContract
    from raysubset.testing.selectors import SelectorContract as SelectorContract

_HOMES = {"ClientContract": "raysubset.testing.clients", "SelectorContract": "raysubset.testing.selectors"}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'raysubset.testing' has no attribute {name!r}; it has {', '.join(__all__)}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found

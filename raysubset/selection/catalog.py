"""Selectors by name: the one place where a name becomes a selector with its habits.

Code takes objects; the command line and TOML files take names, or "module:name" of a class or function that gives
a selector. A package adds names by the entry-point group ``raysubset.selectors``:

    [project.entry-points."raysubset.selectors"]
    mine = "my_package:Mine"      # a Selector class (its options are the plan's), or a function giving a Method
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from raysubset.errors import OptionsError, PluginError, PluginWarning, UnknownNameError
from raysubset.selection.entries import ENTRIES, Entry
from raysubset.selection.protocol import Selector
from raysubset.selection.timing import Habits, Habitual

GROUP = "raysubset.selectors"
HERE = "raysubset."
WRAPPER_OPTIONS: Mapping[str, tuple[str, ...]] = {"class": ("threads",), "batch": ("batch_size",)}


@dataclass(frozen=True, slots=True)
class Method:
    """A selector and when it chooses from what."""

    selector: Selector
    habits: Habits = field(default_factory=Habits)


def known_selectors() -> tuple[str, ...]:
    """Return every name, built-in ones first."""
    return (*ENTRIES, *_plugins())


@cache
def _plugins() -> Mapping[str, EntryPoint]:
    """Return the installed plug-ins.

    Warns:
        PluginWarning: A plug-in's name is taken, by a built-in selector or by another plug-in.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if point.name in ENTRIES or found.get(point.name, point) != point:
            warnings.warn(
                f"Selector plug-in {point.name!r} ({point.value}) is left out: its name is taken.",
                PluginWarning,
                stacklevel=3,
            )
        else:
            found[point.name] = point
    return found


def is_known(name: str) -> bool:
    """Return True for a name of the catalogue, and for any "module:name" (looked up when it is built)."""
    return ":" in name or name in known_selectors()


def habits_of(selector: str | Selector, options: Mapping[str, Any] = MappingProxyType({})) -> Habits:
    """Return a selector's habits; wrappers around an object are read from the outside in.

    Raises:
        UnknownNameError: No such name (lists the known ones).
        PluginError: A plug-in of that name cannot be loaded.
    """
    if isinstance(selector, str):
        if selector in ENTRIES:
            return ENTRIES[selector].habits
        return find_selector(selector, options).habits
    habits, layers = Habits(), []
    inner: Any = selector
    while callable(getattr(inner, "select", None)):  # through wrappers without habits, too: PerClass(Every(...))
        habits = getattr(inner, "habits", None) or _native_habits(type(inner)) or habits
        if isinstance(inner, Habitual):
            layers.append(inner)
        inner = getattr(inner, "inner", None)
    for layer in reversed(layers):
        habits = layer.adjust(habits)
    return habits


def _native_habits(kind: type) -> Habits | None:
    """Return the habits under which this package's catalogue lists a class, or None for a stranger's."""
    home = f"{kind.__module__.removeprefix(HERE)}:{kind.__qualname__}"
    return next((entry.habits for entry in ENTRIES.values() if entry.home == home), None)


def find_selector(selector: str | Selector, options: Mapping[str, Any]) -> Method:
    """Build a selector with its options.

    Args:
        selector: A name, or a selector object (then there are no options to give).
        options: The selector's own, by keyword.

    Raises:
        UnknownNameError: No such name.
        PluginError: A plug-in cannot be loaded, or gives something that cannot select.
        OptionsError: An option is unknown or out of range.
    """
    if not isinstance(selector, str):
        if options:
            raise OptionsError(
                f"options={dict(options)!r} given beside a selector object: put them into the object."
            )
        return Method(selector, habits_of(selector))
    if selector in ENTRIES:
        entry = ENTRIES[selector]
        module, name = entry.home.split(":")
        own, of_wrapper = _split(entry, options)
        built = _build(selector, getattr(import_module(HERE + module), name), {**entry.options, **own})
        return Method(_wrapped(built, entry.wrapper, of_wrapper), entry.habits)
    if ":" in selector:
        return _from_reference(selector, options)
    return _from_plugin(selector, options)


def _split(entry: Entry, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide options between a selector and its wrapper."""
    names = WRAPPER_OPTIONS.get(entry.wrapper, ())
    own = {name: value for name, value in options.items() if name not in names}
    return own, {name: options[name] for name in names if name in options}


def _wrapped(selector: Selector, wrapper: str, options: Mapping[str, Any]) -> Selector:
    if wrapper == "class":
        from raysubset.selection.wrappers import PerClass

        return PerClass(selector, **options)
    if wrapper == "batch":
        from raysubset.selection.per_batch import PerBatch

        by_batch: Selector = PerBatch(selector, **options)
        return by_batch
    return selector


def _build(name: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    if not callable(factory):
        raise PluginError(
            f"Selector {name!r} leads to {factory!r}: need a selector's class, or a function giving one."
        )
    try:
        return factory(**options)
    except TypeError as error:
        known = ", ".join(getattr(factory, "__dataclass_fields__", {})) or "none"
        raise OptionsError(f"Selector {name!r}: {error}. Its options: {known}.") from error


def _from_reference(reference: str, options: Mapping[str, Any]) -> Method:
    module, _, name = reference.partition(":")
    try:
        factory = getattr(import_module(module), name)
    except Exception as error:  # whatever the module raises, the user must learn which one it was
        raise OptionsError(f"selector={reference!r} cannot be imported: {error}.") from error
    return _method(reference, "your own code", _build(reference, factory, options))


def _from_plugin(name: str, options: Mapping[str, Any]) -> Method:
    plugins = _plugins()
    if name not in plugins:
        raise UnknownNameError.of("selector", name, known_selectors())
    point = plugins[name]
    package = point.dist.name if point.dist else "an unknown package"
    try:
        factory = point.load()
    except Exception as error:  # whatever a stranger's module raises, the user must learn whose it is
        raise PluginError(
            f"Selector plug-in {name!r} ({point.value}, of {package}) fails to load: {error}"
        ) from error
    return _method(name, f"{point.value}, of {package}", _build(name, factory, options))


def _method(name: str, origin: str, built: Any) -> Method:
    selector = built.selector if isinstance(built, Method) else built
    if not callable(getattr(selector, "select", None)):
        raise PluginError(
            f"Selector {name!r} ({origin}) gives {type(selector).__name__}, which has no select(context, k, rng)."
        )
    return built if isinstance(built, Method) else Method(built, habits_of(built))

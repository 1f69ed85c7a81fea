"""Every error raysubset raises on purpose.

Each one derives from `RaysubsetError` and from the builtin it specialises, so that both
``except RaysubsetError`` and ``except ValueError`` do what a reader expects. A message says what was asked,
what was received, what is allowed and, where one is known, the likely cause. All of them carry a single
string, so they survive pickling and therefore a trip through a Ray actor.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class RaysubsetError(Exception):
    """Base of everything raysubset raises on purpose."""


class OptionsError(RaysubsetError, ValueError):
    """One or more options are out of range; all faults of one object are reported together."""

    @classmethod
    def of(cls, what: str, faults: Iterable[str]) -> OptionsError:
        """Join the faults found in ``what`` into one error."""
        return cls(f"{what}: " + "; ".join(faults))


class UnknownNameError(RaysubsetError, LookupError):
    """A name is in no catalogue; the message lists the known ones."""

    @classmethod
    def of(cls, kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
        """Say which ``kind`` of thing was not found, the nearest spelling and every known name."""
        names = sorted(known)
        near = get_close_matches(str(name), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return cls(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")


class BudgetError(RaysubsetError, ValueError):
    """A subset size, ratio or sample budget cannot be met."""


class SelectionError(RaysubsetError, ValueError):
    """Rows or weights do not form a valid selection."""


class NothingToMatchError(SelectionError):
    """The gradients of these rows sum to nothing: a model that fits them perfectly has nothing left to learn."""


class SearchSpaceError(RaysubsetError, ValueError):
    """A search space names an unknown key or an impossible range."""


class ArchitectureError(RaysubsetError, ValueError):
    """A cell or genotype is malformed, or of another space; the message names the position."""


class DataError(RaysubsetError, ValueError):
    """A data set is corrupt, empty or inconsistent; the message names file and row."""


class DatasetNotFoundError(RaysubsetError, FileNotFoundError):
    """A data set is in none of the places searched; the message lists them."""


class ModelError(RaysubsetError, TypeError):
    """A model does not have the form that a method needs."""


class NonFiniteLossError(RaysubsetError, ArithmeticError):
    """Training produced a NaN or infinite loss."""


class RunExistsError(RaysubsetError, FileExistsError):
    """A run of that name is already there."""


class StorageError(RaysubsetError, OSError):
    """A folder cannot be read or written."""


class RecordError(RaysubsetError, ValueError):
    """A line of records.jsonl cannot be read."""


class SearchFailedError(RaysubsetError, RuntimeError):
    """Not one trial of a search could be judged; the message lists the reasons they gave."""


class SchedulerError(RaysubsetError, RuntimeError):
    """A scheduler heard something that cannot have happened: an unknown trial, an id given twice."""


class InterruptedRunError(RaysubsetError):
    """A run was stopped before its end; what is done is kept and can be resumed."""


class SelectorError(RaysubsetError, RuntimeError):
    """The selector was asked for something out of order, or died."""


class WorkersError(RaysubsetError, RuntimeError):
    """The training workers of a trial failed; the message says in what and why."""


class ClusterError(RaysubsetError, RuntimeError):
    """A Ray cluster lacks what was asked of it; the message says what."""


class NoClusterError(RaysubsetError, ConnectionError):
    """There is no Ray cluster at an address, or it does not let us in; the message says which."""


class PluginError(RaysubsetError, ImportError):
    """An installed plug-in cannot be loaded; the message names it and its package."""


class PluginWarning(UserWarning):
    """An installed plug-in is left out; the message names it."""


class WaitingWarning(UserWarning):
    """Trials wait for resources; the message says for which."""


class TrackingWarning(UserWarning):
    """A tracker is left out, or works offline; the message says why."""


class SlowSelectorWarning(UserWarning):
    """A selector would cost more than training on everything; adaptive random takes its place."""


class CertainSupervisorsWarning(UserWarning):
    """Networks that others learn from know their rows by heart; the message says how well."""


class FewRungsWarning(UserWarning):
    """Trials can be stopped early fewer than twice; the message says why and what would mend it."""

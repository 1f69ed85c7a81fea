"""From what a user named to the folders of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from raysubset.errors import StorageError, UnknownNameError
from raysubset.report.fit_info import FIT_FILE
from raysubset.report.nas_info import NAS_FILE
from raysubset.report.run_info import RUN_FILE

MOST_RUNS = 50


def is_run(folder: Path) -> bool:
    """Say whether a folder is that of a search, a study of ranks, an architecture search or a fit of SubSelNet."""
    return any((folder / name).is_file() for name in (RUN_FILE, NAS_FILE, FIT_FILE))


def runs_in(folder: Path) -> list[Path]:
    """Return the runs directly under a folder, by name."""
    try:
        return sorted(path for path in folder.iterdir() if is_run(path))
    except OSError:
        return []


def find_runs(named: Sequence[str], root: Path) -> list[Path]:
    """Return the folders of the named runs, each once, in order.

    Args:
        named: Folders of runs, names of runs under ``root``, or folders full of runs (a study's, or ``root``).
        root: Where runs lie.

    Raises:
        UnknownNameError: Something is none of these; lists the runs under ``root``.
        StorageError: More than 50 runs.
    """
    found: dict[Path, None] = {}
    for name in named:
        found.update(dict.fromkeys(path.resolve() for path in _one(name, root)))
    if len(found) > MOST_RUNS:
        raise StorageError(f"{len(found)} runs are too many to watch side by side: at most {MOST_RUNS}.")
    return list(found)


def _one(name: str, root: Path) -> Iterable[Path]:
    for folder in (Path(name), root / name):
        if is_run(folder):
            return [folder]
        if inside := runs_in(folder):
            return inside
    known = [path.name for path in runs_in(root)]
    if not known:
        raise StorageError(f"{name!r} is no run, and there is none in {root}. --root says where runs lie.")
    raise UnknownNameError.of(f"run in {root}", name, known)

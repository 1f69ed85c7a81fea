"""How a run is done again: the command line that repeats it, and the one that goes on after an interruption."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from raysubset.errors import InterruptedRunError

if TYPE_CHECKING:
    from raysubset.tuning.nas_run import NasRun
    from raysubset.tuning.run import Run


def this_command(name: str) -> str:
    """Return the command line that repeats this one: ``raysubset <name> ...``, or a program that calls it."""
    return shlex.join(["raysubset", *sys.argv[1:]] if sys.argv[1:2] == [name] else ["python", *sys.argv])


@contextmanager
def gone_on_with(run: Run | NasRun, name: str, same: str = "--data and --data-dir") -> Iterator[None]:
    """Let an interruption leave a report and say how to go on.

    Args:
        run: What may be interrupted.
        name: The command.
        same: What must be said again, in words.

    Raises:
        InterruptedRunError: The interruption, with these words.
    """
    try:
        yield
    except InterruptedRunError as error:
        again = f"raysubset {name} --resume --name {run.experiment.name} --root {run.folder.parent}"
        raise InterruptedRunError(
            f"{error} So far: {run.report()}. Go on with: {again} (and the same {same})."
        ) from None

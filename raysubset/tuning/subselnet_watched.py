"""A fit that can be watched and stopped: its driver gives signs of life, its stages tell what is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raysubset.errors import InterruptedRunError
from raysubset.report.fit_progress import FitProgress
from raysubset.report.requests import STOP_RUN, STOPPED_BY_REQUEST, asked
from raysubset.tuning.attendance import attended


@contextmanager
def told(folder: Path) -> Iterator[FitProgress]:
    """Drive a fit's folder, and say in it what is done; what ends the block early is said too.

    Raises:
        StorageError: The folder cannot be written.
    """
    progress = FitProgress(folder)
    with attended(folder):
        try:
            yield progress
        except BaseException as error:
            words = str(error).strip()
            progress.failed(f"{type(error).__name__}: {words}" if words else type(error).__name__)
            raise


def heed(folder: Path) -> None:
    """Stop here if somebody asked for it; what is done is kept, the same command goes on.

    Raises:
        InterruptedRunError: Somebody did.
    """
    if STOP_RUN in asked(folder):
        raise InterruptedRunError(
            f"The fit was {STOPPED_BY_REQUEST}; what is done is kept, the same command goes on."
        )

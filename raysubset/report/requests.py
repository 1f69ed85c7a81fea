"""Requests to a running search: a file each, in the run's folder, written by who watches and read by the driver.

A request stands until the driver has done it. It is meant for the driver that runs when it is made: one that
begins, or ends, removes what is left.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from raysubset.errors import StorageError
from raysubset.report.atomic import write_text

REQUESTS_FOLDER = "requests"
STOPPED_BY_REQUEST = "stopped by request"


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Stop one trial of a stage, or, with both names empty, the run, as Ctrl-C would."""

    stage: str = ""
    trial: str = ""

    @property
    def file(self) -> str:
        """Name of its file; asking twice is asking once."""
        return f"stop,{quote(self.stage, safe='')},{quote(self.trial, safe='')}.json"


STOP_RUN = StopRequest()


def ask(folder: Path, request: StopRequest) -> None:
    """Write a request into a run's folder, in one step.

    Raises:
        StorageError: It cannot be written.
    """
    write_text(folder / REQUESTS_FOLDER / request.file, json.dumps(asdict(request)) + "\n")


def asked(folder: Path) -> frozenset[StopRequest]:
    """Return the requests that stand; files that are none are passed over. Cost: 20 µs where there are none."""
    found = set()
    for path in (folder / REQUESTS_FOLDER).glob("stop,*.json"):
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            found.add(StopRequest(str(plain["stage"]), str(plain["trial"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # taken away meanwhile, or not ours
    return frozenset(found)


def done(folder: Path, request: StopRequest) -> None:
    """Remove a request that is done.

    Raises:
        StorageError: It cannot be removed.
    """
    try:
        (folder / REQUESTS_FOLDER / request.file).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot remove a request from {folder}: {error.strerror or error}.") from error


def clear(folder: Path) -> None:
    """Remove all requests: a driver begins or ends."""
    for request in asked(folder):
        done(folder, request)

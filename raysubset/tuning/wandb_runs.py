"""Weights & Biases: a group a run of ours, a run of theirs a trial; offline without a key or a network."""

from __future__ import annotations

import hashlib
import netrc
import os
import socket
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from raysubset.errors import TrackingWarning
from raysubset.tuning.tracking import scalars
from raysubset.types import TrialRecord

PROJECT = "raysubset"  # unless WANDB_PROJECT says otherwise
REACH_S = 3.0  # for the server to answer, before we work offline
_FAILED = 1  # exit code of a run that failed


class WandbRuns:
    """Tells Weights & Biases of every record.

    Its own run description (command line, host, packages, git state) stays off: what leaves this machine is what
    our records say. Offline runs lie in <folder>/wandb, ready for ``wandb sync``. Cost: 0.2 s of CPU a trial.

    Args:
        run: Names the group.
        folder: Of our run.

    Warns:
        TrackingWarning: It works offline; says why.
    """

    def __init__(self, run: str, folder: Path) -> None:
        self._run, self._folder, self._stage = run, folder, ""
        self._open: dict[str, Any] = {}
        self._mode = _mode(folder)

    def stage_started(self, stage: str, trials: int, budget: float) -> None:
        """Note the stage; runs begin with their first record."""
        self._stage = stage

    def trial_started(self, trial: str) -> None:
        """Ignore: a run begins with the first record, which has the configuration."""

    def recorded(self, record: TrialRecord) -> None:
        """Log a record; its step is the samples consumed."""
        if record.trial not in self._open:
            self._open[record.trial] = self._begin(record)
        run = self._open[record.trial]
        run.log(scalars(record), step=record.samples_consumed)
        if record.status != "running":
            run.summary["status"] = record.status
            run.finish(exit_code=_FAILED if record.status == "failed" else 0)
            del self._open[record.trial]

    def stage_ended(self) -> None:
        """Close the runs of trials that wait, or were interrupted; they go on under the same id."""
        for run in self._open.values():
            run.finish()
        self._open.clear()

    def _begin(self, record: TrialRecord) -> Any:
        import wandb

        identity = f"{self._folder.resolve()}/{record.stage}/{record.trial}"
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            group=self._run,
            job_type=record.stage,
            name=f"{record.stage}/{record.trial}",
            id=hashlib.blake2b(identity.encode(), digest_size=8).hexdigest(),
            resume="allow",
            mode=self._mode,
            dir=self._folder,
            config=dict(record.config),
            reinit="create_new",
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                save_code=False,
                x_disable_meta=True,
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )


def _mode(folder: Path) -> Any:
    """Return "online" if a key is known and the server can be reached, else "offline", aloud."""
    import wandb

    if told := os.environ.get("WANDB_MODE"):
        return told
    settings = wandb.setup().settings  # with what its environment variables and files say
    where = urlsplit(settings.base_url)
    has_key = bool(settings.api_key) or _in_netrc(where.hostname or "")
    why = _unreachable(where.hostname, where.port or 443) if has_key else "no key is configured (`wandb login`)"
    if why:
        text = f"Weights & Biases works offline: {why}. Later: wandb sync {folder / 'wandb'}/offline-run-*"
        warnings.warn(text, TrackingWarning, stacklevel=3)
        return "offline"
    return "online"


def _in_netrc(host: str) -> bool:
    """Say whether a key for the host lies where ``wandb login`` puts it."""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _unreachable(host: str | None, port: int) -> str:
    """Say why a server cannot be reached; "" if it can."""
    try:
        socket.create_connection((host or "", port), timeout=REACH_S).close()
    except OSError as error:
        return f"{host} cannot be reached ({error.strerror or error})"
    return ""

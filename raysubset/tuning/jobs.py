"""Jobs: one `hpo.search.Search` between the searcher and the scheduler that Ray Tune wants.

Tune asks a searcher for new trials and a scheduler for trials to go on with, at moments of its own; the search
decides in one place. After a crash the journal may know trials that Tune's last snapshot does not: those are
issued again, under their old names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from raysubset.errors import SchedulerError
from raysubset.hpo.scheduler import Verdict
from raysubset.hpo.search import Search

REPORTED = ("samples_consumed", "score", "rung", "epoch")


class Jobs:
    """What the search has decided and Tune has still to do.

    Args:
        search: Brought to where its journal ends.
        elapsed_s: Seconds since the stage began, over all its sessions.
        keeps_models: The checkpoints of trials that ended are wanted, so one that Tune lost is made again.
    """

    def __init__(self, search: Search, elapsed_s: Callable[[], float], keeps_models: bool = False) -> None:
        self.search, self._elapsed_s, self._keeps_models = search, elapsed_s, keeps_models
        self._trials: dict[str, Trial] = {}
        self._issued: set[str] = set()
        self._restored: set[str] = set()
        self._resuming: list[str] = []
        self._given_up: set[str] = set()

    # ------------------------------------------------------------------ what may run

    def next_config(self) -> dict[str, Any] | str | None:
        """Return a new trial's Tune config, None to be asked again, or FINISHED."""
        if (lost := self._next_lost()) is not None:
            return self._issue(lost)
        start = self.search.next_start()
        if start is not None:
            return self._issue(start.trial)
        return Searcher.FINISHED if self.search.closed and not self._lost() else None

    def _issue(self, name: str) -> dict[str, Any]:
        self._issued.add(name)
        return {"trial": name, "point": dict(self.search.history.points[name])}

    def _lost(self) -> list[str]:
        """Name the trials that Tune does not know (they were started after its last snapshot) and that are live.

        Where models are kept those that ended are among them: nobody has their models.
        """
        wanted = self.search.history.points if self._keeps_models else (*self.search.running, *self.search.paused)
        return [
            name
            for name in wanted
            if name not in self._trials and name not in self._issued and name not in self._restored
        ]

    def _next_lost(self) -> str | None:
        for name in self._lost():
            if name in self.search.running or len(self.search.running) < self.search.concurrency:
                self.search.rewind(name, 0)
                return name
        return None

    def next_to_resume(self) -> Trial | None:
        """Return the paused trial to go on with now; the same until it runs."""
        while (promotion := self.search.next_promotion()) is not None:
            self._resuming.append(promotion.trial)
        ready = (self._trials[name] for name in self._resuming)
        return next((trial for trial in ready if trial.status == Trial.PAUSED), None)

    def losers(self) -> list[Trial]:
        """Return the paused trials that will never go on: those given up, and all once the search is over."""
        names = self._trials if self.search.finished else self._given_up & self._trials.keys()
        return [trial for name in names if (trial := self._trials[name]).status == Trial.PAUSED]

    def told_to_wait(self) -> None:
        """Hear that a searcher waits for trials to end: if they all wait themselves, no more are started."""
        waits = (trial.status == Trial.PAUSED or trial.is_finished() for trial in self._trials.values())  # type: ignore[no-untyped-call]
        if self.search.paused and not self.search.running and all(waits):
            self.search.close()

    def give_up(self, name: str) -> None:
        """Hear that a trial is to end: at once if it is paused, else with its next report."""
        self._given_up.add(name)

    # ------------------------------------------------------------------ what has happened

    def restored(self, names: Iterable[str]) -> None:
        """Hear which trials Tune knows again after a crash."""
        self._restored.update(names)

    def added(self, trial: Trial) -> None:
        """Meet a trial: a new one, one that Tune restored with its experiment, or one whose process died."""
        name = trial.config["trial"]
        again, new = name in self._trials, name in self._issued
        if name not in self.search.history.points:
            raise SchedulerError(f"Trial {name!r} is known to Ray Tune but not to this search's journal.")
        self._trials[name] = trial
        if new and not again:
            return
        saved = trial.latest_checkpoint_result
        if trial.is_finished():  # type: ignore[no-untyped-call]
            self.search.end(name)
        elif not again and name in self.search.paused and saved is not None:
            trial.set_status(Trial.PAUSED)  # type: ignore[no-untyped-call]
        elif again or name in self.search.running or name in self.search.paused or self._keeps_models:
            self.search.rewind(name, int(saved.metrics["samples_consumed"]) if saved else 0)
        else:
            trial.set_status(Trial.TERMINATED)  # type: ignore[no-untyped-call]

    def heard(self, name: str, result: Mapping[str, Any]) -> Verdict:
        """Take in a report; a trial that would be paused and go on at once just goes on."""
        if name in self._resuming:
            self._resuming.remove(name)
        if name not in self.search.running:
            return Verdict.STOP
        verdict = self._report(name, result)
        if verdict is Verdict.PAUSE and (promotion := self.search.next_promotion()) is not None:
            if promotion.trial == name:
                return Verdict.CONTINUE
            self._resuming.append(promotion.trial)
        return verdict

    def ended(self, name: str, result: Mapping[str, Any] | None, failed: bool = False) -> None:
        """Take in that a trial ended: by itself (its last report comes only here), or because it was told to.

        Args:
            name: Of the trial.
            result: Its last report, None for one that was lost, or that waited when a foreign scheduler ended it.
            failed: It was lost.
        """
        samples = int(result["samples_consumed"]) if result and "samples_consumed" in result else 0
        failed = failed or (result is not None and result.get("status") == "failed")
        if result is not None and not failed and name in self.search.running:
            self._report(name, result)
        self.search.end(name, samples, failed)
        # A foreign scheduler trains on where the search has ended the trial.
        self.search.ledger.update(name, samples, None)

    def _report(self, name: str, result: Mapping[str, Any]) -> Verdict:
        """Hand a report to the search, with its score if it reached a rung.

        Raises:
            SchedulerError: The report lacks what every trial must report.
        """
        if missing := [key for key in REPORTED if key not in result]:
            raise SchedulerError(
                f"A trial's report lacks {', '.join(missing)}; it has {', '.join(sorted(map(str, result)))}."
            )
        score = float(result["score"]) if result["rung"] is not None else None
        samples, epochs = int(result["samples_consumed"]), int(result["epoch"])
        return self.search.report(name, samples, score, self._elapsed_s(), epochs)

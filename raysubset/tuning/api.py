"""``raysubset.tune``: a search in one call, and what to do with what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console
from torch import nn

from raysubset.errors import OptionsError
from raysubset.experiment import Experiment, SearchOptions
from raysubset.models.catalog import ModelBuilder
from raysubset.report.run_info import Result
from raysubset.runtime.place import AnyDataset
from raysubset.selection.plan import SubsetPlan
from raysubset.training.recipe import Recipe
from raysubset.tuning.population import check_foreign
from raysubset.tuning.presets import default_space
from raysubset.tuning.progress import RichProgress, Silent
from raysubset.tuning.ranking import RankedTrial
from raysubset.tuning.run import Run, create_run, open_run
from raysubset.tuning.session import open_session
from raysubset.tuning.space import own_space
from raysubset.tuning.tracking import check_trackers, followed
from raysubset.tuning.winner import load_model


@dataclass(slots=True)
class TuneResult:
    """A finished search.

    Attributes:
        trials: Judged trials, best first.
        run: The run behind it; ``run.folder`` holds everything.
    """

    trials: tuple[RankedTrial, ...]
    run: Run
    _retrained: Result | None = field(default=None, repr=False)

    @property
    def best(self) -> RankedTrial:
        """The best trial of the search (not yet retrained)."""
        return self.trials[0]

    def retrain(self) -> Result:
        """Train the best configurations on all data, choose on validation, test the winner once.

        Returns:
            The winner and its accuracies (a regression: RMSE and R2); asked again, the same result without
            training again.
        """
        if self._retrained is None:
            with open_session(self.run) as session:
                self._retrained = session.test(session.retrain(self.trials))
            self.run.note(result=self._retrained)
        return self._retrained

    def load_model(self) -> nn.Module:
        """Return the retrained winner's network, on the CPU, in evaluation mode (retrains first if needed)."""
        self.retrain()
        run = self.run
        return load_model(run.folder / "model", run.experiment.model, run.data.num_classes, run.data.input_shape)

    def report(self) -> Path:
        """Write report.html and return its path."""
        return self.run.report()


def tune(
    *,
    model: str | ModelBuilder,
    data: AnyDataset,
    space: Mapping[str, Any] | None = None,
    plan: SubsetPlan | None = None,
    recipe: Recipe | None = None,
    search: str | Searcher = "tpe",
    scheduler: str | TrialScheduler = "asha",
    trials: int = 16,
    name: str | None = None,
    seed: int = 0,
    root: str | Path = "runs",
    resume: bool = False,
    progress: bool = True,
    track: Sequence[str] = (),
    **options: Any,
) -> TuneResult:
    """Search on subsets of the data.

    Args:
        model: A zoo name, or a callable ``(num_classes, input_shape) -> nn.Module`` with a last ``nn.Linear``; in
            a regression it is asked for 1 output.
        data: A `Dataset`, or a `ShardedDataset` where they are more than memory holds; a validation split is taken
            from the training rows. Float targets make a regression: trained by the squared error, ranked by its
            validation mean, with RMSE and R2 in place of accuracy. Bring them to a deviation of about 1 yourself.
        space: Recipe field -> domain (`raysubset.uniform`, ... or Ray Tune's). Default: the papers' space.
        plan: How trials choose their data. Default: ASP's mixture at a tenth of the data; in a regression it is of
            random, gradient and loss, see `SubsetPlan.for_targets`.
        recipe: How trials train; the space overrides its fields.
        search: "tpe", "random", or a Tune searcher that minimises "score" and knows its own space.
        scheduler: "asha", "none", or a Tune scheduler; give it ``time_attr="samples_consumed"``.
        trials: Configurations to try.
        name: Run name. Default: the time.
        seed: The seed of everything.
        root: Folder of all runs.
        resume: Go on with the run of that name.
        progress: Show live progress.
        track: "mlflow", "wandb", or both: they are told every trial's configuration and records. TensorBoard's
            files are always written, to ``tensorboard`` in the run's folder.
        options: Further fields of `SearchOptions` and `Experiment` (concurrency, score, evaluate, pairing, eta,
            retrain, budget_epochs, validation).

    Returns:
        The judged trials, best first.

    Raises:
        RunExistsError: The name is taken and resume is False.
        SearchSpaceError, OptionsError, BudgetError, UnknownNameError: An option is wrong; see their messages.
        InterruptedRunError: Stopped by Ctrl-C; call again with ``resume=True``.
    """
    check_trackers(track)
    check_foreign(search, scheduler)
    own_scheduler = not isinstance(scheduler, str)
    if resume and name is None:
        raise OptionsError("resume=True needs the name of the run to go on with.")
    validation = options.pop("validation", 0.1)
    if own_scheduler:
        options.setdefault("evaluate", "epochs")  # a foreign scheduler reads the score of every report
    experiment = Experiment(
        name=name or f"tune-{datetime.now():%Y%m%d-%H%M%S}",
        model=model,
        plan=plan or SubsetPlan(),
        recipe=recipe or Recipe(),
        space=own_space(space) if space is not None else default_space((64, 128, 256)),
        search=_search_options(
            search=search if isinstance(search, str) else "random",
            scheduler="none" if own_scheduler else str(scheduler),
            trials=trials,
            **options,
        ),
        validation=validation,
        seed=seed,
    )
    listener = RichProgress(Console(stderr=True)) if progress else Silent()
    if resume:
        run = open_run(Path(root) / experiment.name, data, listener, experiment)
    else:
        run = create_run(experiment, data, Path(root), listener, command="raysubset.tune(...)", settings={})
    run = replace(
        run,
        listener=followed(run.listener, track, run.experiment.name, run.folder),
        searcher=None if isinstance(search, str) else search,
        scheduler=None if isinstance(scheduler, str) else scheduler,
    )
    with open_session(run) as session:
        return TuneResult(session.search(), run)


def _search_options(**options: Any) -> SearchOptions:
    try:
        return SearchOptions(**options)
    except TypeError as error:
        known = ", ".join([*SearchOptions.__dataclass_fields__, "validation"])
        raise OptionsError(f"tune: {error}. Known options: {known}.") from error

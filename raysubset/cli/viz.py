"""``raysubset viz``: what went on inside a training: rank traces, easiest and hardest images, metrics drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from raysubset.cli.data import open_data
from raysubset.data.dataset import Dataset
from raysubset.data.split import stratified_split
from raysubset.errors import OptionsError
from raysubset.experiment import Experiment
from raysubset.report.comparison import STAGE, Comparison, read_comparison
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.report.run_info import RunInfo
from raysubset.report.traces import TRACE_FOLDER, RankTrace
from raysubset.report.trials import epoch_mix
from raysubset.selection.mixture import metric_probabilities
from raysubset.selection.plan import SubsetPlan

if TYPE_CHECKING:
    from raysubset.report.svg import Picture

PAGE = "viz.html"


def viz(
    run: Annotated[Path, typer.Argument(help="Folder of a run of train or ablate.")],
    trial: Annotated[
        str | None,
        typer.Option(help="Whose trace: train-0000, ... (default: the first; train --trace keeps them)."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the run's data set lies, for its images (default: $RAYSUBSET_DATA).")
    ] = None,
) -> None:
    """Draw rank traces, the easiest and hardest images and the metrics of the mixture; writes RUN/viz.html."""
    from raysubset.report.atomic import write_text
    from raysubset.report.headline import Headline
    from raysubset.report.page import Page, Part, render_page
    from raysubset.report.run_page import subtitle

    info, comparison = RunInfo.read(run), read_comparison(run)
    missing: list[str] = []
    pictures = [*_traced(run, info, trial, data_dir, missing), *_mixtures(run, info, comparison, missing)]
    page = Page(
        title=f"{info.name}: inside its trainings",
        subtitle=subtitle(info),
        notices=(),
        headline=Headline((f"{len(pictures)} figures of {info.name}.",), (), tuple(missing)),
        facts=(("run", info.name),),
        parts=(Part("Inside its trainings", pictures=tuple(pictures)),) if pictures else (),
        command=info.command,
    )
    write_text(run / PAGE, render_page(page))
    for line in (*missing, f"figures: {run / PAGE}"):
        Console().print(line, highlight=False, soft_wrap=True)


def _traced(
    run: Path, info: RunInfo, trial: str | None, data_dir: Path | None, missing: list[str]
) -> list[Picture]:
    """Draw one training's trace, and its extremes where the data set is at hand."""
    from raysubset.report.trace_figures import SHOWN, extremes, rank_traces

    known = {path.stem: path for path in sorted((run / TRACE_FOLDER).glob("*.npz"))}
    if trial is not None and trial not in known:
        raise OptionsError(f"--trial {trial!r} has no trace in {run}. Known: {', '.join(known) or 'none'}.")
    if not known:
        missing.append("Rank traces: none were kept (train --trace keeps them, of ways that remember).")
        return []
    name = trial or next(iter(known))
    trace = RankTrace.read(known[name])
    drawn = [rank_traces(trace, name)]
    data = str(info.settings["data"])
    loaded = open_data(data, data_dir, info.settings["limit"])
    if not isinstance(loaded, Dataset):
        missing.append(f"Images: {data} is sharded, and its rows are not read here.")
        return drawn
    if loaded.fingerprint() != info.settings["fingerprint"]:
        missing.append(f"Images: {data} as it is here is not what the run was trained on.")
        return drawn
    experiment = Experiment.from_toml(info.settings["experiment"])
    kept, _ = stratified_split(loaded.train.labels, experiment.validation, experiment.seed)
    for which, rows in (("easiest", trace.easiest(SHOWN)), ("hardest", trace.hardest(SHOWN))):
        split = loaded.train.take(kept[rows])
        drawn.append(extremes(trace, split.inputs, [str(label) for label in split.labels], which))
    return drawn


def _mixtures(run: Path, info: RunInfo, comparison: Comparison, missing: list[str]) -> list[Picture]:
    """Draw the mixture's probabilities in its first form, beside what all trainings in that form drew."""
    from raysubset.report.trace_figures import metric_probabilities_figure

    plans = {name: SubsetPlan(**options) for name, options in comparison.plans.items()}
    mixtures = {name: plan for name, plan in plans.items() if plan.selector == "asp" and plan.metric == "mixture"}
    if not mixtures:
        missing.append("Metrics: no way of this run draws them.")
        return []
    plan = next(iter(mixtures.values()))
    alike = {name for name, other in mixtures.items() if (other.order, other.sigma) == (plan.order, plan.sigma)}
    rows = [row for row in read_records(run / RECORDS_FILE).rows if row.stage.startswith(STAGE)]
    mix = epoch_mix(row for row in rows if row.config["plan"] in alike)
    what = f"order g{plan.order}, sigma {plan.sigma:g}"
    return [metric_probabilities_figure(metric_probabilities(info.epochs, plan.order, plan.sigma), mix, what)]

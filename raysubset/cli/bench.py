"""``raysubset bench``: what selection costs, and what it is worth."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from typer import Argument, Option

from raysubset.cli.commands import PLAIN
from raysubset.cli.defaults import is_coloured
from raysubset.cli.grouped import grouped
from raysubset.cli.options import DataDir, Json, Limit
from raysubset.data.catalog import load_dataset
from raysubset.errors import OptionsError, UnknownNameError
from raysubset.selection.catalog import known_selectors
from raysubset.training.recipe import Recipe

if TYPE_CHECKING:
    from raysubset.bench.selectors import Outcome, Study
    from raysubset.bench.verdict import Row

bench = typer.Typer(help="Measure what selection costs, and what it is worth.", no_args_is_help=True, **PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeOptions:
    """How every run trains."""

    epochs: Annotated[int, Option(help="Epochs of a run that spends nothing on selection.")] = 30
    batch_size: Annotated[int, Option(help="Rows a batch.")] = 32
    lr: Annotated[float, Option(help="Learning rate, cosine to 0.")] = 0.05

    def recipe(self, colour: bool) -> Recipe:
        """Return the recipe: that of the papers for colour images, without flips and crops for others."""
        return Recipe(
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            momentum=0.9,
            weight_decay=5e-4,
            flip=0.5 if colour else 0.0,
            crop_padding=4 if colour else 0,
            channels_last=colour,  # a fifth to a half faster on CPUs for ResNet-8, no slower for LeNet
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """What is compared, and how often."""

    model: Annotated[str, Option(help="Model of the zoo.")] = "lenet"
    ratio: Annotated[list[float] | None, Option(help="Share of the data an epoch; repeat for several.")] = None
    seeds: Annotated[int, Option(help="Seeds 0..N-1.")] = 3
    select_every: Annotated[int, Option(help="Epochs between choices that look at the model.")] = 10
    scout_epochs: Annotated[int, Option(help="Epochs of the model trained beforehand.")] = 3
    trials: Annotated[int, Option(help="Trials of a search that share scouts and embeddings.")] = 16

    def study(self, recipe: Recipe) -> Study:
        """Return the study of runs that train by a recipe."""
        from raysubset.bench.selectors import Study

        said = asdict(self)
        return Study(recipe=recipe, ratios=tuple(said.pop("ratio") or (0.05, 0.1)), **said)


@bench.command("selectors")
@grouped
def selectors(
    *,
    names: Annotated[
        list[str] | None, Argument(help="Selectors, or SELECTOR:METRIC:SCHEDULE (default: all of the catalogue).")
    ] = None,
    data: Annotated[
        str,
        Option(help="cifar10, cifar100, mnist, fashion-mnist, embedded, digits, breast-cancer, wine or a folder."),
    ] = "embedded",
    data_dir: DataDir = None,
    limit: Limit = None,
    training: RecipeOptions,
    compared: StudyOptions,
    against: Annotated[str, Option(help="What every other one is compared with.")] = "adaptive-random",
    out: Annotated[
        Path, Option(help="Outcomes, one JSON line each; a comparison goes on where it stopped.")
    ] = Path("selectors.jsonl"),
    as_json: Json = False,
) -> None:
    """Train one model on subsets of every selector, at equal samples, against adaptive random.

    A name may say the metric and the schedule too: asp:loss, asp:adaptive:dynamic, adaptive-random:dynamic.
    """
    loaded = load_dataset(data, data_dir, limit=limit, allow_fallback=False)

    import torch

    from raysubset.bench.selectors import plan_for, run_study
    from raysubset.bench.verdict import compare

    torch.set_num_threads(1)  # this process is ours
    study = compared.study(training.recipe(is_coloured(loaded)))
    for name in (against, *(names or ())):
        plan_for(name, study.ratios[0], study)  # a misspelt name must not wait for its turn
    console = Console(stderr=as_json)
    contenders = (against, *(names or known_selectors()))
    outcomes = run_study(loaded, study, contenders, out, lambda outcome: _tell(outcome, console))
    rows = compare(outcomes, against)
    if as_json:
        print(json.dumps([{**asdict(row), "verdict": row.verdict} for row in rows], default=str))
        return
    for share in study.ratios:
        title = f"{loaded.name}, {len(loaded.train):,} rows, {study.model}, ratio {share:g}, {study.seeds} seeds"
        console.print(_table(title, [row for row in rows if row.ratio == share]))


def _tell(outcome: Outcome, console: Console) -> None:
    accuracy = "failed" if outcome.accuracy is None else f"{100 * outcome.accuracy:.2f} %"
    seconds = outcome.train_s + outcome.select_s
    console.print(
        f"{outcome.selector} ratio {outcome.ratio:g} seed {outcome.seed}: {accuracy}, "
        f"{outcome.samples:,} samples, {seconds:.1f} s {outcome.note}",
        highlight=False,
        soft_wrap=True,
    )


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title)
    for heading in (
        "selector",
        "accuracy %",
        "gap (95 %)",
        "verdict",
        "samples",
        "wall",
        "cpu",
        "selection",
        "evidence",
    ):
        names = heading in ("selector", "verdict")
        table.add_column(heading, justify="left" if names else "right", overflow="fold")
    table.columns[0].min_width = max(len(row.selector) for row in rows)
    for row in rows:
        failed = math.isnan(row.accuracy)
        table.add_row(
            row.selector,
            "failed" if failed else f"{100 * row.accuracy:.2f}",
            "" if failed else f"{100 * row.gap:+.2f} ({100 * row.low:+.2f}..{100 * row.high:+.2f})",
            row.note or row.verdict,
            f"{row.samples:.2f}",
            f"{row.wall:.2f}x",
            f"{row.cpu:.2f}x",
            f"{100 * row.selection:.1f} %",
            f"{row.evidence:.2f}",
        )
    return table


@bench.command("kernels")
def kernels(
    case: Annotated[list[str] | None, Option(help="Case to run; repeat for several (default: all).")] = None,
    gradients: Annotated[
        Path | None,
        Option(help="An .npz file with residuals, features, labels and val_logits, val_features, val_labels."),
    ] = None,
    data: Annotated[
        str, Option(help="Without --gradients: images to train ResNet-8 on for an epoch.")
    ] = "cifar10",
    data_dir: DataDir = None,
    cache: Annotated[
        Path, Option(help="Without --gradients: where that model's outputs are kept, and read if they are there.")
    ] = Path("kernel-gradients.npz"),
    repeats: Annotated[int, Option(help="Runs of each contender, each in a fresh process.")] = 3,
    n: Annotated[int | None, Option("--n", help="Most rows of a case, for a quick look.")] = None,
    as_json: Annotated[bool, Option("--json", help="Print every run and the table as JSON.")] = False,
) -> None:
    """Measure our kernels against peers: CPU seconds of one thread, quality and memory, on real gradients.

    Peers are submodlib-py and apricot-select (pip install 'raysubset[peers]') and torch.
    """
    from raysubset.bench.kernels import CASES
    from raysubset.bench.model_outputs import observe_briefly, read_outputs, write_outputs
    from raysubset.bench.runs import run_all
    from raysubset.cli import kernel_table

    for name in case or ():
        if name not in CASES:
            raise UnknownNameError.of("case", name, CASES)
    if repeats < 1 or (n is not None and n < 100):
        raise OptionsError(f"repeats={repeats}, n={n}: need repeats >= 1 and n >= 100.")
    console = Console(stderr=as_json)
    file = gradients or cache
    if gradients is None and not cache.exists():
        loaded = load_dataset(data, data_dir, allow_fallback=False)
        console.print(f"Training ResNet-8 on {loaded.name}; its outputs go to {cache}.", highlight=False)
        write_outputs(cache, observe_briefly(loaded))
    read_outputs(file)  # what is wrong with it is said once
    chosen = [CASES[name] for name in case or CASES]
    runs = list(run_all(chosen, file, repeats, n, lambda run: kernel_table.tell_run(run, console)))
    if as_json:
        print(kernel_table.as_json(runs))
    else:
        kernel_table.print_tables(chosen, runs)

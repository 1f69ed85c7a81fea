"""An architecture search from data to a cell: train a supernet, judge candidates, ask the table, draw, retrain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from raysubset.data.batches import RowSource
from raysubset.errors import DataError, OptionsError
from raysubset.models.catalog import build_model
from raysubset.nas.pictures import cell_pictures
from raysubset.nas.space import CellSpace
from raysubset.nas.strategies import AgingEvolution, Evolution, Listed, Strategy, draw_distinct, random_search
from raysubset.nas_experiment import NasExperiment
from raysubset.report.agreement import agreement
from raysubset.report.cell_figure import draw_cells
from raysubset.report.nas_info import NasInfo, RankAgreement, TableVerdict
from raysubset.report.selections import Selections
from raysubset.runtime.architectures import derived_cell, final_builder, find_space, supernet_builder
from raysubset.runtime.judges import Judgement
from raysubset.runtime.place import place
from raysubset.runtime.session import Slots, cluster_slots, ray_session
from raysubset.runtime.sides import first_pool
from raysubset.runtime.store import store_split
from raysubset.selection.plan import SubsetPlan
from raysubset.training.checkpoint import load_checkpoint, save_checkpoint
from raysubset.tuning.attendance import Judging, attended, heeding
from raysubset.tuning.judging import CANDIDATES_FILE, FINALISTS_FILE, CandidateLog, JudgePool, chunk_size
from raysubset.tuning.nas_run import NasRun
from raysubset.tuning.nas_stage import train_stage
from raysubset.tuning.nas_trainable import FinalTraining, NasSetting
from raysubset.tuning.stage import CHECKPOINT_EVERY_S
from raysubset.tuning.watching import with_examples

SUPERNET_FOLDER = "supernet"
CUTOUT_SHARE = 2  # of an image's shorter side one half is blanked: 16 pixels of 32 (DARTS, section 3.2)


def search_architecture(run: NasRun) -> NasInfo:
    """Run the search to its end, or go on with it.

    Raises:
        OptionsError: The search reads a table and there is none, or the table lacks cells.
        SearchFailedError: The supernet diverged.
        InterruptedRunError: Stopped before its end; go on with the same folder.
    """
    experiment = run.experiment
    if experiment.candidates.objective == "table" and not experiment.trains_supernet:
        _found(run, _ranked(run, _by_table(run))[0])
        return run.info
    with attended(run.folder), ray_session():
        slots = cluster_slots(run.concurrency)
        setting = place_rows(run, slots)
        if experiment.trains_supernet:
            _search_supernet(run, setting, slots)
        else:
            with closing(JudgePool(setting, None, slots, chunk_size(experiment))) as pool:
                _found(run, _ranked(run, pool.judge)[0])
        if experiment.retrain_epochs:
            _retrain(run, setting, slots)
    return run.info


def place_rows(run: NasRun, slots: Slots) -> NasSetting:
    """Put the rows into the object store; returns all that trainings and judges share."""
    rows, held_out, transform = place(run.data, *run.rows)
    device = "cuda" if slots.gpus > 0 else "cpu"
    classes, ids = run.data.num_classes, np.concatenate(run.rows)
    return NasSetting(run.experiment, rows, held_out, transform, classes, device, CHECKPOINT_EVERY_S, ids)


def _search_supernet(run: NasRun, setting: NasSetting, slots: Slots) -> None:
    experiment, kept = run.experiment, run.folder / SUPERNET_FOLDER
    if not kept.exists():
        trained = train_stage("supernet", setting, slots, run.folder, run.listener, _planned_samples(run))
        last = trained.last
        run.note(
            supernet_wall_s=last.finished_s,
            supernet_train_s=trained.train_s,
            supernet_samples=last.samples_consumed,
            supernet_epochs=last.equiv_epochs,
        )
        state = load_checkpoint(trained.checkpoint)
        _keep_choices(run, setting, state.get("counted"))
        save_checkpoint(kept, {"model": state["model"]})
    weights = load_checkpoint(kept)["model"]
    if experiment.is_bilevel:
        network = build_model(
            supernet_builder(experiment),
            num_classes=run.data.num_classes,
            input_shape=run.data.input_shape,
            seed=0,
        )
        network.load_state_dict(weights)
        _write_down(run, derived_cell(network), None)
        return
    with closing(JudgePool(setting, weights, slots, chunk_size(experiment))) as pool:
        ranked = _ranked(run, pool.judge)
        _compare(run, pool.judge)
    if count := experiment.candidates.finalists:
        ranked = _finals(run, setting, slots, _finalists(experiment, ranked, count))
    _found(run, ranked[0])


def _keep_choices(run: NasRun, setting: NasSetting, counted: Mapping[str, Any] | None) -> None:
    """Write which rows the supernet was trained on, for the report; a stage of an earlier version counted none."""
    if counted is None:
        return
    pool: RowSource = setting.train.open()
    if run.experiment.is_bilevel:
        mode = "refresh" if run.experiment.reads_cells else run.experiment.split  # the reading too has one pool
        pool = first_pool(mode, pool, setting.validation.open())
    known = Selections.of(counted, pool.labels, tuple(run.data.classes))
    if known.counted or known.in_batch:
        with_examples(known, pool).write(run.folder)


def _planned_samples(run: NasRun) -> int:
    experiment, info = run.experiment, run.info
    n = info.n_train + (info.n_validation if experiment.is_bilevel else 0)
    plan = experiment.plan.resolved("full")
    return int(plan.timetable(n, experiment.recipe.epochs).costs.sum())


# ---------------------------------------------------------------------- candidates


def _ranked(run: NasRun, judge: Judging) -> list[Judgement]:
    """Judge what the strategy proposes; returns each cell once, best first, of equals the first judged."""
    log = CandidateLog.open(run.folder / CANDIDATES_FILE)
    strategy = _strategy(run.experiment)
    judged: dict[str, Judgement] = {}
    count, judge = 0, heeding(judge, run.folder)
    while cells := strategy.ask():
        named = {str(cell): cell for cell in cells}
        found = log.judged(list(named), judge)
        strategy.tell({named[one.cell]: one.score for one in found})
        judged |= {one.cell: one for one in found}
        count += len(found)
    run.note(judged=count, judged_s=log.judged_s, judged_samples=sum(one.samples for one in judged.values()))
    return _best_first(judged.values())


def _finalists(experiment: NasExperiment, ranked: Sequence[Judgement], count: int) -> list[str]:
    """Return the supernet's best cells and as many drawn ones, or one less.

    Shared weights may rank no better than chance, or worse: their best are then poor cells all of them, and among
    the drawn ones there are good ones.
    """
    best = [one.cell for one in ranked[: count - count // 2]]
    drawn = map(str, draw_distinct(find_space(experiment.space), count, experiment.seed, "finalists"))
    return [*best, *islice((cell for cell in drawn if cell not in best), count // 2)]


def _finals(run: NasRun, setting: NasSetting, slots: Slots, cells: Sequence[str]) -> list[Judgement]:
    """Train each of some cells by itself, and judge them by that; returns them, best first."""
    log = CandidateLog.open(run.folder / FINALISTS_FILE)
    trained = replace(setting, experiment=of_finalists(run.experiment))
    with closing(JudgePool(trained, None, slots, 1)) as pool:
        found = log.judged(cells, heeding(pool.judge, run.folder))
    samples = sum(one.samples for one in found)
    run.note(finalists=len(found), finalists_s=log.judged_s, finalists_samples=samples)
    return _best_first(found)


def of_finalists(experiment: NasExperiment) -> NasExperiment:
    """Return how finalists are trained and judged: few epochs, no full one first, all validation rows.

    They differ by a point or two, and a thousand rows tell two points apart at best.
    """
    first = "scheduled" if experiment.plan.first_epoch == "auto" else experiment.plan.first_epoch
    return replace(
        experiment,
        plan=replace(experiment.plan, first_epoch=first),
        recipe=replace(experiment.recipe, epochs=experiment.candidates.finalist_epochs),
        candidates=replace(experiment.candidates, rows=0),
    )


def _best_first(judged: Iterable[Judgement]) -> list[Judgement]:
    return sorted(judged, key=lambda one: -one.score)


def _strategy(experiment: NasExperiment) -> Strategy[Any]:
    """Return what proposes cells.

    Raises:
        OptionsError: An exhaustive search of a space that nobody has listed.
    """
    space: CellSpace[Any] = find_space(experiment.space)
    options, seed = experiment.candidates, experiment.seed
    population = min(options.population, options.count)
    if experiment.algo == "evolution":
        sample = min(10, population)
        return AgingEvolution(space, seed, candidates=options.count, population=population, sample=sample)
    if experiment.algo in ("rsps", "random") or options.strategy == "random":
        return random_search(space, options.count, seed)
    if options.strategy == "evolution":
        parents = max(1, min(10, population // 2))
        return Evolution(space, seed, candidates=options.count, population=population, parents=parents)
    if not isinstance(space, Iterable):
        raise OptionsError(f"strategy='exhaustive': the cells of {experiment.space!r} cannot be listed.")
    return Listed(space)


def _by_table(run: NasRun) -> Judging:
    """Judge by the table's validation accuracy after the fewest epochs known: nothing is trained."""
    if (table := run.table) is None:
        raise OptionsError("objective='table' needs --table FILE, a benchmark of the space's cells.")
    if not table.epochs_known:
        raise OptionsError(f"objective='table': {table.source} has no validation accuracies.")
    epochs = table.epochs_known[0]

    def judge(cells: Sequence[str]) -> Iterable[Judgement]:
        for cell in cells:
            accuracy = table.valid(cell, epochs)
            yield Judgement(cell, accuracy, accuracy, float("nan"), 0.0)

    return judge


def _compare(run: NasRun, judge: Judging) -> None:
    """Judge a random draw of cells too, and see how well their scores rank the table's test accuracies."""
    if run.table is None or run.compared < 2:
        return
    space = find_space(run.experiment.space)
    cells = [str(cell) for cell in draw_distinct(space, run.compared, run.experiment.seed, "compared")]
    log = CandidateLog.open(run.folder / "compared.jsonl")
    scores = [one.score for one in log.judged(cells, heeding(judge, run.folder))]
    found = agreement(scores, [run.table.test(cell) for cell in cells])
    low, high = (None, None) if found.interval is None else (found.interval.low, found.interval.high)
    run.note(agreement=RankAgreement(found.tau, low, high, len(cells)))


# ---------------------------------------------------------------------- what was found


def _found(run: NasRun, best: Judgement) -> None:
    _write_down(run, best.cell, best.score)


def _write_down(run: NasRun, cell: str, score: float | None) -> None:
    """Write down the cell, what the table says of it, and its picture."""
    verdict = None
    if (table := run.table) is not None:
        valid = table.valid(cell) if table.epochs_known else None
        best = table.test(table.best)
        verdict = TableVerdict(
            data=table.data,
            valid=valid,
            test=table.test(cell),
            rank=table.rank(cell),
            cells=len(table.cells()),
            best_test=best,
            median_test=table.median_test,
        )
    run.note(cell=cell, score=score, table=verdict)
    pictures = cell_pictures(find_space(run.experiment.space).parse(cell), run.experiment.name)
    for kind in ("svg", "png"):
        draw_cells(run.folder / f"cell.{kind}", pictures)


def _retrain(run: NasRun, setting: NasSetting, slots: Slots) -> None:
    """Train the found DARTS network on all rows, with cutout, auxiliary head and drop path; test it once.

    Raises:
        DataError: There are no test rows.
    """
    if run.data.test is None:
        raise DataError(f"{run.data.name} has no test rows to judge the retrained network by.")
    rows = place(run.data, np.arange(len(run.data.train)), run.rows.validation)
    final = replace(
        setting,
        train=rows.train,
        validation=store_split(run.data.test),
        transform=rows.transform,
        final=final_training(run.experiment, str(run.info.cell), min(run.data.input_shape[1:])),
    )
    planned = len(run.data.train) * run.experiment.retrain_epochs
    trained = train_stage("retrain", final, slots, run.folder, run.listener, planned)
    last = trained.last
    run.note(
        retrained={
            "epochs": last.epoch,
            "wall_s": last.finished_s,
            "test_accuracy": float(last.val_accuracy or 0.0),
        }
    )


def final_training(experiment: NasExperiment, genotype: str, side: int) -> FinalTraining:
    """Return how a genotype is trained on images of ``side`` pixels: on everything, half a side cut out."""
    builder = final_builder(genotype, experiment.retrain_channels, experiment.retrain_cells)
    recipe = replace(experiment.recipe, epochs=experiment.retrain_epochs, cutout=side // CUTOUT_SHARE)
    return FinalTraining(builder, recipe, SubsetPlan.full())

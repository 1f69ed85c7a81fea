"""The report of an evaluated fit of SubSelNet: nothing is trained, the fit and its outcomes are read.

Subsets are drawn anew from the fit for overlap, time and soundness; accuracies and costs are of the outcomes.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from time import perf_counter

import numpy as np

from raysubset.errors import DataError
from raysubset.report.atomic import write_text
from raysubset.report.subselnet_facts import (
    FACILITY_LOCATION,
    EncoderFacts,
    KlFacts,
    ObjectiveFacts,
    SettingFacts,
    StudyFacts,
    SubsetFacts,
)
from raysubset.report.subselnet_measures import mean_overlap
from raysubset.report.subselnet_page import report_html, report_markdown
from raysubset.runtime.subset_methods import UNINFORMED
from raysubset.seeds import generator
from raysubset.selection.protocol import Context
from raysubset.subselnet.bank import LogitBank
from raysubset.subselnet.diagnostics import (
    COMPARED,
    Draws,
    draw,
    farthest_apart,
    faults,
    one_thread,
    same_cell_overlap,
    twin_distance,
)
from raysubset.subselnet.kl_table import kl_table
from raysubset.subselnet.objectives import objectives
from raysubset.subselnet.predictor import ArchitecturePredictor
from raysubset.subselnet.selector import open_predictor
from raysubset.tuning.subselnet_evaluate import EvaluationOptions, evaluation_rows
from raysubset.tuning.subselnet_fit import bank_folder, cell_names
from raysubset.tuning.subselnet_outcomes import Outcomes, cost_facts, ranking_facts, validation_means
from raysubset.tuning.subselnet_piece import FULL
from raysubset.tuning.subselnet_run import SubSelNetRun

MARKDOWN_FILE, HTML_FILE = "evaluation.md", "evaluation.html"
LOOKED_AT = 0.1  # size of the subsets that are drawn anew; the nearest that was evaluated
DISTANT = 5  # cells, as in the paper's table 9
MOST_COVERED = 10_000  # rows; facility location grows with their square, and serves no query here


def write_study(run: SubSelNetRun, outcomes: Outcomes, options: EvaluationOptions) -> tuple[Path, Path]:
    """Write evaluation.md and evaluation.html, each in one step; returns their paths.

    Raises:
        StorageError: The fit is not finished, its bank is missing, or a file cannot be written.
        DataError: See `study_facts`.
    """
    with one_thread():
        facts = study_facts(run, outcomes, options)
    rows = evaluation_rows(outcomes)
    pages = {MARKDOWN_FILE: report_markdown(facts, rows), HTML_FILE: report_html(facts, rows)}
    for name, text in pages.items():
        write_text(run.folder / name, text)
    return run.folder / MARKDOWN_FILE, run.folder / HTML_FILE


def study_facts(run: SubSelNetRun, outcomes: Outcomes, options: EvaluationOptions) -> StudyFacts:
    """Gather the facts of a fit and its evaluation.

    Args:
        run: The fit.
        outcomes: Of `evaluate_fit`, with those on all rows.
        options: Of that evaluation.

    Raises:
        DataError: The bank lacks an unseen cell: the outcomes are of another fit of that name.
        StorageError: The fit is not finished, or its bank is missing.

    Cost: a few draws of each sampler a cell and ratio, 8 passes over the rows, and a facility location: about 15 s
    of one core for 4,000 rows, 12 cells and 3 ratios; a few times n C numbers.
    """
    predictor = open_predictor(run.folder)
    return StudyFacts(
        setting=_setting(run, outcomes, options),
        encoder=_encoder(run, predictor),
        kl=_kl(run, predictor),
        objectives=_objectives(run, predictor, options),
        subsets=_subsets(run, predictor, options),
        costs=cost_facts(run.info.stages, outcomes, len(run.folds.supervisors)),
        rankings=ranking_facts(outcomes, options),
        validation=validation_means(outcomes),
    )


def _setting(run: SubSelNetRun, outcomes: Outcomes, options: EvaluationOptions) -> SettingFacts:
    info, experiment, folds = run.info, run.experiment, run.folds
    return SettingFacts(
        **{name: getattr(info, name) for name in ("name", "command", "started", "device", "seed", "versions")},
        **{name: getattr(info, name) for name in ("dataset", "dataset_source", "dataset_note", "limit", "shrink")},
        **{name: getattr(info, name) for name in ("n_train", "n_validation", "num_classes")},
        n_test=0 if run.data.test is None else len(run.data.test),
        input_shape=tuple(run.data.input_shape),
        train_cells=len(folds.train),
        check_cells=len(folds.checks),
        unseen_cells=len(folds.unseen),
        channels=experiment.channels,
        stack_cells=experiment.cells,
        space=experiment.space,
        epochs=experiment.recipe.epochs,
        subset_epochs=options.epochs,
        features=info.stages["features"]["how"],
        feature_columns=info.stages["features"]["columns"],
        encoder_cells=experiment.encoder_cells,
        approximator=experiment.approximator.kind,
        supervisor_accuracy=info.stages["supervisors"]["accuracy"],
        full_accuracy=fmean(outcome.accuracy for piece, outcome in outcomes.items() if piece.method == FULL),
        entropy=options.chosen.entropy,
        trained_entropy=experiment.inductive.entropy,
        trained_ratios=experiment.inductive.ratios,
        methods=options.methods,
        ratios=options.ratios,
        seeds=options.seeds,
    )


def _encoder(run: SubSelNetRun, predictor: ArchitecturePredictor) -> EncoderFacts:
    stage = run.info.stages["encoder"]
    return EncoderFacts(
        op_accuracy=stage["op_accuracy"],
        edge_accuracy=stage["edge_accuracy"],
        edge_baseline=stage["edge_baseline"],
        spread=stage["spread"],
        twins=twin_distance(predictor.encoder),
    )


# ------------------------------------------------------------------ approximator and samplers


def _kl(run: SubSelNetRun, predictor: ArchitecturePredictor) -> KlFacts | None:
    if len(run.folds.unseen) < 2:
        return None
    cells = [*run.folds.supervisors, *run.folds.unseen]
    found = kl_table(
        predictor.approximator,
        predictor.encoder.embed(cells),
        _bank(run),
        predictor.labels,
        np.arange(len(run.folds.train)),
        np.arange(len(run.folds.supervisors), len(cells)),
        run.experiment.seed,
    )
    columns = (found.model, found.permuted, found.class_prior, found.label_conditional, found.per_instance)
    return KlFacts(found.cells, *(tuple(column.tolist()) for column in columns))


def _bank(run: SubSelNetRun) -> LogitBank:
    """Open the bank that the fit's options name, as `supervise_cells` made it."""
    names = cell_names(run)
    bank = LogitBank.open(
        bank_folder(run),
        fingerprint=run.info.fingerprint,
        size=len(run.rows.train),
        num_classes=run.data.num_classes,
    )
    done = bank.done()
    if missing := [name for name in names if name not in done]:
        raise DataError(
            f"The bank in {bank.folder} lacks {len(missing)} of {len(names)} cells, {missing[0]} among them: "
            "it was removed after the evaluation. `raysubset subselnet evaluate` trains them again."
        )
    return bank


def _objectives(
    run: SubSelNetRun, predictor: ArchitecturePredictor, options: EvaluationOptions
) -> tuple[ObjectiveFacts, ...]:
    entropy, seed = options.chosen.entropy, run.experiment.seed
    return tuple(
        objectives(predictor, run.folds.unseen, ratio, entropy, seed) for ratio in sorted(set(options.ratios))
    )


def _subsets(run: SubSelNetRun, predictor: ArchitecturePredictor, options: EvaluationOptions) -> SubsetFacts:
    ratio = min(options.ratios, key=lambda one: (abs(one - LOOKED_AT), one))
    cells, n = run.folds.unseen, len(predictor.labels)
    told, k = options.chosen, max(1, round(ratio * n))
    asked, others = (Draws(k, told.entropy, told.candidates, run.experiment.seed, repeat) for repeat in (0, 1))
    timed = {method: draw(predictor, method, cells, asked) for method in COMPARED}
    alone = {method: taken for method, (_, taken) in timed.items()}
    if n <= MOST_COVERED:
        alone[FACILITY_LOCATION] = _facility_seconds(predictor, k, run.experiment.seed)
    first = {method: subsets for method, (subsets, _) in timed.items()}
    second = {method: draw(predictor, method, cells, others)[0] for method in COMPARED}
    distant = farthest_apart(np.stack([predictor.predict(cell).cell for cell in cells]), DISTANT)
    checked, wrong = faults(predictor, cells, asked, first)
    far = {method: [subsets[place] for place in distant] for method, subsets in first.items()}
    return SubsetFacts(
        ratio=ratio,
        n=n,
        b=k,
        alone=alone,
        checked=checked,
        faults=wrong,
        distant=tuple(str(cells[place]) for place in distant),
        between={method: mean_overlap(subsets) for method, subsets in far.items()} if len(distant) > 1 else {},
        same=same_cell_overlap(first, second),
    )


def _facility_seconds(predictor: ArchitecturePredictor, k: int, seed: int) -> float:
    context = Context(len(predictor.labels), predictor.labels, features=predictor.features)
    started = perf_counter()
    UNINFORMED[FACILITY_LOCATION]().select(context, k, generator(seed, "diagnostics", FACILITY_LOCATION))
    return perf_counter() - started

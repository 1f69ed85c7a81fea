"""The report of a whole small fit, made in this process: facts against brute force, and the command's pages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY
from typer.testing import CliRunner

from raysubset.cli.app import app
from raysubset.data.batches import ArraySource
from raysubset.data.catalog import load_dataset
from raysubset.data.transform import Transform
from raysubset.errors import DataError, OptionsError
from raysubset.report.fit_progress import FitProgress
from raysubset.report.line_file import LineFile
from raysubset.report.subselnet_facts import StudyFacts
from raysubset.report.subselnet_gates import gates
from raysubset.report.subselnet_page import report_sections
from raysubset.runtime.session import Slots
from raysubset.runtime.supervisors import SupervisorOutput
from raysubset.seeds import generator
from raysubset.subselnet.approximator_fit import ApproximatorOptions
from raysubset.subselnet.diagnostics import Draws, draw, farthest_apart, faults, one_thread, same_cell_overlap
from raysubset.subselnet.encoder_fit import EncoderOptions
from raysubset.subselnet.inductive import InductiveOptions
from raysubset.subselnet.objectives import objectives, per_pick
from raysubset.subselnet.selector import open_predictor
from raysubset.subselnet_experiment import SubSelNetExperiment
from raysubset.training.recipe import Recipe
from raysubset.tuning import subselnet_fit
from raysubset.tuning.subselnet_evaluate import EvaluationOptions, evaluation_rows, outcomes_file, read_outcomes
from raysubset.tuning.subselnet_outcomes import cost_facts, paid_once, ranking_facts, validation_means
from raysubset.tuning.subselnet_piece import FULL, Outcome, Piece
from raysubset.tuning.subselnet_run import SubSelNetRun, open_run, start_run
from raysubset.tuning.subselnet_study import HTML_FILE, MARKDOWN_FILE, study_facts

LIMIT, CLASSES, ROWS = 80, 10, 72  # a tenth is held out
METHODS, RATIOS = ("random", "gibbs", "transductive", "inductive", "facility-location"), (0.25, 0.125)
OPTIONS = EvaluationOptions(methods=METHODS, ratios=RATIOS, seeds=2, epochs=3)
EXPERIMENT = SubSelNetExperiment(
    name="tiny", supervisors=3, checks=1, unseen=4, channels=5, embedding="pca", encoder_cells=30, seed=5,
    recipe=Recipe(epochs=1), encoder=EncoderOptions(steps=15, hidden=16),
    approximator=ApproximatorOptions(hidden=16, steps=30, batch=32, check_every=15),
    inductive=InductiveOptions(steps=20, ratios=(0.125, 0.25)),
)  # fmt: skip


def logits_of(cell: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    return generator(0, "logits", cell).normal(0, 2, (ROWS, CLASSES)).astype(np.float32)


def said_by(cell: str, *_: Any) -> SupervisorOutput:
    return SupervisorOutput(logits_of(cell), 0.4, 2.0)


def in_process(work: Any, items: Any, slots: Any, *shared: Any) -> Iterator[Any]:
    for item in items:
        yield item, work(item, *shared)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> SubSelNetRun:
    """A fit by the code that makes fits, without Ray and with made-up networks."""
    data = load_dataset("embedded", limit=LIMIT)
    root = tmp_path_factory.mktemp("runs")
    run = start_run(EXPERIMENT, data, root, command="raysubset subselnet fit", asked="embedded", limit=LIMIT)
    rows = data.train.take(run.rows.train)
    placed: Any = SimpleNamespace(
        train=SimpleNamespace(open=lambda: ArraySource(rows)), transform=Transform.fit(rows.inputs)
    )
    slots = Slots(1, 1, 0, 0)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("spread", in_process), ("ray_session", nullcontext), ("cluster_slots", lambda _: slots),
            ("place", lambda *_: placed), ("_supervise", said_by),
        ):  # fmt: skip
            patch.setattr(subselnet_fit, name, value)
        subselnet_fit.fit_subselnet(run)
        everything = len(run.folds.supervisors) + len(run.folds.unseen)
        subselnet_fit.supervise_cells(run, placed, slots, everything, lambda _: None, FitProgress(run.folder))
    return run


def made_up(run: SubSelNetRun) -> dict[Piece, Outcome]:
    """Return outcomes of every piece, all different."""
    pieces = [
        Piece(method, str(cell), seed, ratio)
        for seed in range(OPTIONS.seeds)
        for cell in run.folds.unseen
        for method, ratio in [(FULL, 1.0), *((method, ratio) for ratio in RATIOS for method in METHODS)]
    ]
    rng = generator(0, "outcomes")
    return {
        piece: Outcome(*rng.uniform(0.2, 0.6, 2), rng.uniform(0, 0.1), rng.uniform(1, 2), 0.5, None)
        if piece.method != FULL
        else Outcome(*rng.uniform(0.5, 0.8, 2), 0.0, 20.0, 0.5, None)
        for piece in pieces
    }


@pytest.fixture(scope="module")
def facts(fitted: SubSelNetRun) -> StudyFacts:
    return study_facts(fitted, made_up(fitted), OPTIONS)


def test_kl_and_its_baselines_are_of_the_right_cells(fitted: SubSelNetRun, facts: StudyFacts) -> None:
    assert facts.kl is not None
    assert facts.kl.cells == tuple(str(cell) for cell in fitted.folds.unseen)
    training = np.mean([softmax(logits_of(str(cell))) for cell in fitted.folds.train], axis=0)
    for cell, mine, prior in zip(facts.kl.cells, facts.kl.per_instance, facts.kl.class_prior, strict=True):
        p = softmax(logits_of(cell))
        assert mine == pytest.approx((p * np.log(p / training)).sum(axis=1).mean(), abs=2e-3)  # logits in float16
        assert prior == pytest.approx((p * np.log(p / training.mean(axis=0))).sum(axis=1).mean(), abs=2e-3)
    assert facts.setting.supervisor_accuracy == 0.4
    assert facts.setting.n_train == ROWS
    assert facts.setting.n_test == len(fitted.data.test or ())


def softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    p = np.exp(logits.astype(np.float64))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def test_objectives_and_subsets_of_a_real_fit(fitted: SubSelNetRun, facts: StudyFacts) -> None:
    assert [one.ratio for one in facts.objectives] == [0.125, 0.25]
    for one in facts.objectives:
        assert {len(values) for values in one.values.values()} == {4}
        assert np.mean(one.values["gibbs"]) < np.mean(one.values["uniform"])
        assert np.mean(one.values["transductive"]) < np.mean(one.values["uniform"])
    subsets = facts.subsets
    assert (subsets.ratio, subsets.n, subsets.b) == (0.125, ROWS, 9)  # the ratio nearest to a tenth
    assert subsets.faults == ()
    assert subsets.checked == 4 * (6 + 2)
    assert subsets.distant == tuple(str(cell) for cell in fitted.folds.unseen)
    assert set(subsets.alone) == {
        "transductive",
        "inductive",
        "hybrid",
        "gibbs",
        "gibbs-per-class",
        "bottom-loss",
        "facility-location",
    }
    assert subsets.same["bottom-loss", "bottom-loss"] == 1
    assert 0 < subsets.same["gibbs", "gibbs"] < 1
    assert {gate.name: gate.holds for gate in gates(facts)}["G7"]


def test_costs_count_what_each_method_needs(fitted: SubSelNetRun) -> None:
    stages, outcomes = fitted.info.stages, made_up(fitted)
    found = cost_facts(stages, outcomes, 4)
    assert set(found.stages) == {"features", "encoder", "supervisors", "approximator", "inductive"}
    assert found.stages["supervisors"] == 8.0  # four of 2 s; the unseen cells' are the evaluation's
    assert (found.full_s, found.train_cells, found.test_cells) == (20.0, 4, 4)
    assert len(found.queries) == len(METHODS) * len(RATIOS)
    for query in found.queries:
        of = [out for one, out in outcomes.items() if (one.method, one.ratio) == (query.method, query.ratio)]
        assert len(of) == 8
        assert query.select_s == pytest.approx(np.mean([out.select_s for out in of]), abs=FLOAT64)
        assert query.train_s == pytest.approx(np.mean([out.train_s for out in of]), abs=FLOAT64)


def test_what_is_paid_once() -> None:
    once = {"features": 1.0, "encoder": 2.0, "supervisors": 4.0, "approximator": 8.0, "inductive": 16.0}
    expected = {
        "random": 0, "el2n": 0, "glister": 0, "facility-location": 1, "gibbs": 15, "transductive": 15,
        "bottom-loss": 15, "released": 15, "inductive": 31, "hybrid": 31,
    }  # fmt: skip
    assert {method: paid_once(method, once) for method in expected} == expected


def test_the_oracle_has_no_cost(fitted: SubSelNetRun) -> None:
    outcomes = made_up(fitted)
    oracle = {replace(p, method="bottom-true-loss"): out for p, out in outcomes.items() if p.method == "gibbs"}
    assert "bottom-true-loss" not in {query.method for query in cost_facts(
        fitted.info.stages, {**outcomes, **oracle}, 4).queries}  # fmt: skip


def test_rankings_begin_with_full_training_and_need_three_cells(fitted: SubSelNetRun) -> None:
    outcomes = made_up(fitted)
    found = ranking_facts(outcomes, OPTIONS)
    assert [(one.method, one.ratio) for one in found][:2] == [(FULL, 1.0), ("random", 0.125)]
    assert len(found) == 1 + len(METHODS) * len(RATIOS)
    assert {one.k for one in found} == {2}
    kept = {str(cell) for cell in fitted.folds.unseen[:2]}
    assert ranking_facts({piece: out for piece, out in outcomes.items() if piece.cell in kept}, OPTIONS) == ()


def test_validation_means_by_hand() -> None:
    outcomes = {
        Piece("a", "x", seed, 0.1): Outcome(0.9, value, 0, 1, 0, None) for seed, value in ((0, 0.2), (1, 0.4))
    }
    assert validation_means(outcomes) == {("a", 0.1): pytest.approx(0.3)}


def test_a_bank_without_a_cell_is_refused(fitted: SubSelNetRun, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(fitted.folder, folder)
    (done,) = folder.glob("bank-*/done.jsonl")
    lines = done.read_text(encoding="utf-8").splitlines(keepends=True)
    done.write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(DataError, match=r"lacks 1 of 8 cells.*trains them again"):
        study_facts(open_run(folder, fitted.data), made_up(fitted), OPTIONS)


def test_threads_are_given_back_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError, match="at 1"), one_thread():
            raise ZeroDivisionError(f"at {torch.get_num_threads()}")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_reading_outcomes_changes_nothing_and_passes_over_a_line_cut_short(fitted: SubSelNetRun, tmp_path) -> None:
    log, made = tmp_path / "o.jsonl", made_up(fitted)
    lines = [json.dumps({**asdict(piece), **asdict(out)}) for piece, out in list(made.items())[:3]]
    log.write_text("\n".join(lines)[:-9])
    before = log.read_bytes()
    assert read_outcomes(log) == dict(list(made.items())[:2])
    assert log.read_bytes() == before
    with LineFile(log) as results:
        results.write(lines[2])
    assert read_outcomes(log) == dict(list(made.items())[:3])


def test_cells_that_were_not_evaluated_are_not_ranked_in_words(fitted: SubSelNetRun) -> None:
    kept = set(map(str, fitted.folds.unseen[:3]))
    outcomes = {piece: out for piece, out in made_up(fitted).items() if piece.cell in kept}
    facts = study_facts(fitted, outcomes, OPTIONS)
    (told,) = [part for part in report_sections(facts, evaluation_rows(outcomes)) if "ecommend" in part.title]
    assert "of 3 unseen cells" in " ".join(told.paragraphs)
    assert len(fitted.folds.unseen) > 3


def test_the_command_writes_both_pages(fitted: SubSelNetRun) -> None:
    log = outcomes_file(fitted, OPTIONS)
    lines = [json.dumps({**asdict(piece), **asdict(out)}) for piece, out in made_up(fitted).items()]
    log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")  # nothing is left to train
    for name in (MARKDOWN_FILE, HTML_FILE):
        assert not (fitted.folder / name).exists()
    asked = ["--methods", ",".join(METHODS), "--ratios", "0.25,0.125", "--seeds", "2", "--epochs", "3"]
    done = CliRunner().invoke(app, ["subselnet", "evaluate", str(fitted.folder), *asked])
    assert done.exit_code == 0, done.output
    text = (fitted.folder / MARKDOWN_FILE).read_text(encoding="utf-8")
    assert "3 epochs on a subset" in text
    title, verdict, *_ = text.split("\n\n")
    assert title == "# SubSelNet on embedded MNIST (5,000): tiny"
    assert verdict in done.output
    assert verdict.split(":")[0] in (fitted.folder / HTML_FILE).read_text(encoding="utf-8")


# ------------------------------------------------------------------ diagnostics


def test_objective_per_pick_is_unbiased() -> None:
    # pi, l and lambda of the enumerated example: E[sum l] - 0.1 H = 0.6485580768 for b = 2
    logits, losses = np.array([0.5, -0.2, 1.0, 0.0]), np.array([0.3, 1.2, 0.1, 0.7])
    values = np.array([per_pick(logits, losses, 2, 0.1, generator(1, "golden", draw)) for draw in range(2000)])
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - 0.6485580768085617 / 2) < 5 * error
    assert error < 2e-3  # a draw that ignored the entropy would be 0.1 off


def test_objectives_share_noise_and_repeat(fitted: SubSelNetRun) -> None:
    predictor, cells = open_predictor(fitted.folder), fitted.folds.unseen
    once, again = (objectives(predictor, cells[:2], 0.25, 0.3, 1, draws=2) for _ in range(2))
    assert once == again
    assert once.values["gibbs"][:1] == objectives(predictor, cells[:1], 0.25, 0.3, 1, draws=2).values["gibbs"]
    flat = objectives(predictor, cells[:1], 0.25, 1e6, 1, draws=2)  # all entropy: the closed form is uniform
    assert flat.values["gibbs"][0] == pytest.approx(flat.values["uniform"][0], rel=1e-6)


def test_faults_are_found(fitted: SubSelNetRun) -> None:
    predictor, cells, asked = open_predictor(fitted.folder), fitted.folds.unseen[:2], Draws(9, 0.3, 4.0, 0)
    sound = {name: draw(predictor, name, cells, asked)[0] for name in ("transductive", "inductive")}
    assert faults(predictor, cells, asked, sound) == (8, ())
    twice, outside, other = (rows.copy() for rows in (sound["transductive"][0],) * 3)
    twice[0], outside[0], other = twice[1], ROWS, other[::-1].copy()
    for bad, words in (
        (twice, "not 9 different"),
        (outside, "not 9 different"),
        (other, "other rows from the same"),
    ):
        _, said = faults(predictor, cells, asked, {**sound, "transductive": [bad, sound["transductive"][1]]})
        assert any(words in one and str(cells[0]) in one for one in said)
        assert any("hybrid" in one and "transductive" in one for one in said)
    _, said = faults(predictor, cells, asked, {**sound, "inductive": sound["transductive"]})
    assert sum("hybrid at 1 b" in one for one in said) == 2


def test_overlap_of_draws_by_hand() -> None:
    first = {"a": [np.array([0, 1]), np.array([0, 1])], "b": [np.array([2, 3]), np.array([1, 2])]}
    second = {"a": [np.array([0, 1]), np.array([1, 2])], "b": [np.array([0, 1]), np.array([8, 9])]}
    assert same_cell_overlap(first, second) == {
        ("a", "a"): pytest.approx((1 + 1 / 3) / 2), ("a", "b"): pytest.approx(1 / 2),
        ("b", "a"): pytest.approx(1 / 2), ("b", "b"): 0,
    }  # fmt: skip


@PROPERTY
@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(2, 5))
def test_distant_cells_hold_the_farthest_pair_and_grow_by_the_farthest(seed: int, m: int, count: int) -> None:
    vectors = generator(seed, "vectors").normal(size=(m, 3)).astype(np.float32)
    kept = farthest_apart(vectors, count)
    assert kept == sorted(set(kept))
    assert len(kept) == min(m, count)
    if m <= count:
        return
    gap = {frozenset(pair): float(np.linalg.norm(vectors[pair[0]].astype(float) - vectors[pair[1]]))
           for pair in combinations(range(m), 2)}  # fmt: skip
    grown = set(max(gap, key=lambda pair: gap[pair]))
    while len(grown) < count:
        grown.add(max(set(range(m)) - grown, key=lambda one: min(gap[frozenset((one, other))] for other in grown)))
    assert set(kept) == grown


@pytest.mark.parametrize("wrong", [{"cells": 0}, {"seeds": 0}, {"epochs": 0}, {"methods": ()}])
def test_an_evaluation_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(OptionsError, match=f"{name}: 0, need at least 1"):
        EvaluationOptions(**{"methods": METHODS, **wrong})

"""The kernel benchmark: its qualities against brute force, its cases at small size, its tables. No times."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tolerances import FLOAT64, of_share

from raysubset.bench import peers, runs
from raysubset.bench.contenders import EPS, IMPORTANCE, Contender, by_matrix
from raysubset.bench.kernel_rows import against_us, rows_of, verdict
from raysubset.bench.kernels import CASES, Case, mean_importance
from raysubset.bench.measure import Reading, metered
from raysubset.bench.model_outputs import KEYS, observe_briefly, read_outputs, write_outputs
from raysubset.bench.quality import Picked, coverage_error, loss_after, match_residual
from raysubset.bench.runs import Run, solve
from raysubset.cli import main
from raysubset.data.dataset import Dataset
from raysubset.errors import DataError
from raysubset.seeds import generator
from raysubset.selection.glister import Glister
from raysubset.selection.gradients import Gradients
from raysubset.selection.protocol import Context, Target
from raysubset.selection.sampling import class_quotas

N, V, C, H = 400, 30, 4, 5
MEGABYTE = 1 << 20


def outputs(rows: int, part: str) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    rng = generator(0, "bench", part)
    logits = rng.normal(size=(rows, C)).astype(np.float32)
    return logits, rng.integers(0, C, rows), rng.normal(size=(rows, H)).astype(np.float32)


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gc.collect", int)  # a tenth of a second each in a large process


@pytest.fixture(scope="module")
def known() -> Context:
    logits, labels, features = outputs(N, "pool")
    residuals = torch.from_numpy(logits).softmax(1).numpy().copy()
    residuals[np.arange(N), labels] -= 1
    val_logits, val_labels, val_features = outputs(V, "validation")
    return Context(
        N,
        labels,
        gradients=Gradients(residuals, features),
        target=Target(val_logits, val_labels, val_features),
        learning_rate=0.05,
    )


def expanded(gradients: Gradients) -> NDArray[np.float64]:
    """One flattened outer product a row."""
    assert gradients.features is not None
    inputs = np.hstack([gradients.features, np.ones((len(gradients), 1))]).astype(np.float64)
    return np.stack(
        [np.outer(r, h).ravel() for r, h in zip(gradients.residuals.astype(float), inputs, strict=True)]
    )


def distances(gradients: Gradients) -> NDArray[np.float64]:
    """All squared distances, from differences."""
    rows = expanded(gradients)
    return np.array([((rows - row) ** 2).sum(axis=1) for row in rows])


def of(known: Context) -> Gradients:
    assert known.gradients is not None
    return known.gradients


@pytest.mark.parametrize("cells", [1 << 22, 70])
def test_coverage_error_is_the_sum_of_squared_distances_to_the_nearest_pick(
    known: Context, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysubset.bench.quality.CELLS", cells)
    picks = np.array([7, 399, 20])
    expected = distances(of(known))[:, picks].min(axis=1).sum()
    assert coverage_error(of(known), picks) == pytest.approx(expected, rel=FLOAT64)


def test_coverage_error_by_class_knows_no_other_class(known: Context) -> None:
    labels = known.labels
    assert labels is not None
    picks = np.concatenate([np.flatnonzero(labels == label)[3:9] for label in range(C)])
    apart = np.where(labels[:, None] == labels[None, picks], distances(of(known))[:, picks], np.inf)
    assert coverage_error(of(known), picks, labels) == pytest.approx(apart.min(axis=1).sum(), rel=FLOAT64)
    assert coverage_error(of(known), picks[:-6], labels) == math.inf


def test_match_residual_is_that_of_the_expanded_gradients(known: Context) -> None:
    picked = Picked(np.array([5, 2, 9]), np.array([30.0, 2.5, 100.0]))
    atoms = expanded(of(known))
    expected = np.linalg.norm(picked.weights @ atoms[picked.rows] - atoms.sum(0)) / np.linalg.norm(atoms.sum(0))
    assert match_residual(of(known), picked) == pytest.approx(expected, rel=FLOAT64)


def test_loss_after_is_that_of_a_layer_that_took_the_step(known: Context) -> None:
    assert known.target is not None
    rows, eta = np.array([1, 8, 4]), 0.3
    step = expanded(of(known))[rows].sum(0).reshape(C, H + 1)
    inputs = torch.from_numpy(known.target.features).double()
    layer = torch.nn.Linear(H, C, dtype=torch.float64)
    with torch.no_grad():
        before = layer(inputs)
        layer.weight -= eta * torch.from_numpy(step[:, :-1])
        layer.bias -= eta * torch.from_numpy(step[:, -1])
        logits = torch.from_numpy(known.target.logits) + layer(inputs) - before
    expected = float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(known.target.labels)))
    assert loss_after(of(known), rows, known.target, eta) == pytest.approx(expected, rel=FLOAT64)


def test_peers_are_given_distances_turned_into_similarities(
    known: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "TILE", 64)
    squared = distances(of(known))
    found = peers.similarities(of(known))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, squared.max() - squared, atol=1e-5 * squared.max())  # float32, cancelling
    assert (found >= 0).all()


def test_textbook_pursuit_finds_the_planted_atoms() -> None:
    atoms = np.linalg.qr(generator(0, "atoms").normal(size=(12, 12)))[0]
    found = peers.textbook_matching_pursuit(atoms, 3 * atoms[7] - 2 * atoms[2] + atoms[5], 12, EPS)
    assert found.rows.tolist() == [7, 2, 5]
    np.testing.assert_allclose(found.weights, [3, -2, 1], rtol=FLOAT64)
    assert len(peers.textbook_matching_pursuit(atoms, atoms.sum(0), 4, EPS).rows) == 4


@pytest.mark.parametrize("peer", [peers.multinomial, peers.gumbel_topk])
def test_draws_of_peers_are_distinct_and_follow_their_seed(peer) -> None:
    values = torch.linspace(0, 1, 100)
    drawn = peer(values, 20, 3)
    assert len(set(drawn.tolist())) == 20
    assert drawn.tolist() == peer(values, 20, 3).tolist() != peer(values, 20, 4).tolist()


def test_noise_for_every_row_draws_by_the_exponentials_of_the_values() -> None:
    draws = 4000
    share = np.mean([peers.gumbel_topk(torch.tensor([0.0, 2.0, 0.0]), 1, seed)[0] == 1 for seed in range(draws)])
    expected = math.exp(2) / (2 + math.exp(2))
    assert abs(share - expected) < of_share(expected, draws)


def assert_greedy(similarity: NDArray[np.float64], picks: list[int]) -> None:
    """Each pick gains as much as any would: rows that cover only each other tie exactly."""
    covered = np.zeros(len(similarity))
    for pick in picks:
        gains = np.maximum(similarity - covered[:, None], 0).sum(axis=0)
        assert gains[pick] == pytest.approx(gains.max(), rel=1e-4)  # they work in float32
        covered = np.maximum(covered, similarity[:, pick])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize(
    ("package", "peer"),
    [
        ("submodlib", peers.submodlib_lazy),
        ("apricot", peers.apricot_lazy),
        ("apricot", peers.apricot_lazy_compiled),
    ],
)
def test_peers_pick_as_plain_greedy_does(known: Context, package: str, peer) -> None:
    pytest.importorskip(package)
    gradients = of(known).take(np.arange(60))
    squared = distances(gradients)
    picks = peer(peers.similarities(gradients), 9).tolist()
    assert len(set(picks)) == 9
    assert_greedy(squared.max() - squared, picks)


OURS = [(case, each) for case in CASES.values() for each in case.contenders if each.package is None]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "contender"), OURS, ids=lambda value: value.name)
def test_every_contender_solves_its_case(case: Case, contender: Contender, known: Context) -> None:
    run = solve(replace(case, calls=min(case.calls, 2)), contender, known, 300, 0)
    assert (run.case, run.contender, run.note) == (case.name, contender.name, "")
    assert 0 < run.picked <= run.k <= run.n <= 300
    assert run.picked == run.k or case.name == "omp"  # which ends when the residual is small enough
    assert math.isfinite(run.quality)


def test_peers_go_class_after_class_and_their_rows_are_those_of_the_pool(known: Context) -> None:
    sizes: list[int] = []

    def last_rows(matrix: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        sizes.append(len(matrix))
        return np.arange(len(matrix) - k, len(matrix))

    assert known.labels is not None
    counts = np.bincount(known.labels)
    run = solve(CASES["craig-class"], Contender("last", by_matrix(last_rows, classes=True)), known, None, 0)
    assert sizes == 2 * counts.tolist()  # once to warm up
    quotas = class_quotas(known.labels, N // 10)
    rows = np.concatenate([np.flatnonzero(known.labels == c)[-quota:] for c, quota in enumerate(quotas)])
    assert (run.picked, run.quality) == (N // 10, coverage_error(of(known), rows, known.labels))


def test_glister_is_judged_by_the_step_it_is_chosen_by(known: Context) -> None:
    assert known.target is not None
    task, rows = CASES["glister"].task(known, N), np.array([3, 5])
    before, each, mean = (loss_after(of(known), rows, known.target, eta) for eta in (0.0, 0.05, 0.05 / 1000))
    assert task.k == N // 50
    assert CASES["glister"].quality(task, Picked(rows)) == pytest.approx(each, rel=FLOAT64)
    assert CASES["glister-mean"].quality(task, Picked(rows)) == pytest.approx(
        before - mean, rel=FLOAT64, abs=1e-15
    )


@pytest.mark.parametrize(("name", "eta"), [("glister", 0.05), ("glister-mean", 0.05 / 1000)])
def test_glister_does_not_follow_a_default_step(name: str, eta: float, known: Context) -> None:
    task = CASES[name].task(known, N)
    step = next(CASES[name].contenders[1].steps(task, 0))
    expected = Glister(greedy="exact", eta=eta).select(known, task.k, generator(0, "unused"))
    assert step().rows.tolist() == expected.indices.tolist()
    other = Glister(greedy="exact", eta=0.05 if eta < 0.05 else 0.05 / 1000)
    assert step().rows.tolist() != other.select(known, task.k, generator(0, "unused")).indices.tolist()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", ["craig-class", "craig-20k"])
def test_peers_and_we_agree_on_small_pools(name: str, known: Context) -> None:
    pytest.importorskip("submodlib")
    pytest.importorskip("apricot")
    qualities = [solve(CASES[name], each, known, 300, 0).quality for each in CASES[name].contenders]
    assert qualities == pytest.approx([qualities[0]] * len(qualities), rel=1e-5)  # theirs is float32


def test_cases_are_complete() -> None:
    for name, case in CASES.items():
        names = [each.name for each in case.contenders]
        assert name == case.name
        assert len(set(names)) == len(names)
        assert not case.contenders[0].peer
        assert case.reference is None or case.reference in names
        assert case.warm_up <= case.rows


def test_importances_are_losses_of_real_rows(known: Context) -> None:
    task = CASES["draw"].task(known, 5000)
    values = task.context.signal(IMPORTANCE)
    logits, labels, _ = outputs(N, "pool")
    losses = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), reduction="none"
    )
    nearest = np.abs(values[:, None] - losses.numpy()[None]).min(axis=1)
    assert (len(values), task.k) == (5000, 500)
    assert nearest.max() < 1e-5  # float32
    assert mean_importance(task, Picked(np.array([3, 4]))) == pytest.approx(float(values[3:5].mean()))


@pytest.mark.slow
def test_extra_memory_is_the_peak_of_the_step_alone() -> None:
    held = np.ones(32 * MEGABYTE, dtype=np.uint8)
    total, reading = metered(lambda: int(np.ones(64 * MEGABYTE, dtype=np.uint8)[-1]) + int(held[-1]))
    assert total == 2
    if reading.extra_bytes is None:
        pytest.skip("This system does not reset the high-water mark.")
    assert 60 * MEGABYTE < reading.extra_bytes < 80 * MEGABYTE
    _, after = metered(lambda: None)
    assert after.extra_bytes is not None
    assert after.extra_bytes < 8 * MEGABYTE


def test_readings_in_a_row_add_times_and_keep_the_larger_memory() -> None:
    assert Reading(1, 2, 30).then(Reading(4, 5, 6)) == Reading(5, 7, 30)
    assert Reading(1, 2, None).then(Reading(4, 5, 6)).extra_bytes is None


def three(contender: str, seconds: list[float], quality: float, megabytes: int) -> list[Run]:
    return [
        Run("craig-20k", contender, repeat, 20, 2, 2, cpu, cpu, (megabytes - repeat) * MEGABYTE, quality)
        for repeat, cpu in enumerate(seconds)
    ]


def test_rows_hold_medians_and_ratios() -> None:
    failed = Run("craig-20k", "apricot lazy", 0, note="not installed")
    done = three("raysubset", [3.0, 1.0, 2.0], 11.0, 5) + three("submodlib lazy", [9.0, 7.0, 8.0], 10.0, 50)
    ours, peer, missing = rows_of([*done, failed])
    assert (ours.cpu_min_s, ours.cpu_s, ours.cpu_max_s, ours.times_ours) == (1.0, 2.0, 3.0, 1.0)
    assert (peer.times_ours, peer.quality_ratio, ours.quality_ratio) == (4.0, 1.0, pytest.approx(1.1))
    assert (ours.extra_bytes, peer.repeats) == (5 * MEGABYTE, 3)
    assert (missing.repeats, missing.note, missing.extra_bytes) == (0, "not installed", None)
    assert math.isnan(missing.cpu_s)
    assert math.isnan(missing.quality_ratio)


@pytest.mark.parametrize(
    ("seconds", "quality", "megabytes", "words"),
    [
        (1.0, 10.0, 50, "is faster"),
        (9.0, 9.9, 50, "coverage error"),
        (9.0, 10.0, 2, "less memory"),
        (9.0, 9.96, 50, None),
    ],
)
def test_what_falls_against_us_is_said(seconds: float, quality: float, megabytes: int, words: str | None) -> None:
    peer = three("submodlib lazy", [seconds] * 3, quality, megabytes)
    said = against_us(rows_of([*three("raysubset", [2.0] * 3, 10.0, 10), *peer]))
    assert [words is not None and words in sentence for sentence in said] == [True] * (words is not None)


def test_nothing_is_said_of_peers_that_were_not_measured() -> None:
    ours = three("raysubset", [2.0] * 3, 10.0, 10)
    missing = Run("craig-20k", "submodlib lazy", 0, note="submodlib is not installed")
    assert verdict(rows_of([*ours, missing])).startswith("No peer was measured")
    assert verdict(rows_of([*ours, *three("raysubset, torch alone", [3.0] * 3, 10.0, 10)])).startswith(
        "No peer was"
    )
    assert verdict(rows_of([*ours, *three("submodlib lazy", [9.0] * 3, 10.0, 50)])).startswith("No peer is better")
    assert verdict(rows_of([*ours, *three("submodlib lazy", [1.0] * 3, 10.0, 50)])) == "Against us:"


def test_our_own_failure_falls_against_us() -> None:
    peer = Run("draw", "torch.multinomial", 0, 10, 1, 1, 2.0, 2.0, 0, 2.0)
    said = against_us(rows_of([Run("draw", "raysubset", 0, note="exit code 1: boom"), peer]))
    assert len(said) == 1
    assert "boom" in said[0]


def test_a_draw_with_another_law_falls_against_us() -> None:
    def run(contender: str, quality: float) -> Run:
        return Run("draw", contender, 0, 10**6, 10**5, 10**5, 1.0, 1.0, 0, quality)

    slower = Run("draw", "torch.multinomial", 0, 10**6, 10**5, 10**5, 2.0, 2.0, 0, 2.0)
    assert against_us(rows_of([run("raysubset", 2.01), slower])) == []
    assert "mean importance" in against_us(rows_of([run("raysubset", 2.05), slower]))[0]


def test_outputs_survive_their_file(known: Context, tmp_path: Path) -> None:
    file = tmp_path / "outputs.npz"
    write_outputs(file, known)
    again = read_outputs(file)
    assert known.target is not None
    assert again.target is not None
    for saved, read in (
        (of(known).residuals, of(again).residuals),
        (of(known).features, of(again).features),
        (known.labels, again.labels),
        (known.target.logits, again.target.logits),
        (known.target.labels, again.target.labels),
        (known.target.features, again.target.features),
    ):
        np.testing.assert_array_equal(saved, read)
    assert [path.name for path in tmp_path.iterdir()] == ["outputs.npz"]


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.npz"):
        read_outputs(tmp_path / "nowhere.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match=r"text\.npz"):
        read_outputs(tmp_path / "text.npz")
    np.savez(tmp_path / "part.npz", **{key: np.zeros((2, 2), np.float32) for key in KEYS[:-1]})
    with pytest.raises(DataError, match="lacks val_labels"):
        read_outputs(tmp_path / "part.npz")


@pytest.mark.slow
def test_a_briefly_trained_model_gives_outputs_of_both_splits(digits: Dataset) -> None:
    known = observe_briefly(digits, epochs=5)
    assert digits.test is not None
    assert known.target is not None
    assert known.labels is not None
    np.testing.assert_array_equal(known.labels, digits.train.labels)
    assert sorted(known.target.labels.tolist()) == sorted(digits.test.labels.tolist())
    right = known.target.logits.argmax(1) == known.target.labels
    own = of(known).residuals[np.arange(len(known.labels)), known.labels]
    assert (own < 0).all()  # p_y - 1
    assert right.mean() > 0.2  # ten classes: the labels go with their rows


@pytest.fixture
def file(known: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    write_outputs(tmp_path / "outputs.npz", known)
    monkeypatch.chdir(tmp_path)
    return "outputs.npz"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process, and the peers' packages away."""
    monkeypatch.setattr(runs, "find_spec", lambda name: None)

    def solved(run: Run, outputs: Path, most_rows: int | None) -> Run:
        contender = next(each for each in CASES[run.case].contenders if each.name == run.contender)
        return solve(CASES[run.case], contender, read_outputs(outputs), most_rows, run.repeat)

    monkeypatch.setattr(runs, "_fresh", solved)


def bench_kernels(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "kernels", *arguments])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_the_table_has_a_line_a_contender(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--gradients", file, "--case", "craig-class", "--case", "glister", "--n", "200", "--repeats", "2")
    assert bench_kernels(*arguments) == 0
    printed = capsys.readouterr().out
    for name in ("craig-class", "glister"):
        for contender in CASES[name].contenders:
            assert f"│ {contender.name} " in printed
    assert "pip install 'raysubset[peers]'" in printed
    assert "k = 20 of 200" in printed


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_json_holds_every_run(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--gradients", file, "--case", "omp", "--n", "200", "--repeats", "3", "--json")
    assert bench_kernels(*arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(run["contender"], run["repeat"]) for run in told["runs"]] == [
        (each.name, repeat) for repeat in range(3) for each in CASES["omp"].contenders
    ]
    assert [row["contender"] for row in told["rows"]] == [each.name for each in CASES["omp"].contenders]
    assert told["rows"][0]["quality_ratio"] is None
    assert "torch" in told["versions"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--case", "carig"], "craig-class"),
        (["--repeats", "0"], "repeats=0"),
        (["--n", "3"], "n=3"),
        (["--gradients", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: list[str], words: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_kernels("--gradients", file, *arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("contender", ["raysubset", "raysubset, torch alone"])
def test_a_run_happens_in_a_fresh_process(contender: str, file: str) -> None:
    found = runs._fresh(Run("omp", contender, 0), Path(file), 300)
    assert found.note == ""
    assert found.picked > 0


@pytest.mark.slow
def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    run = runs._fresh(Run("omp", "raysubset", 0), tmp_path / "none.npz", None)
    assert "none.npz" in run.note
    assert math.isnan(run.cpu_s)

"""Proposers that do linear algebra leave the cores to the trials, and the caller's settings as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import scipy.linalg  # noqa: F401  # its BLAS is loaded before a test sets its threads
from threadpoolctl import threadpool_info, threadpool_limits

from raysubset.hpo import bayes, surrogate
from raysubset.hpo.bayes import BayesProposer
from raysubset.hpo.history import History
from raysubset.hpo.one_thread import one_thread
from raysubset.hpo.proposer import Proposer
from raysubset.hpo.space import Space, uniform
from raysubset.hpo.surrogate import HyperTuneProposer

LINE: Space = {"x": uniform(-1, 1)}


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize(
    ("module", "fit", "proposer"),
    [
        (bayes, "fit_process", BayesProposer(LINE, 0)),
        (surrogate, "fit_regressor", HyperTuneProposer(LINE, 0, "gp")),
    ],
)
def test_models_are_fitted_by_one_thread(
    module: Any, fit: str, proposer: Proposer, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, seen = History(1), []
    for number in range(12):
        history.points[str(number)] = {"x": number / 12}
        history.observe(str(number), 0, (number / 12 - 0.3) ** 2)
    fitted: Callable[..., Any] = getattr(module, fit)
    monkeypatch.setattr(module, fit, lambda *given: seen.append(threads()) or fitted(*given))
    with threadpool_limits(limits=2, user_api="blas"):
        for draw in range(6):  # some draws of Hyper-Tune's are random, and fit nothing
            proposer.propose(history, draw, 0)
        assert threads() == {2}
    assert seen
    assert all(found == {1} for found in seen)


def test_what_was_set_is_set_again_after_a_fault() -> None:
    seen = []

    @one_thread()
    def failing() -> None:
        seen.append(threads())
        raise ZeroDivisionError

    with threadpool_limits(limits=2, user_api="blas"):
        with pytest.raises(ZeroDivisionError):
            failing()
        assert threads() == {2}
    assert seen == [{1}]


def test_the_first_call_of_a_process_is_held_too() -> None:
    """What is imported by the first proposal must not begin with threads of its own."""
    program = (
        "from threadpoolctl import threadpool_info\n"
        "from raysubset.hpo.one_thread import one_thread\n"
        "with one_thread():\n"
        "    import scipy.linalg\n"
        "    assert {p['num_threads'] for p in threadpool_info() if p['user_api'] == 'blas'} == {1}\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)

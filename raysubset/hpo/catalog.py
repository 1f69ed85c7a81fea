"""The names of schedulers and searchers, and what makes them."""

from __future__ import annotations

from functools import partial

from raysubset.errors import UnknownNameError
from raysubset.hpo.bayes import BayesProposer
from raysubset.hpo.bohb import BohbProposer
from raysubset.hpo.brackets import hyperband_brackets
from raysubset.hpo.grid import GridProposer
from raysubset.hpo.halving import StoppingHalving
from raysubset.hpo.hyper_tune import HyperTune
from raysubset.hpo.median import MedianStop
from raysubset.hpo.promotion import PromotionHalving
from raysubset.hpo.proposer import Proposer, RandomProposer
from raysubset.hpo.run_to_end import RunToEnd
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.scheduler import Scheduler
from raysubset.hpo.space import Space
from raysubset.hpo.surrogate import HyperTuneProposer, fidelity_weights
from raysubset.hpo.synchronous import SynchronousHalving
from raysubset.hpo.tpe import TpeProposer

SCHEDULERS: tuple[str, ...] = (
    "asha",
    "asha-promote",
    "dasha",
    "halving",
    "hyperband",
    "hyper-tune",
    "median",
    "none",
)
SEARCHERS: tuple[str, ...] = ("tpe", "random", "grid", "bo", "bohb", "hyper-tune")


def make_scheduler(name: str, rungs: Rungs, eta: int, seed: int, space: Space) -> Scheduler:
    """Return the scheduler of that name.

    Args:
        name: "asha" (stopping type), "asha-promote" (promotion type), "dasha" (delayed), "halving" (synchronous),
            "hyperband", "hyper-tune", "median" or "none".
        rungs: Where trials are judged.
        eta: Reduction factor, >= 2; "median" and "none" have no use for it.
        seed: Of Hyper-Tune's choice of brackets.
        space: What Hyper-Tune's surrogates are fitted over.

    Raises:
        UnknownNameError: Lists the known ones.
        OptionsError: eta below 2.
    """
    count, halvings = len(rungs.levels), rungs.halvings
    if name == "asha":
        return StoppingHalving(count, eta)
    if name in ("asha-promote", "dasha"):
        return PromotionHalving(count, eta, delayed=name == "dasha")
    if name in ("halving", "hyperband"):
        brackets = hyperband_brackets(halvings, eta)
        return SynchronousHalving(brackets[:1] if name == "halving" else brackets, eta)
    if name == "hyper-tune":
        return HyperTune(count, rungs.levels, eta, seed, partial(fidelity_weights, space=space, seed=seed))
    if name == "median":
        return MedianStop(count)
    if name == "none":
        return RunToEnd(count)
    raise UnknownNameError.of("scheduler", name, SCHEDULERS)


def make_proposer(name: str, space: Space, seed: int, trials: int) -> Proposer:
    """Return the proposer of that name.

    TPE and Bayesian optimisation draw a third of the trials at random first, at least 4 and at most 20: with
    hyperopt's constant 20, a search of 16 trials would never leave its random phase.

    Raises:
        UnknownNameError: Lists the known ones.
    """
    startup = min(20, max(4, trials // 3))
    if name == "random":
        return RandomProposer(space, seed)
    if name == "grid":
        return GridProposer(space)
    if name == "tpe":
        return TpeProposer(space, seed, startup)
    if name == "bo":
        return BayesProposer(space, seed, startup)
    if name == "bohb":
        return BohbProposer(space, seed)
    if name == "hyper-tune":
        return HyperTuneProposer(space, seed)
    raise UnknownNameError.of("search", name, SEARCHERS)

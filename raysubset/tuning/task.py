"""What a search asks of its task: classes to be told apart, or numbers to be predicted (a regression).

targets        int64 classes                     float32 numbers
the model      one output a class                one output
trained on     cross-entropy                     squared error
ranked by      validation loss or accuracy       validation loss: the mean squared error
said beside    accuracy                          RMSE, and R2 (the share of variance explained)
ASP's metrics  random, prediction, gradient,     random, gradient, loss
               loss, entropy
"""

from __future__ import annotations

from dataclasses import replace

from raysubset.errors import OptionsError
from raysubset.experiment import Experiment
from raysubset.runtime.place import AnyDataset

CLASSIFICATION, REGRESSION = "classification", "regression"


def task_of(data: AnyDataset) -> str:
    """Return "regression" where targets are numbers, else "classification"."""
    return REGRESSION if data.regression else CLASSIFICATION


def for_task(experiment: Experiment, data: AnyDataset) -> Experiment:
    """Return the experiment as the data's task has it: without classes, see `SubsetPlan.for_targets`.

    Raises:
        OptionsError: It asks for what needs classes, and the targets are numbers.
    """
    if not data.regression:
        return experiment
    faults = []
    if experiment.search.score != "loss":
        faults.append(f"score={experiment.search.score!r} counts classes told rightly; need 'loss'")
    if experiment.recipe.label_smoothing or "label_smoothing" in experiment.space:
        faults.append("label_smoothing spreads a label over the other classes; need 0, and none in the space")
    if faults:
        raise OptionsError.of("Search on targets that are no classes", faults)
    return replace(experiment, plan=experiment.plan.for_targets())


def task_words(experiment: Experiment, data: AnyDataset) -> tuple[str, ...]:
    """Say, before anything is trained, what is unusual about the task: nothing of classes, a line of numbers."""
    if not data.regression:
        return ()
    plan = experiment.plan
    chosen = f"; {plan.metric} of {', '.join(plan.metrics)}" if plan.metric in ("mixture", "adaptive") else ""
    chosen = chosen if plan.selector == "asp" else ""
    return (f"targets are numbers: trained by the squared error, ranked by its validation mean{chosen}",)

"""A trial that climbs a ladder of levels: more rows an epoch, or more epochs, at every promotion.

It has the face of a `Trial`. Inside it is one, of the segment it is in; where a segment has ended, the next epoch
opens the next one with what the promotion mode hands on (see `hpo.fidelity`). Epochs and samples are counted over
all segments.

    continuous annealing    the learning rate at u = samples trained / samples of the whole ladder; the mixture of
                            metrics at the u of the middle of each epoch
    per-level annealing     both over each segment

The sizes of subsets follow the plan's schedule inside each segment, and so do selectors with phases of their own
(MILO, InfoBatch). A segment draws from streams of its own: rows, order and augmentation are not those of the
segment before. One that follows another never trains on everything just to get to know the rows, and one that
keeps its weights needs no warm start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from raysubset.data.batches import RowSource
from raysubset.data.transform import Transform
from raysubset.errors import OptionsError
from raysubset.hpo.fidelity import Ladder, Segment
from raysubset.models.catalog import build_model
from raysubset.proxy.stream import handed_on
from raysubset.runtime.client import SelectorClient
from raysubset.runtime.segments import segment_plans, segment_sizes
from raysubset.runtime.start import Start, Stretch
from raysubset.runtime.trial import EpochReport, Trial, TrialSpec
from raysubset.seeds import seed64
from raysubset.training.evaluate import Evaluation
from raysubset.training.team import ALONE, Team

SHRINK, PERTURB = 0.5, 0.05  # the old weights' share and that of fresh ones


@dataclass(frozen=True, slots=True)
class _Done:
    """What the finished segments came to."""

    epochs: int = 0
    consumed: int = 0
    trained: int = 0


class LadderTrial:
    """A trial in segments; it is used like a `Trial`.

    Args:
        spec: What to train; its plan is that of the last level, its recipe has the ladder's N epochs.
        ladder: From `plan_ladder`, for the same plan and number of rows.
        train, validation: Rows to train on and to judge by.
        transform: The data's statistics.
        client: Serves the subsets.
        team: The workers that train it together, see `Trial`.

    Raises:
        OptionsError: The recipe's epochs are not the ladder's.
        ModelError, BudgetError: See `Trial`.
    """

    def __init__(
        self,
        spec: TrialSpec,
        ladder: Ladder,
        train: RowSource,
        validation: RowSource,
        transform: Transform,
        client: SelectorClient,
        team: Team = ALONE,
    ) -> None:
        if spec.recipe.epochs != ladder.epochs:
            raise OptionsError(
                f"Trial {spec.trial!r} has epochs={spec.recipe.epochs}, its ladder {ladder.epochs}: the levels "
                "of a ladder are the same for all trials."
            )
        self.spec, self.ladder = spec, ladder
        self._train, self._validation, self._transform, self._client = train, validation, transform, client
        self._team = team
        self._plans = segment_plans(spec.plan, ladder, len(train))
        self._samples = int(sum(sizes.sum() for sizes in segment_sizes(spec.plan, ladder, len(train))))
        self._index, self._done = 0, _Done()
        self._trial = self._segment_trial(Start())

    def _segment_trial(self, start: Start) -> Trial:
        """Build the trial of the segment that has begun."""
        spec, segment, done = self.spec, self.ladder.segments[self._index], self._done
        if self.ladder.options.anneal == "continuous":
            epochs = sum(each.epochs for each in self.ladder.segments)
            start = replace(start, stretch=Stretch(done.epochs, done.trained, epochs, self._samples))
        subset = spec.seeds.subset
        if segment.index:
            subset = seed64(subset, "segment", segment.index)
        spec = replace(
            spec,
            recipe=replace(spec.recipe, epochs=segment.epochs),
            plan=self._plans[segment.index],
            seeds=replace(spec.seeds, subset=subset),
        )
        return Trial(spec, self._train, self._validation, self._transform, self._client, start, self._team)

    @property
    def model(self) -> nn.Module:
        """The network, that of the current segment."""
        return self._trial.model

    @property
    def epoch(self) -> int:
        """Epochs done, over all segments."""
        return self._done.epochs + self._trial.epoch

    @property
    def planned_epochs(self) -> int:
        """Epochs of all segments."""
        return sum(segment.epochs for segment in self.ladder.segments)

    @property
    def samples_consumed(self) -> int:
        """Samples consumed, over all segments."""
        return self._done.consumed + self._trial.samples_consumed

    @property
    def samples_trained(self) -> int:
        """Samples trained on, over all segments."""
        return self._done.trained + self._trial.samples_trained

    @property
    def done(self) -> bool:
        """True when every epoch of the last segment is trained."""
        return self._trial.done and self._index == len(self.ladder.segments) - 1

    def run_epoch(self) -> EpochReport:
        """Train one epoch, the first of the next segment where one has ended; see `Trial.run_epoch`."""
        if self._trial.done and not self.done:
            self._promote()
        report = self._trial.run_epoch()
        return replace(report, epoch=self.epoch, samples_consumed=self.samples_consumed)

    def _promote(self) -> None:
        """Enter the next segment."""
        old, segment = self._trial, self.ladder.segments[self._index + 1]
        start = self._handed_on(old.state(), segment)
        old.close()
        self._done = _Done(
            self._done.epochs + self.ladder.segments[self._index].epochs,
            self.samples_consumed,
            self.samples_trained,
        )
        self._index = segment.index
        self._trial = self._segment_trial(start)

    def _handed_on(self, state: Mapping[str, Any], segment: Segment) -> Start:
        """Return what the next segment begins with."""
        adaptive = self._plans[segment.index].is_adaptive
        stream = handed_on(state["stream"]) if adaptive else None
        if segment.fresh:
            return Start(stream=stream)
        if self.ladder.options.promote == "shrink":
            return Start(model=shrunk(self.model, self._fresh_model(segment)), stream=stream)
        return Start(state["model"], state["optimizer"], stream)

    def _fresh_model(self, segment: Segment) -> nn.Module:
        shape = self._train.rows(np.zeros(1, dtype=np.int64))[0].shape[1:]
        seed = seed64(self.spec.seeds.init, "shrink", segment.index)
        return build_model(self.spec.model, num_classes=self.spec.num_classes, input_shape=shape, seed=seed)

    def evaluate(self) -> Evaluation:
        """Judge the model on the whole validation split."""
        return self._trial.evaluate()

    def evaluate_on(self, source: RowSource) -> Evaluation:
        """Judge the model on any rows."""
        return self._trial.evaluate_on(source)

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint needs, see `Trial.state`."""
        done = {"epochs": self._done.epochs, "consumed": self._done.consumed, "trained": self._done.trained}
        return {"segment": self._index, "done": done, "trial": self._trial.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the epochs to come are those of the uninterrupted run."""
        self._trial.close()
        self._index, self._done = int(state["segment"]), _Done(**state["done"])
        self._trial = self._segment_trial(Start())
        self._trial.restore(state["trial"])

    def close(self) -> None:
        """Let the selector forget this trial, and take the hook off the model."""
        self._trial.close()


AnyTrial = Trial | LadderTrial


def make_trial(
    spec: TrialSpec,
    ladder: Ladder,
    train: RowSource,
    validation: RowSource,
    transform: Transform,
    client: SelectorClient,
    team: Team = ALONE,
) -> AnyTrial:
    """Return the trial of a ladder: a plain `Trial` where it has one segment, else a `LadderTrial`."""
    if len(ladder.segments) == 1:
        return Trial(spec, train, validation, transform, client, team=team)
    return LadderTrial(spec, ladder, train, validation, transform, client, team)


def shrunk(model: nn.Module, fresh: nn.Module) -> dict[str, Tensor]:
    """Return 0.5 w + 0.05 w_fresh for every trainable parameter, and the rest of the model's state as it is.

    Args:
        model: The trained network.
        fresh: One of the same form with initial weights.
    """
    state, noise = dict(model.state_dict()), fresh.state_dict()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            old = parameter.detach()
            state[name] = SHRINK * old + PERTURB * noise[name].to(old)
    return state

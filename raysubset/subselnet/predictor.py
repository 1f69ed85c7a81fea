"""A whole fit, ready to serve any cell: what it foresees of the rows, and the subsets drawn from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.errors import ArchitectureError, DataError, OptionsError
from raysubset.models.init import seeded
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.wrappers import PerClass
from raysubset.subselnet.embeddings import ArchitectureEncoder, Standardisation
from raysubset.subselnet.fitted import FittedApproximator
from raysubset.subselnet.funnel import Hybrid, Inductive
from raysubset.subselnet.inductive import InductiveScorer, Prediction
from raysubset.subselnet.samplers import LOSS, Gibbs, Transductive
from raysubset.subselnet.space import EncodedSpace

Sampler = Literal["transductive", "inductive", "hybrid", "gibbs", "gibbs-per-class"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)


@dataclass(frozen=True, slots=True, eq=False)
class ArchitecturePredictor:
    """Encoder, approximator and inductive sampler over the n rows they were fitted on.

    Attributes:
        encoder: Of cells.
        approximator: Of trained networks' predictions.
        scorer: The inductive sampler's network.
        features: float32[n, d], standardised.
        labels: int64[n].
    """

    encoder: ArchitectureEncoder
    approximator: FittedApproximator
    scorer: InductiveScorer
    features: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def space(self) -> EncodedSpace[Any]:
        """The one whose cells it was fitted on."""
        return self.encoder.space

    def check_space(self, name: str) -> None:
        """Refuse cells of another space.

        Raises:
            DataError: ``name`` is not the fit's space; says both.
        """
        if name != self.space.name:
            raise DataError(
                f"SubSelNet was fitted on cells of {self.space.name!r}, and these are of {name!r}: its encoder "
                f"reads no others. `raysubset subselnet fit --space {name}` makes such a fit."
            )

    def parse(self, text: str) -> Any:
        """Read the name of a cell of the fit's space.

        Raises:
            ArchitectureError: It is none; says of which space the fit is.
        """
        try:
            return self.space.parse(text)
        except ArchitectureError as error:
            raise ArchitectureError(f"SubSelNet was fitted on cells of {self.space.name!r}. {error}") from error

    def predict(self, cell: Any) -> Prediction:
        """Return what is foreseen of a cell of the space, which may never have been trained.

        Raises:
            ArchitectureError: It is none of the space.

        Cost: one pass of the approximator over the rows, about 10 ms for 4,000.
        """
        return foreseen(self.encoder, self.approximator, self.labels, cell)

    def context(self, seen: Prediction) -> Context:
        """Return the pool as samplers and controls read it: the predictions are its logits and its "loss"."""
        return Context(
            len(self.labels),
            self.labels,
            {LOSS: seen.losses},
            features=self.features,
            logits=seen.log_probabilities,
        )

    def sampler(
        self, kind: Sampler, seen: Prediction, entropy: float = 0.3, steps: int = 100, candidates: float = 4.0
    ) -> Selector:
        """Return a sampler for the cell that ``seen`` is of; the other arguments are those of its kind.

        Raises:
            OptionsError: ``kind`` is unknown, or a value out of range.
        """
        if kind == "gibbs":
            return Gibbs(entropy)
        if kind == "gibbs-per-class":
            return PerClass(Gibbs(entropy))
        transductive, inductive = Transductive(entropy, steps), Inductive(self.scorer, seen.cell)
        if kind == "transductive":
            return transductive
        if kind == "inductive":
            return inductive
        if kind == "hybrid":
            return Hybrid(inductive, transductive, candidates)
        raise OptionsError(f"sampler={kind!r}, need one of {', '.join(SAMPLERS)}.")

    def check_pool(self, context: Context) -> None:
        """Refuse rows that the fit is not of.

        Raises:
            SelectionError: The pool has no labels.
            DataError: They are not those of the fit.
        """
        labels = context.need_labels("SubSelNet")
        if len(labels) != len(self.labels) or not np.array_equal(labels, self.labels):
            raise DataError(
                f"SubSelNet was fitted on {len(self.labels)} rows, and this pool of {len(labels)} is another one: "
                "it serves new architectures, not new data. Were --data, --limit, --validation or --seed others "
                "when it was fitted?"
            )

    def state(self) -> dict[str, Any]:
        """Return all of it but the features and labels, as tensors, numbers and strings."""
        return {
            "encoder": self.encoder.state(),
            "approximator": self.approximator.state(),
            "scorer": scorer_state(self.scorer),
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], features: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> Self:
        """Make what `state` was taken of.

        Args:
            state: From `state`.
            features: float32[n, d], as the fit was given them.
            labels: int64[n].

        Raises:
            DataError: Something is missing or does not fit.
        """
        if missing := [part for part in ("encoder", "approximator", "scorer") if part not in state]:
            raise DataError(f"Not the state of an ArchitecturePredictor: {', '.join(missing)} is missing.")
        with seeded(0):  # the weights that networks begin with are replaced, but drawn
            return cls(
                ArchitectureEncoder.from_state(state["encoder"]),
                FittedApproximator.from_state(state["approximator"], features),
                scorer_from_state(state["scorer"]),
                standardised(features),
                labels,
            )


def foreseen(
    encoder: ArchitectureEncoder, approximator: FittedApproximator, labels: NDArray[np.int64], cell: Any
) -> Prediction:
    """Return what encoder and approximator foresee of a cell on the rows of ``labels``, int64[n]."""
    embedded = encoder.embed([cell])
    log_probabilities = approximator.log_probabilities(embedded)
    losses = -log_probabilities[np.arange(len(labels)), labels]
    return Prediction(embedded.mean()[0].numpy(), log_probabilities, losses)


def standardised(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32[n, d] features, columns of mean 0 and deviation 1, as the inductive sampler reads them."""
    raw = torch.from_numpy(np.require(features, np.float32, "W"))  # torch takes no read-only arrays
    return np.asarray(Standardisation.of(raw).apply(raw).numpy())


def scorer_state(scorer: InductiveScorer) -> dict[str, Any]:
    """Return the network's form and weights."""
    return {"form": dict(scorer.form), "weights": dict(scorer.state_dict())}


def scorer_from_state(state: Mapping[str, Any]) -> InductiveScorer:
    """Make what `scorer_state` was taken of.

    Raises:
        DataError: Something is missing or does not fit.
    """
    try:
        form = dict(state["form"])
        scorer = InductiveScorer(**form | {"hidden": tuple(form["hidden"])})
        scorer.load_state_dict(state["weights"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise DataError(f"Not the state of an InductiveScorer ({type(error).__name__}: {error}).") from error
    return scorer

"""SubSelNetExperiment: what a fit is made of, as one frozen object. TOML in and out; no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from raysubset.errors import OptionsError
from raysubset.frozen_toml import from_toml, to_toml
from raysubset.nas.space import NetworkSize
from raysubset.selection.plan import EMBEDDINGS
from raysubset.subselnet.approximator_fit import ApproximatorOptions
from raysubset.subselnet.encoder_fit import EncoderOptions
from raysubset.subselnet.graphs import MOST_DRAWN
from raysubset.subselnet.inductive import InductiveOptions
from raysubset.subselnet.space import NB101, EncodedSpace, encoded_space
from raysubset.training.recipe import Recipe

FEWEST_SUPERVISORS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SubSelNetExperiment:
    """A fit on one data set: cells trained to supervise, an encoder, an approximator, an inductive sampler.

    Attributes:
        name: Run name; the run's folder carries it.
        supervisors: Cells of which the approximator learns, >= 3.
        checks: Cells that choose its state and the inductive sampler's, >= 1.
        unseen: Cells kept for the evaluation, trained by no stage of the fit, >= 0.
        space: Of all cells: "nb101", or "darts", whose cells are genotypes.
        channels, cells: Of every network: channels of the first stack, cells of each of three; of a genotype's all
            cells, at least 3.
        recipe: How supervisors train, on all rows. Trained to the end they are certain of every row, and there
            would be no losses to choose by.
        embedding: Of the rows: "resnet50" (pretrained), "scout" (features of ``scout_model`` trained on the rows),
            "pca", or "auto": the first of the first two to be had.
        scout_model, scout_epochs: Of the scout.
        encoder_cells: Cells the encoder learns from, at most 100,000; it sees no data, so any cell will do.
        encoder, approximator, inductive: How those are trained.
        validation: Share of the data set's training rows that no stage sees.
        seed: The seed of everything.

    Raises:
        UnknownNameError: The space is unknown.
        OptionsError: A value out of range; all of them in one message.
    """

    name: str
    supervisors: int = 20
    checks: int = 3
    unseen: int = 8
    space: str = NB101.name
    channels: int = 8
    cells: int = 1
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=8, optimizer="adam", lr=3e-3, batch_size=128))
    embedding: str = "auto"
    scout_model: str = "resnet8"
    scout_epochs: int = 12
    encoder_cells: int = 3000
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    approximator: ApproximatorOptions = field(default_factory=ApproximatorOptions)
    inductive: InductiveOptions = field(default_factory=InductiveOptions)
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        smallest = encoded_space(self.space).least
        faults = []
        if not self.name or self.name != Path(self.name).name or self.name.startswith("."):
            faults.append(f"name={self.name!r}, need a plain folder name")
        if self.supervisors < FEWEST_SUPERVISORS:
            faults.append(
                f"supervisors={self.supervisors}, need at least {FEWEST_SUPERVISORS}: fewer trained cells say "
                "nothing of others"
            )
        if self.embedding not in EMBEDDINGS:
            faults.append(f"embedding={self.embedding!r}, need one of {', '.join(EMBEDDINGS)}")
        if not 0 < self.validation < 1:
            faults.append(f"validation={self.validation!r}, need a share in (0, 1)")
        for name, number, least in (
            ("checks", self.checks, 1),
            ("unseen", self.unseen, 0),
            ("channels", self.channels, smallest.channels),
            ("cells", self.cells, smallest.cells),
            ("scout_epochs", self.scout_epochs, 1),
            ("encoder_cells", self.encoder_cells, 20),
        ):
            if number < least:
                faults.append(f"{name}={number}, need at least {least}")
        if self.encoder_cells > MOST_DRAWN:
            faults.append(f"encoder_cells={self.encoder_cells}, need at most {MOST_DRAWN}")
        if faults:
            raise OptionsError.of("SubSelNetExperiment", faults)

    @property
    def size(self) -> NetworkSize:
        """Of every network."""
        return NetworkSize(self.channels, self.cells)

    @property
    def cell_space(self) -> EncodedSpace[Any]:
        """Whose cells are encoded and trained."""
        return encoded_space(self.space)

    def to_toml(self) -> str:
        """Return the experiment as TOML."""
        return to_toml(self, _PARTS)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read an experiment; what is left out keeps its default.

        Raises:
            OptionsError: Not TOML, an unknown key (lists the known ones), or a value out of range.
        """
        return from_toml(cls, text, _PARTS)


_PARTS: Mapping[str, Any] = {
    "recipe": Recipe,
    "encoder": EncoderOptions,
    "approximator": ApproximatorOptions,
    "inductive": InductiveOptions,
}

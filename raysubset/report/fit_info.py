"""fit.json: what a fit of SubSelNet was asked, on what, and what each finished stage came to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from raysubset.report.atomic import write_text
from raysubset.report.facts_file import build, read_facts

FIT_FILE = "fit.json"
FIT_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FitInfo:
    """What is known of a fit.

    Attributes:
        name, seed: Of the run.
        data: What the data set was asked for by.
        dataset, dataset_source, dataset_note, fingerprint: What it was.
        space: Of the cells; "nb101" where a fit does not say.
        limit, shrink: How the data set was cut down, so that it can be loaded again; None and 1 for not at all.
        n_train, n_validation, num_classes: Rows and classes.
        device, command, started, versions: Where, how and when.
        stages: Stage -> what it came to, seconds among it; only those that are finished.
    """

    name: str
    seed: int
    data: str
    dataset: str
    dataset_source: str
    dataset_note: str
    fingerprint: str
    n_train: int
    n_validation: int
    num_classes: int
    device: str
    command: str
    started: str
    space: str = "nb101"
    limit: int | None = None
    shrink: int = 1
    versions: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    schema: int = FIT_SCHEMA

    def write(self, folder: Path) -> None:
        """Replace the file in one step.

        Raises:
            StorageError: It cannot be written.
        """
        write_text(folder / FIT_FILE, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the file.

        Raises:
            StorageError: There is none, or it cannot be read.
            RecordError: It is not one of ours, or of another schema.
        """
        path = folder / FIT_FILE
        return build(cls, read_facts(path, FIT_SCHEMA, "a fit of SubSelNet"), str(path))

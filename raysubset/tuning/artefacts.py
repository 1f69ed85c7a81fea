"""What a stage makes, kept under the hash of all it was made from: made once, anew when any of that changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from raysubset.training.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint


@dataclass(frozen=True, slots=True)
class Artefact:
    """The place of one stage's state.

    Attributes:
        folder: <run>/<stage>-<key>.
    """

    folder: Path

    @classmethod
    def of(cls, root: Path, stage: str, inputs: Mapping[str, Any]) -> Artefact:
        """Name a place.

        Args:
            root: The run's folder.
            stage: Short, for people.
            inputs: All that the result depends on: options, seeds, the keys of earlier artefacts. JSON values.
        """
        text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
        return cls(root / f"{stage}-{blake2b(text.encode(), digest_size=6).hexdigest()}")

    @property
    def key(self) -> str:
        """Names it: equal keys, equal contents."""
        return self.folder.name

    @property
    def exists(self) -> bool:
        """True once it is kept; a stage that was cut off leaves nothing under its name."""
        return (self.folder / FILE_NAME).exists()

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep a state in one step; see `save_checkpoint`."""
        save_checkpoint(self.folder, state)

    def load(self) -> dict[str, Any]:
        """Read it back; see `load_checkpoint`."""
        return load_checkpoint(self.folder)

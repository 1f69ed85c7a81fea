"""What a training begins with, where it goes on from another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a training lies in a longer one, whose learning-rate schedule it follows.

    Attributes:
        epochs_before, samples_before: Trained before it.
        epochs, samples: To be trained in the longer one, all in all.
    """

    epochs_before: int
    samples_before: int
    epochs: int
    samples: int


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What a training begins with.

    Attributes:
        model: Weights, as `Module.state_dict` gives them; None: the initial ones.
        optimizer: Its state; None: it begins anew.
        stream: What the selector knows of the rows for it, see `proxy.stream.handed_on`; None: nothing.
        stretch: Its place in a longer training; None: it is the whole.
    """

    model: Mapping[str, Tensor] | None = None
    optimizer: Mapping[str, Any] | None = None
    stream: Mapping[str, Any] | None = None
    stretch: Stretch | None = None

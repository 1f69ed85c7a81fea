"""Pool: what all trials know of the rows before any of them has trained, and what is computed from it once.

Selection is paid once for all trials where it depends on nothing that a trial learns: a selector with a `prepare`
is prepared once, and a subset chosen from shared evidence under the same random stream is chosen once.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from raysubset.seeds import generator
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.uniform import UniformRandom
from raysubset.selection.wrappers import PerClass
from raysubset.types import Selection

REMEMBERED_CHOICES = 64  # 12 bytes a chosen row each


@runtime_checkable
class Preparing(Protocol):
    """A selector of which a part depends on the pool alone."""

    def prepare(self, context: Context) -> Selector:
        """Do that part now; the returned selector goes on from it."""
        ...


class Pool:
    """The rows that trials choose from.

    Args:
        context: Labels, and the evidence that all trials share, as far as there is any.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._prepared: dict[Hashable, Selector] = {}
        self._choices: dict[Hashable, Selection] = {}
        self._steering: dict[int, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return self.context.pool_size

    def steering_rows(self, size: int) -> NDArray[np.int64]:
        """Return the rows held out to steer selectors, ascending: the same for all trials, class shares kept."""
        if size and size not in self._steering:
            draw = UniformRandom() if self.context.labels is None else PerClass(UniformRandom())
            chosen = draw.select(Context(len(self), self.context.labels), size, generator(0, "steering"))
            self._steering[size] = np.sort(chosen.indices)
        return self._steering.get(size, np.zeros(0, dtype=np.int64))

    def choose(
        self, selector: Selector, k: int, progress: float, rng: np.random.Generator, key: tuple[int, ...]
    ) -> Selection:
        """Choose k rows by what is shared, or remember who asked for the same before.

        Args:
            selector: Looks at the pool's context only.
            k: Rows.
            progress: Share of training done.
            rng: The stream.
            key: Names that stream.
        """
        asked = (selector, k, progress, key)
        if not isinstance(selector, Hashable):
            return self._prepare(selector).select(_at(self.context, progress), k, rng)
        if asked not in self._choices:
            while len(self._choices) >= REMEMBERED_CHOICES:
                del self._choices[next(iter(self._choices))]
            self._choices[asked] = self._prepare(selector).select(_at(self.context, progress), k, rng)
        return self._choices[asked]

    def _prepare(self, selector: Selector) -> Selector:
        if not isinstance(selector, Preparing):
            return selector
        if selector not in self._prepared:
            self._prepared[selector] = selector.prepare(self.context)
        return self._prepared[selector]


def _at(context: Context, progress: float) -> Context:
    return replace(context, progress=progress)

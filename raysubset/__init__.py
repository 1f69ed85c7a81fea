"""raysubset: AutoML on Ray that trains every trial on a small part of the data, chosen anew each epoch.

Importing this package loads neither Ray nor PyTorch; a name loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raysubset.data.catalog import load_dataset as load_dataset
    from raysubset.data.dataset import Dataset as Dataset
    from raysubset.data.dataset import Split as Split
    from raysubset.experiment import Experiment as Experiment
    from raysubset.experiment import SearchOptions as SearchOptions
    from raysubset.hpo.space import choice as choice
    from raysubset.hpo.space import integer as integer
    from raysubset.hpo.space import loguniform as loguniform
    from raysubset.hpo.space import uniform as uniform
    from raysubset.hpo.space import when as when
    from raysubset.runtime.evidence import evidence_for as evidence_for
    from raysubset.runtime.sharded import ShardedDataset as ShardedDataset
    from raysubset.runtime.subset import Subset as Subset
    from raysubset.selection.plan import SubsetPlan as SubsetPlan
    from raysubset.selection.protocol import Context as Context
    from raysubset.selection.protocol import Selector as Selector
    from raysubset.training.recipe import Recipe as Recipe
    from raysubset.tuning.api import tune as tune
    from raysubset.types import Selection as Selection

_HOMES = {
    "Context": "raysubset.selection.protocol",
    "Dataset": "raysubset.data.dataset",
    "Experiment": "raysubset.experiment",
    "Recipe": "raysubset.training.recipe",
    "SearchOptions": "raysubset.experiment",
    "Selection": "raysubset.types",
    "Selector": "raysubset.selection.protocol",
    "ShardedDataset": "raysubset.runtime.sharded",
    "Split": "raysubset.data.dataset",
    "Subset": "raysubset.runtime.subset",
    "SubsetPlan": "raysubset.selection.plan",
    "choice": "raysubset.hpo.space",
    "evidence_for": "raysubset.runtime.evidence",
    "integer": "raysubset.hpo.space",
    "load_dataset": "raysubset.data.catalog",
    "loguniform": "raysubset.hpo.space",
    "tune": "raysubset.tuning.api",
    "uniform": "raysubset.hpo.space",
    "when": "raysubset.hpo.space",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'raysubset' has no attribute {name!r}; it has {', '.join(__all__)}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return __all__

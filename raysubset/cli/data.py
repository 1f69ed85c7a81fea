"""``raysubset data``: is a data set where it is looked for, and what is in it?

And how commands read ``--data``: a name or folder is read into memory, ``parquet:URI`` and ``folder:URI`` stay
where they are and are read by the workers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from raysubset.cli.options import DataDir, Json
from raysubset.cli.output import print_facts
from raysubset.data.catalog import load_dataset

if TYPE_CHECKING:
    from raysubset.runtime.place import AnyDataset

SHARDED = ("parquet:", "folder:")
NAMED = "cifar10, cifar100, mnist, fashion-mnist, embedded or a folder."
WHAT = (
    "cifar10, cifar100, mnist, fashion-mnist, embedded, digits, breast-cancer, wine, diabetes (a regression), a "
    "folder, or parquet:URI, folder:URI (stay sharded)."
)


def is_named(asked: str) -> bool:
    """Whether ``--data`` asks for a set by name or folder, read into memory."""
    return not asked.startswith(SHARDED)


def open_data(asked: str, data_dir: Path | None, limit: int | None = None) -> AnyDataset:
    """Open what ``--data`` asks for; a named set that is nowhere gives way to the embedded digits.

    Raises:
        DataError, DatasetNotFoundError, StorageError, OptionsError, UnknownNameError: See `load_dataset` and
            `ShardedDataset`.
    """
    if is_named(asked):
        return load_dataset(asked, data_dir, limit=limit, allow_fallback=True)
    return _sharded(asked, limit)


def _sharded(asked: str, limit: int | None) -> AnyDataset:
    from raysubset.runtime.sharded import ShardedDataset  # Ray: a second that named sets need not spend

    kind, _, uri = asked.partition(":")
    data = ShardedDataset.from_parquet(uri) if kind == "parquet" else ShardedDataset.from_folder(uri)
    return data if limit is None else data.thin(limit)


def data(
    name: Annotated[str, typer.Argument(help=WHAT)],
    data_dir: DataDir = None,
    download: Annotated[bool, typer.Option(help="Download what is not there.")] = True,
    as_json: Json = False,
) -> None:
    """Load a data set and say what it holds."""
    loaded = load_dataset(name, data_dir, download=download) if is_named(name) else _sharded(name, None)
    facts = {
        "name": loaded.name,
        "source": loaded.source,
        "train": len(loaded.train),
        "test": 0 if loaded.test is None else len(loaded.test),
        "shape": list(loaded.input_shape),
        "classes": list(loaded.classes),
        **_spread(loaded.train.labels, loaded.num_classes),
        "fingerprint": loaded.fingerprint(),
    }
    print_facts(facts, as_json, width=14)


def _spread(labels: NDArray[Any], classes: int) -> dict[str, float]:
    """Return the sizes of the smallest and largest class, or the range of targets that are numbers."""
    if labels.dtype.kind == "f":
        return {"smallest_target": round(float(labels.min()), 4), "largest_target": round(float(labels.max()), 4)}
    counts = np.bincount(labels, minlength=classes)
    return {"smallest_class": int(counts.min()), "largest_class": int(counts.max())}

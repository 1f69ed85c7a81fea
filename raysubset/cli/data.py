"""``raysubset data``: is a data set where it is looked for, and what is in it?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from raysubset.data.catalog import load_dataset


def data(
    name: Annotated[str, typer.Argument(help="cifar10, cifar100, mnist, fashion-mnist, embedded, or a folder.")],
    data_dir: Annotated[Path | None, typer.Option(help="Where data sets lie (default: $RAYSUBSET_DATA).")] = None,
    download: Annotated[bool, typer.Option(help="Download what is not there.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Load a data set and say what it holds."""
    loaded = load_dataset(name, data_dir, download=download)
    counts = np.bincount(loaded.train.labels, minlength=loaded.num_classes)
    facts = {
        "name": loaded.name,
        "source": loaded.source,
        "train": len(loaded.train),
        "test": 0 if loaded.test is None else len(loaded.test),
        "shape": list(loaded.input_shape),
        "classes": list(loaded.classes),
        "smallest_class": int(counts.min()),
        "largest_class": int(counts.max()),
        "fingerprint": loaded.fingerprint(),
    }
    if as_json:
        print(json.dumps(facts))
        return
    console = Console()
    for key, value in facts.items():
        console.print(f"{key:>14}  {value}", highlight=False, markup=False, soft_wrap=True)

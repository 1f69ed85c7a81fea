"""Fit SubSelNet on CIFAR-10 and compare its subsets with random ones; the logic is ``raysubset subselnet``.

python pipelines/subselnet_cifar.py                          # preset small; after a crash the same command goes on
python pipelines/subselnet_cifar.py --data-dir DIR           # DIR/cifar10/train.parquet, test.parquet
python pipelines/subselnet_cifar.py --preset paper --name p  # the paper's sizes, for GPUs

Options are those of `raysubset subselnet fit`; what is fitted is evaluated on cells that were never trained: on
all of them, with preset small on eight. (`raysubset subselnet evaluate RUN --methods all` adds every baseline.)
"""

import os
import sys
from pathlib import Path

from raysubset.cli import main

NAME = "subselnet-cifar"
CELLS = {"small": ["--cells", "8"]}


def option(arguments: list[str], name: str, default: str) -> str:
    """Return the value that follows an option, or stands behind its "="."""
    for here, following in zip(arguments, [*arguments[1:], default], strict=False):
        if here == name:
            return following
        if here.startswith(f"{name}="):
            return here.partition("=")[2]
    return default


if __name__ == "__main__":
    given = sys.argv[1:]
    name = option(given, "--name", NAME)
    try:
        main(["subselnet", "fit", *given, *([] if option(given, "--name", "") else ["--name", name])])
    except SystemExit as done:  # every command ends so
        if done.code or "--help" in given:
            raise
    root = Path(option(given, "--root", os.environ.get("RAYSUBSET_ROOT", "runs")))
    data_dir = option(given, "--data-dir", "")
    where = ["--data-dir", data_dir] if data_dir else []
    main(["subselnet", "evaluate", str(root / name), *where, *CELLS.get(option(given, "--preset", "small"), [])])

"""torchvision's own copies of the named sets: on disk, or downloaded once into a cache folder.

A search answers with the data set or with one phrase that says why not. What is there but damaged is an error.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tarfile
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from raysubset.data.dataset import Dataset
from raysubset.errors import DataError

PROBE_TIMEOUT_S = 5.0


class Copy(NamedTuple):
    """Where torchvision keeps a set: its class, the folder of its files, an address it downloads from."""

    kind: str
    folder: str
    address: str


COPIES = {
    "cifar10": Copy("CIFAR10", "cifar-10-batches-py", "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"),
    "cifar100": Copy("CIFAR100", "cifar-100-python", "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"),
    "mnist": Copy(
        "MNIST", "MNIST/raw", "https://ossci-datasets.s3.amazonaws.com/mnist/train-labels-idx1-ubyte.gz"
    ),
    "fashion-mnist": Copy(
        "FashionMNIST",
        "FashionMNIST/raw",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz",
    ),
}


def cache_folder() -> Path:
    """Return where downloads are kept: raysubset/torchvision in $XDG_CACHE_HOME, else in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raysubset" / "torchvision"


def on_disk(name: str, root: Path) -> Dataset | str:
    """Read torchvision's unpacked files of set ``name`` below ``root``, without a download.

    Raises:
        DataError: The files are there but incomplete or damaged.
    """
    folder = root / COPIES[name].folder
    if not any(path.suffix != ".gz" for path in folder.glob("*")):
        return f"no {COPIES[name].folder} (torchvision's files) in {root}"
    try:
        return _read(name, root, download=False)
    except Exception as error:  # torchvision raises RuntimeError, ValueError, AssertionError, pickle errors, ...
        raise DataError(
            f"{folder}: torchvision cannot read {name} there ({error}). Delete the folder to get a new copy."
        ) from error


def downloaded(name: str, root: Path) -> Dataset | str:
    """Download set ``name`` through torchvision into ``root``; progress goes to stderr.

    The server is asked first, so that without a network the answer comes within ``PROBE_TIMEOUT_S`` seconds; the
    download itself is torchvision's and has no time limit. Files appear in ``root`` only when complete and read.
    """
    copy = COPIES[name]
    top = Path(copy.folder).parts[0]
    try:
        urlopen(Request(copy.address, method="HEAD"), timeout=PROBE_TIMEOUT_S).close()
        root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".download-", dir=root) as scratch:
            dataset = _read(name, Path(scratch), download=True)
            if not (root / top).exists():
                (Path(scratch) / top).rename(root / top)
    except (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        return f"download: {urlsplit(copy.address).hostname}: {reason}"
    return replace(dataset, source=f"torchvision {copy.kind} in {root}")


def _read(name: str, root: Path, *, download: bool) -> Dataset:
    from torchvision import datasets  # takes a second to import, and most runs read parquet

    kind = getattr(datasets, COPIES[name].kind)
    with contextlib.redirect_stdout(sys.stderr):  # stdout belongs to the caller, who may print JSON there
        train, test = (kind(root, train=part, download=download) for part in (True, False))
    dataset = Dataset.from_torch(train, test, name=name)
    return replace(dataset, source=f"torchvision {COPIES[name].kind} in {root}")

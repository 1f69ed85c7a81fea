"""Data sets by name: where each is looked for, in which order, and what is said when it is nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from raysubset.data.dataset import Dataset
from raysubset.data.embedded import embedded_mnist
from raysubset.data.tabular import LOADERS, bundled_table
from raysubset.data.torchvision_files import COPIES, cache_folder, downloaded, on_disk
from raysubset.errors import DatasetNotFoundError, OptionsError, UnknownNameError

EMBEDDED = "embedded"
NAMES = (*COPIES, EMBEDDED, *LOADERS)
DATA_DIR_VARIABLE = "RAYSUBSET_DATA"

Place = Callable[[], Dataset | str]  # the data set, or one phrase that says why it is not there


def load_dataset(
    name: str,
    root: str | Path | None = None,
    *,
    download: bool = True,
    limit: int | None = None,
    allow_fallback: bool = False,
) -> Dataset:
    """Load a data set by name, or from a folder.

    A named set is looked for in ``root``, and nowhere else if that is given; otherwise in the folder named by the
    environment variable RAYSUBSET_DATA, in the cache of torchvision files, and on the network. A data folder holds
    <name>/train.parquet (and test.parquet), <name>/train/<class>/ (and test/ or val/), or torchvision's files.

    Args:
        name: cifar10, cifar100, mnist, fashion-mnist; embedded (5,000 MNIST digits), digits, breast-cancer, wine
            or diabetes (`data.tabular`), always there; or the path of a folder with train.parquet or with images
            by class.
        root: Data folder that must hold the set.
        download: Whether the network may be tried last.
        limit: Rows to keep of each split, stratified and without randomness; None keeps all.
        allow_fallback: Take the embedded digits if a named set is nowhere; `Dataset.note` then says so. Never used
            when ``root`` is given, nor for damaged data.

    Raises:
        UnknownNameError: ``name`` is neither known nor a folder.
        DatasetNotFoundError: The set is in none of the places; the message lists them.
        DataError: The set is there but damaged.
        OptionsError: ``limit`` < 1, or ``root`` given with a set that does not come from a data folder.
    """
    if limit is not None and limit < 1:
        raise OptionsError(f"limit={limit}: need at least 1 row a split.")
    if name not in COPIES:
        if root is not None:
            raise OptionsError(f"root={str(root)!r} goes with {', '.join(COPIES)}, not with {name!r}.")
        if name in LOADERS:
            return _thinned(bundled_table(name), limit)
        return _thinned(embedded_mnist(), limit) if name == EMBEDDED else _from_path(name, limit)
    tried: list[str] = []
    for place in _places(name, root, download, limit):
        found = place()
        if isinstance(found, Dataset):
            return _thinned(found, limit)
        tried.append(found)
    if allow_fallback and root is None:
        note = f"{name} was not found (tried {'; '.join(tried)}): the embedded MNIST digits stand in for it."
        return replace(_thinned(embedded_mnist(), limit), note=note)
    raise DatasetNotFoundError(
        f"Data set {name!r} was not found. Tried: {'; '.join(tried)}. Name a folder that holds "
        f"{name}/train.parquet, {name}/train/<class>/ or torchvision's files as root, or in {DATA_DIR_VARIABLE}."
    )


def data_folder(root: str | Path | None = None) -> Path | None:
    """Return the folder in which data sets lie: ``root``, else the one RAYSUBSET_DATA names, else None."""
    data_dir = root if root is not None else os.environ.get(DATA_DIR_VARIABLE)
    return Path(data_dir) if data_dir else None


def _places(name: str, root: str | Path | None, download: bool, limit: int | None) -> Iterator[Place]:
    """Yield the places to look in, in order."""
    if (data_dir := data_folder(root)) is not None:
        yield partial(_in_data_dir, data_dir, name, limit)
        yield partial(on_disk, name, data_dir)
    else:
        yield lambda: f"{DATA_DIR_VARIABLE} is not set"
    if root is None:
        yield partial(on_disk, name, cache_folder())
        yield partial(downloaded, name, cache_folder()) if download else lambda: "download: not allowed"


def _in_data_dir(data_dir: Path, name: str, limit: int | None) -> Dataset | str:
    folder = data_dir / name
    if not folder.is_dir():
        return f"no folder {folder if data_dir.is_dir() else data_dir}"
    if not (folder / "train.parquet").is_file() and not (folder / "train").is_dir():
        return f"neither train.parquet nor train/ in {folder}"
    return _from_folder(folder, name, limit)


def _from_path(name: str, limit: int | None) -> Dataset:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _from_folder(folder, folder.absolute().name, limit)
    if len(folder.parts) > 1 or folder.exists():
        raise DatasetNotFoundError(f"{name!r} is not a folder; known names are {', '.join(NAMES)}.")
    raise UnknownNameError.of("data set", name, NAMES)


def _from_folder(folder: Path, name: str, limit: int | None) -> Dataset:
    train, test = folder / "train.parquet", folder / "test.parquet"
    if train.is_file():
        return Dataset.from_parquet(train, test if test.is_file() else None, name=name, limit=limit)
    return Dataset.from_folder(folder, name=name, limit=limit)


def _thinned(dataset: Dataset, limit: int | None) -> Dataset:
    return dataset.thin(limit) if limit is not None else dataset

"""What commands fill in where nothing was said: a run's name, recipe and search space."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from raysubset.cli.data import is_named
from raysubset.errors import OptionsError
from raysubset.hpo.space import Domain, space_from_plain
from raysubset.training.recipe import Recipe

if TYPE_CHECKING:
    from raysubset.runtime.place import AnyDataset
    from raysubset.tuning.presets import Preset


def run_label(loaded: AnyDataset, asked: str) -> str:
    """Name a run after the data really used."""
    if loaded.note:
        return "embedded"
    return Path(asked).name if is_named(asked) else loaded.name


def is_coloured(data: AnyDataset) -> bool:
    """Whether its rows are colour images, which are cropped and flipped as the papers do; digits are not."""
    return len(data.input_shape) == 3 and data.input_shape[0] == 3


def recipe_for(data: AnyDataset, preset: Preset, epochs: int | None) -> Recipe:
    """Return the recipe of a preset, with its epochs or those asked for.

    Images are kept in NHWC order, mostly faster on a CPU (D-021).
    """
    augment = is_coloured(data)
    return Recipe(
        epochs=preset.epochs if epochs is None else epochs,
        batch_size=preset.batch_sizes[0],
        flip=0.5 if augment else 0.0,
        crop_padding=4 if augment else 0,
        channels_last=len(data.input_shape) == 3,
    )


def space_for(file: Path | None, preset: Preset) -> dict[str, Domain]:
    """Read the search space from a TOML file; the default one without a file.

    Raises:
        OptionsError: The file cannot be read.
        SearchSpaceError: What it says is no space.
    """
    from raysubset.tuning.presets import default_space

    if file is None:
        return default_space(preset.batch_sizes)
    try:
        plain = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise OptionsError(f"Search space file {file}: {error}.") from error
    return space_from_plain(plain.get("space", plain))

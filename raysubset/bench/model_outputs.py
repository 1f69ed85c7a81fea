"""What a briefly trained model says of a data set, in one file: the real gradients that kernels are measured on.

An .npz file of residuals float32[n, c], features float32[n, h], labels int64[n], and the same of validation rows:
val_logits float32[V, c], val_features float32[V, h], val_labels int64[V].
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from raysubset.data.batches import ArraySource
from raysubset.data.dataset import Dataset, Split
from raysubset.data.split import thin
from raysubset.data.transform import Transform
from raysubset.errors import DataError
from raysubset.runtime.scout import Scouting, scout
from raysubset.selection.gradients import Gradients
from raysubset.selection.protocol import Context, Target
from raysubset.training.recipe import Recipe

KEYS = ("residuals", "features", "labels", "val_logits", "val_features", "val_labels")
LEARNING_RATE = 0.05
VALIDATION_ROWS = 5000
MODEL = "resnet8"


def read_outputs(file: Path) -> Context:
    """Read a file.

    Returns:
        Labels, gradients, validation rows and a learning rate.

    Raises:
        DataError: It is not there, no .npz file, or an array is missing.
        SelectionError: The arrays do not fit each other.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            missing = [key for key in KEYS if key not in arrays]
            if missing:
                raise DataError(f"{file} lacks {', '.join(missing)}; it needs {', '.join(KEYS)}.")
            residuals, features, labels, val_logits, val_features, val_labels = (arrays[key] for key in KEYS)
    except (OSError, ValueError, BadZipFile) as error:
        raise DataError(f"Cannot read {file} as an .npz file of model outputs: {error}") from error
    gradients, target = Gradients(residuals, features), Target(val_logits, val_labels, val_features)
    return Context(len(labels), labels, gradients=gradients, target=target, learning_rate=LEARNING_RATE)


def write_outputs(file: Path, known: Context) -> None:
    """Write a file that `read_outputs` reads."""
    gradients, target = known.need_gradients("A file of model outputs"), known.target
    labels = known.need_labels("A file of model outputs")
    assert target is not None
    assert gradients.features is not None
    part = file.with_name(file.name + ".part")
    with part.open("wb") as stream:
        np.savez(
            stream,
            residuals=gradients.residuals,
            features=gradients.features,
            labels=labels,
            val_logits=target.logits,
            val_features=target.features,
            val_labels=target.labels,
        )
    part.replace(file)


def observe_briefly(data: Dataset, epochs: int = 1, seed: int = 0) -> Context:
    """Train a small residual network for an epoch and look at all rows; test rows steer.

    Args:
        data: Images, with test rows.
        epochs: Epochs of training.
        seed: Of weights, order and augmentation.

    Raises:
        DataError: There are no test rows.
    """
    if data.test is None:
        raise DataError(f"{data.name} has no test rows, and GLISTER's case needs rows that were not trained on.")
    steering = data.test.take(thin(data.test.labels, VALIDATION_ROWS))
    everything = Split(
        np.concatenate([data.train.inputs, steering.inputs]), np.concatenate([data.train.labels, steering.labels])
    )
    recipe = Recipe(epochs=epochs, batch_size=64, lr=LEARNING_RATE)
    how = Scouting(MODEL, recipe, models=1, num_classes=data.num_classes, seed=seed)
    trained = np.arange(len(data.train))
    seen, _ = scout(how, ArraySource(everything), Transform.fit(data.train.inputs), trained)
    rest = seen.restrict(np.arange(len(data.train), len(everything)))
    logits, features = rest.logits, rest.features
    assert logits is not None
    assert features is not None
    target = Target(logits, rest.need_labels("GLISTER"), features)
    pool = seen.restrict(trained)
    return Context(len(trained), pool.labels, gradients=pool.gradients, target=target, learning_rate=LEARNING_RATE)

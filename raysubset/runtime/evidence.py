"""Evidence that all trials share: gathered once, charged once.

"embedding"   fixed features: a pretrained ResNet-50, else those of a scout, or principal components
"scout"       a model trained beforehand on everything: its outputs, and the trace of its training
"rho-loss"    a scout trained on the held-out rows alone: the irreducible losses
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.data.batches import ArraySource, RowSource, evaluation_batches
from raysubset.data.dataset import Dataset
from raysubset.data.transform import Transform
from raysubset.errors import ModelError, OptionsError
from raysubset.models.catalog import ModelBuilder
from raysubset.models.encoder import PCA_ROWS, PretrainedEncoder, encode, principal_components
from raysubset.proxy.pool import Pool
from raysubset.runtime.scout import Scouting, scout
from raysubset.seeds import generator, seed64
from raysubset.selection.plan import SubsetPlan, steering_size
from raysubset.selection.protocol import Context
from raysubset.selection.scores import loss
from raysubset.selection.timing import FORWARD_SHARE
from raysubset.training.recipe import Recipe

ENCODING_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What all trials know of the pool.

    Attributes:
        context: Labels, and features or outputs.
        key: Names it: equal keys, equal evidence.
        samples: Samples consumed for it.
        seconds: Wall time.
        how: For the report, in words.
    """

    context: Context
    key: str
    samples: int
    seconds: float
    how: str


def gather_evidence(
    plan: SubsetPlan,
    train: RowSource,
    transform: Transform,
    *,
    model: str | ModelBuilder,
    recipe: Recipe,
    num_classes: int,
    seed: int = 0,
    device: str = "cpu",
) -> Evidence:
    """Gather what the plan's selector wants to know before any trial; labels alone if it wants no more.

    Args:
        plan: Names the evidence, the scout and its epochs.
        train: The pool.
        transform: The data's statistics.
        model: Of the trials; the scout's too unless the plan names another.
        recipe: How a scout trains (its epochs are the plan's).
        num_classes: Width of the model's output.
        seed: Of the scouts' weights and draws.
        device: Where to compute.

    Raises:
        ModelError: The plan asks for pretrained weights that cannot be had.
    """
    started = perf_counter()
    classes = None if train.labels.dtype.kind == "f" else train.labels  # targets of a regression are none
    pool = Context(len(train), classes)
    recipe = replace(recipe, epochs=plan.scout_epochs)
    scouting = Scouting(plan.scout_model or model, recipe, plan.scout_models, num_classes, seed, device)
    evidence = plan.habits.evidence
    if evidence == "scout" and plan.habits.in_batch:
        context, samples, how = _irreducible(plan, pool, train, transform, scouting)
    elif evidence == "scout":
        context, samples = scout(scouting, train, transform)
        how = f"{scouting.describe()} trained on all {len(train)} rows"
    elif evidence == "embedding":
        context, samples, how = _embedding(plan, pool, train, transform, scouting)
    else:
        context, samples, how = pool, 0, "labels"
    return Evidence(context, _key(context, how), samples, perf_counter() - started, how)


def evidence_for(
    data: Dataset,
    plan: SubsetPlan,
    *,
    model: str | ModelBuilder,
    recipe: Recipe | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Evidence:
    """Return what ``plan`` wants to know of ``data`` before training, for `raysubset.Subset`.

    Args:
        data: Its training split is the pool.
        plan: See `gather_evidence`.
        model: Zoo name or builder of the scout, unless the plan names another.
        recipe: How it trains.
        seed: Of its weights and draws.
        device: Where to compute.
    """
    return gather_evidence(
        plan,
        ArraySource(data.train),
        Transform.fit(data.train.inputs),
        model=model,
        recipe=recipe or Recipe(),
        num_classes=data.num_classes,
        seed=seed,
        device=device,
    )


def _irreducible(
    plan: SubsetPlan, pool: Context, train: RowSource, transform: Transform, scouting: Scouting
) -> tuple[Context, int, str]:
    rows = Pool(pool).steering_rows(steering_size(plan.habits.steering, len(train)))
    seen, samples = scout(scouting, train, transform, rows)
    assert seen.logits is not None
    signals = {"irreducible": loss(seen.logits, train.labels).astype(np.float32)}
    return replace(pool, signals=signals), samples, f"{scouting.describe()} trained on {len(rows)} held-out rows"


def _embedding(
    plan: SubsetPlan, pool: Context, train: RowSource, transform: Transform, scouting: Scouting
) -> tuple[Context, int, str]:
    missing = ""
    if plan.embedding in ("auto", "resnet50"):
        try:
            features = _encoded(PretrainedEncoder().to(scouting.device), train, scouting.device)
            return replace(pool, features=features), round(len(train) * FORWARD_SHARE), "a pretrained ResNet-50"
        except ModelError:
            if plan.embedding == "resnet50":
                raise
            missing = " (the weights of a pretrained ResNet-50 cannot be had here)"
    if plan.embedding == "pca":
        features = _components(train, transform, scouting.seed)
        return replace(pool, features=features), 0, f"{features.shape[1]} principal components of the inputs"
    seen, samples = scout(scouting, train, transform)
    return replace(pool, features=seen.features), samples, f"features of {scouting.describe()}{missing}"


def _encoded(encoder: PretrainedEncoder, train: RowSource, device: str) -> NDArray[np.float32]:
    if train.rows(np.zeros(1, dtype=np.int64))[0].ndim != 4:
        raise OptionsError("embedding='resnet50' takes images; these rows are none. Use 'scout' or 'pca'.")
    starts = range(0, len(train), ENCODING_BATCH)
    rows = (np.arange(start, min(start + ENCODING_BATCH, len(train))) for start in starts)
    return encode(encoder, (_unit(train.rows(index)[0]).to(device) for index in rows))


def _unit(images: NDArray[Any]) -> torch.Tensor:
    """Return images as floats in [0, 1]."""
    pixels = torch.from_numpy(np.array(images))
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()


def _components(train: RowSource, transform: Transform, seed: int) -> NDArray[np.float32]:
    drawn = generator(seed, "pca").permutation(len(train))[:PCA_ROWS]
    sample = transform.evaluate(torch.from_numpy(np.array(train.rows(np.sort(drawn))[0]))).flatten(1).numpy()
    batches = evaluation_batches(train, transform, 1024)
    return principal_components(
        (batch.inputs.flatten(1).numpy() for batch in batches), sample, seed64(seed, "pca")
    )


def _key(context: Context, how: str) -> str:
    """Name evidence by its bytes; a hundredth of a second for 50,000 rows."""
    digest = blake2b(how.encode(), digest_size=8)
    arrays = [context.labels, context.features, context.logits, *context.signals.values()]
    for array in arrays:
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

"""One evaluation-mode pass of a model over its pool: the logits and features that selectors look at.

Evaluation mode and the evaluation transform: with batch statistics, dropout and random crops the gradients would
be those of one random view, and with batches of one class those of the wrong model.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from raysubset.data.batches import RowSource, evaluation_batches
from raysubset.data.shard import WHOLE, Shard
from raysubset.data.transform import Transform
from raysubset.errors import ModelError, NonFiniteLossError, SelectionError
from raysubset.models.head import last_linear
from raysubset.models.mode import evaluation_mode
from raysubset.selection.outputs import Outputs

OBSERVATION_BATCH = 512


def observe(
    model: nn.Module,
    source: RowSource,
    transform: Transform,
    *,
    device: str = "cpu",
    learning_rate: float | None = None,
    channels_last: bool = False,
    shard: Shard = WHOLE,
) -> Outputs:
    """Return what ``model`` says about every row of ``source``, in the order of the ids.

    Args:
        model: Ends in an ``nn.Linear`` that makes the logits; every module keeps its mode.
        source: The pool.
        transform: Its evaluation half is applied.
        device: Where the model lives.
        learning_rate: Noted in the outputs.
        channels_last: Memory format of image batches.
        shard: The worker that asks; it looks at its own rows only.

    Raises:
        ModelError: The model has no last ``nn.Linear``, or that layer does not see one row a sample.
        NonFiniteLossError: An output is not finite: the training has diverged since its last loss.

    Cost: one forward pass a row, 4 n (c + h) bytes.
    """
    seen: list[Tensor] = []
    hook = last_linear(model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    logits, features = [], []
    try:
        with evaluation_mode(model), torch.inference_mode():
            batches = evaluation_batches(
                source, transform, OBSERVATION_BATCH, device, channels_last=channels_last, shard=shard
            )
            for batch in batches:
                logits.append(_host(model(batch.inputs)))
                features.append(_host(_one_row_a_sample(seen, len(batch)).flatten(1)))
                seen.clear()
    finally:
        hook.remove()
    try:
        return Outputs(np.concatenate(logits), np.concatenate(features), learning_rate)
    except SelectionError as error:
        raise NonFiniteLossError(f"{error} Most likely the training has diverged.") from error


def _one_row_a_sample(seen: list[Tensor], rows: int) -> Tensor:
    if not seen or len(seen[-1]) != rows:
        got = f"{len(seen[-1])} rows" if seen else "nothing"
        raise ModelError(f"The last nn.Linear saw {got} where the batch has {rows}: it must make the logits.")
    return seen[-1]


def _host(values: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(values.float().cpu().numpy(), dtype=np.float32)

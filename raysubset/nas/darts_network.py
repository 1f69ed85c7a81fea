"""The network of a genotype, to be trained from scratch: the CIFAR form of DARTS [1].

A stem, cells (two of which halve the image and double the channels), global average, one linear layer. What helps
600 epochs on all the data, and what an ordinary training loop has to do for it:

    drop path        every operation but an identity is left out with a probability that grows linearly over the
                     training; the loop calls `DartsNetwork.set_progress` before each epoch
    auxiliary head   a second classifier two thirds of the way, in training mode only; the loop's loss per sample
                     is `auxiliary_loss(network)`, which takes its logits from the network

Parameters without the auxiliary head, 3 channels and 10 classes, 36 channels and 20 cells: DARTS_V1 3,169,414,
DARTS_V2 3,349,342. The auxiliary head adds 476,426 that never decide anything.

References:
    [1] Liu, Simonyan, Yang, DARTS, ICLR 2019, arXiv:1806.09055, section 3.2 and appendix A.
    [2] Larsson, Maire, Shakhnarovich, 2017, arXiv:1605.07648: drop path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from raysubset.errors import ModelError, OptionsError
from raysubset.models.shapes import image_shape
from raysubset.nas.darts_operations import FactorizedReduce, operation, relu_conv_bn
from raysubset.nas.darts_search import STEM, check_size, reductions
from raysubset.nas.genotype import INPUTS, NODES, Edge, Genotype

SMALLEST_IMAGE = 8  # the auxiliary head needs 2x2 after two reductions
AUXILIARY_WEIGHT = 0.4


class DartsNetwork(nn.Module):
    """The network of a genotype; logits float32[B, num_classes] of images, in both modes.

    Weights, and in training what drop path leaves out, are drawn from torch's global generator.

    Args:
        genotype: The two cells.
        num_classes: Outputs.
        input_shape: (channels, height, width) of an image, at least 8x8.
        channels: C of the first cells; doubled by each reduction.
        cells: L of all; those at L // 3 and 2 L // 3 halve the image.
        auxiliary: Whether there is an auxiliary head. Trained by a loss that leaves it out, its weights get no
            gradient.
        drop_path: Probability, in [0, 1), that an operation is left out for a sample at the end of training.

    Raises:
        OptionsError: An image too small or no image, no channels or cells, ``drop_path`` outside [0, 1).
    """

    def __init__(
        self,
        genotype: Genotype,
        num_classes: int,
        input_shape: tuple[int, ...],
        channels: int = 36,
        cells: int = 20,
        auxiliary: bool = True,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        colours, _, _ = image_shape("darts", input_shape, SMALLEST_IMAGE)
        check_size("DartsNetwork", channels, cells)
        if not 0 <= drop_path < 1:
            raise OptionsError.of("DartsNetwork", [f"drop_path={drop_path}, need [0, 1)"])
        before_last = last = STEM * channels
        self.stem = nn.Sequential(nn.Conv2d(colours, last, 3, padding=1, bias=False), nn.BatchNorm2d(last))
        stages = reductions(cells)
        self.cells = nn.ModuleList()
        self.drop_path, self._dropping = drop_path, 0.0
        self._auxiliary_at = max(stages)
        self._auxiliary_logits: Tensor | None = None
        for position in range(cells):
            halves = position in stages
            channels *= 2 if halves else 1
            self.cells.append(_Cell(genotype, before_last, last, channels, halves, position - 1 in stages))
            before_last, last = last, NODES * channels
            if position == self._auxiliary_at:
                seen = last
        # before the classifier, which must stay the last linear layer: its input is what selection reads
        self.auxiliary = _AuxiliaryHead(seen, num_classes) if auxiliary else None
        self.classifier = nn.Linear(last, num_classes)

    def set_progress(self, progress: float) -> None:
        """Say how much of the training is done: drop path's probability becomes ``progress`` times its last.

        Args:
            progress: In [0, 1]; 0 until this is called, so that nothing is dropped.

        Raises:
            OptionsError: Outside [0, 1].
        """
        if not 0 <= progress <= 1:
            raise OptionsError.of("DartsNetwork.set_progress", [f"progress={progress}, need [0, 1]"])
        self._dropping = self.drop_path * progress

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [B, C, H, W] to the classifier's logits [B, num_classes]."""
        self._auxiliary_logits = None
        before_last = last = self.stem(inputs)
        for position, cell in enumerate(self.cells):
            before_last, last = last, cell(before_last, last, self._dropping)
            if position == self._auxiliary_at and self.auxiliary is not None and self.training:
                self._auxiliary_logits = self.auxiliary(last)
        logits: Tensor = self.classifier(last.mean(dim=(2, 3)))
        return logits

    def take_auxiliary_logits(self) -> Tensor:
        """Return the auxiliary head's logits [B, num_classes] of the last forward pass, and forget them.

        Raises:
            ModelError: There are none: no auxiliary head, evaluation mode, or they were taken already.
        """
        taken, self._auxiliary_logits = self._auxiliary_logits, None
        if taken is None:
            raise ModelError(
                "There are no auxiliary logits: need auxiliary=True, and each time a forward pass in training."
            )
        return taken

    def __getstate__(self) -> dict[str, Any]:
        """Leave out logits nobody took: part of a graph, they could be neither copied nor pickled."""
        return {**self.__dict__, "_auxiliary_logits": None}


def auxiliary_loss(
    network: DartsNetwork, weight: float = AUXILIARY_WEIGHT, label_smoothing: float = 0.0
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss per sample of a network with an auxiliary head.

    It is the classifier's cross-entropy plus, in training mode, ``weight`` times that of the auxiliary head.

    Args:
        network: Whose forward pass made the logits just before (wrapped or not).
        weight: Of the auxiliary head's cross-entropy; [1] uses 0.4.
        label_smoothing: Of both, in [0, 1).

    Returns:
        (logits float[B, K], targets int64[B]) to float[B], as `training.loop.train_epoch` takes it.
    """

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        own = cross_entropy(logits, targets, reduction="none", label_smoothing=label_smoothing)
        if not network.training:
            return own
        auxiliary = network.take_auxiliary_logits()
        return own + weight * cross_entropy(
            auxiliary.float(), targets, reduction="none", label_smoothing=label_smoothing
        )

    return loss


class _Cell(nn.Module):
    """Two inputs, four nodes of two operations each, the nodes' channels side by side as output."""

    def __init__(
        self, genotype: Genotype, before_last: int, last: int, channels: int, halves: bool, halved_before: bool
    ) -> None:
        super().__init__()
        self.first = (
            FactorizedReduce(before_last, channels, affine=True)
            if halved_before
            else relu_conv_bn(before_last, channels, affine=True)
        )
        self.second = relu_conv_bn(last, channels, affine=True)
        self.pairs: tuple[Edge, ...] = genotype.reduce if halves else genotype.normal
        self.operations = nn.ModuleList(
            operation(op, channels, 2 if halves and source < INPUTS else 1, affine=True)
            for op, source in self.pairs
        )

    def forward(self, before_last: Tensor, last: Tensor, dropping: float) -> Tensor:
        """Map the last two cells' outputs to [B, 4 C, H, W]; each operation is dropped with that probability."""
        states = [self.first(before_last), self.second(last)]
        ends: list[Tensor] = []
        for module, (_, source) in zip(self.operations, self.pairs, strict=True):
            end = module(states[source])
            if self.training and dropping > 0 and not isinstance(module, nn.Identity):
                end = drop_path(end, dropping)
            ends.append(end)
            if len(ends) == 2:
                states.append(ends[0] + ends[1])
                ends = []
        return torch.cat(states[INPUTS:], dim=1)


def drop_path(values: Tensor, probability: float) -> Tensor:
    """Zero each sample of values[B, C, H, W] with that probability; the others grow by 1 / (1 - probability)."""
    kept = values.new_empty((len(values), 1, 1, 1)).bernoulli_(1 - probability)
    return values * kept / (1 - probability)


class _AuxiliaryHead(nn.Sequential):
    """ReLU, average pooling to 2x2, 1x1 and 2x2 convolutions, a linear layer; on 8x8 the published pooling."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(
            nn.ReLU(),
            _FourWindows(),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(768, num_classes),
        )


class _FourWindows(nn.Module):
    """Means of four overlapping windows, one a corner, five eighths of each side: 5x5 on 8x8."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, C, H, W] with H, W >= 2 to [B, C, 2, 2]."""
        strides = [max(1, side * 3 // 8) for side in inputs.shape[2:]]
        windows = [side - stride for side, stride in zip(inputs.shape[2:], strides, strict=True)]
        return nn.functional.avg_pool2d(inputs, windows, strides)

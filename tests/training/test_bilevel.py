"""First-order DARTS against the same two steps written out, and what an epoch of it promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from raysubset.errors import DataError, NonFiniteLossError, OptionsError
from raysubset.models.init import seeded
from raysubset.training.bilevel import ArchitectureRecipe, train_bilevel_epoch
from raysubset.training.optimizer import build_optimizer_over
from raysubset.training.recipe import Recipe

RECIPE = Recipe(
    epochs=2, batch_size=4, lr=0.1, momentum=0.9, weight_decay=1e-2, schedule="constant", gradient_clip=0.05
)


class Mixed(nn.Module):
    """Two linear layers, mixed by softmax(alpha); dropout, so that randomness matters."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(3, 4)
        self.alpha = nn.Parameter(torch.zeros(2))
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        share = self.alpha.softmax(0)
        hidden: Tensor = self.head(
            self.dropout(torch.relu(share[0] * self.one(inputs) + share[1] * self.two(inputs)))
        )
        return hidden

    def architecture_parameters(self) -> list[nn.Parameter]:
        return [self.alpha]

    def weight_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.parameters() if parameter is not self.alpha]


@dataclass
class Batch:
    inputs: Tensor
    targets: Tensor
    index: np.ndarray
    weight: Tensor
    part: None = None


def batches(count: int, seed: int, scale: float = 1.0) -> list[Batch]:
    draw = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        x = scale * torch.randn(4, 3, generator=draw)
        y = torch.randint(2, (4,), generator=draw)
        w = torch.rand(4, generator=draw) * 2
        made.append(Batch(x, y, np.arange(4) + 4 * number, w))
    return made


def model() -> Mixed:
    with seeded(5):
        return Mixed()


def run(net: Mixed, own: list[Batch], steering: list[Batch], **options):  # type: ignore[no-untyped-def]
    weights = build_optimizer_over(net.weight_parameters(), RECIPE)
    architecture = ArchitectureRecipe(lr=0.05).optimizer(net.architecture_parameters())
    return train_bilevel_epoch(
        net, own, steering, weights, architecture, RECIPE, epoch=0, progress=lambda _: 0.0, rng_seed=3, **options
    )


@pytest.mark.parametrize(("own", "steering"), [(3, 3), (3, 2), (2, 4)])
def test_an_epoch_is_alpha_steps_and_weight_steps_in_turn(own: int, steering: int) -> None:
    net, expected = model(), model()
    a, b = batches(own, 1), batches(steering, 2)
    result = run(net, a, b)
    sgd = torch.optim.SGD(expected.weight_parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    adam = torch.optim.Adam([expected.alpha], lr=0.05, betas=(0.5, 0.999), weight_decay=1e-3)
    expected.train()
    with seeded(3):
        for number in range(max(own, steering)):
            for side, optimizer in ((b, adam), (a, sgd)):
                if number < len(side):
                    batch = side[number]
                    expected.zero_grad()
                    losses = cross_entropy(expected(batch.inputs), batch.targets, reduction="none")
                    (batch.weight * losses).mean().backward()
                    if optimizer is sgd:
                        nn.utils.clip_grad_norm_(expected.weight_parameters(), 0.05)
                    optimizer.step()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value, msg=name)
    assert not torch.equal(net.alpha, model().alpha)
    assert (result.weights.samples, result.architecture.samples) == (4 * own, 4 * steering)


class Seen:
    def __init__(self) -> None:
        self.rows: list[int] = []

    def observe(self, index: np.ndarray, logits: Tensor, targets: Tensor, losses: Tensor) -> None:
        assert not logits.requires_grad
        assert len(index) == len(logits) == len(losses)
        self.rows += index.tolist()


def test_each_side_has_an_observer_of_its_own() -> None:
    one, two = Seen(), Seen()
    run(model(), batches(3, 1), batches(2, 2), observers=(one, two))
    assert one.rows == list(range(12))
    assert two.rows == list(range(8))


def test_torchs_generator_is_given_back() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    run(model(), batches(1, 1), batches(1, 2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("bad", [0, 1])
def test_a_loss_that_is_not_finite_on_either_side_stops_before_the_step(bad: int) -> None:
    net = model()
    sides = [batches(2, 1), batches(2, 2)]
    sides[bad][0].inputs[0, 0] = float("inf")
    with pytest.raises(NonFiniteLossError, match="epoch 0, batch 0"):
        run(net, *sides)
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())


def test_a_side_without_a_batch_is_refused() -> None:
    def none() -> Iterator[Batch]:
        yield from ()

    with pytest.raises(DataError, match="no batch"):
        run(model(), batches(1, 1), list(none()))


def test_options_out_of_range_are_named_together() -> None:
    with pytest.raises(OptionsError, match=r"lr=0.*momentum=1.*weight_decay=-1"):
        ArchitectureRecipe(lr=0, momentum=1, weight_decay=-1)

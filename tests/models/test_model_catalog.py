"""Models by name or by builder, their seeded weights, and the head."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from raysubset.errors import ModelError, OptionsError, UnknownNameError
from raysubset.models.catalog import build_model, model_names
from raysubset.models.head import last_linear
from raysubset.models.init import seeded


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def build(model: object = "lenet", seed: int = 0, classes: int = 10) -> nn.Module:
    return build_model(model, num_classes=classes, input_shape=(1, 16, 16), seed=seed)


@pytest.mark.parametrize("name", ["lenet", "mlp", "resnet8"])
def test_seed_names_the_weights_whatever_was_drawn_before(name: str) -> None:
    first = weights(build(name, seed=3))
    with torch.random.fork_rng():
        torch.randn(17)
        again = weights(build(name, seed=3))
    assert torch.equal(first, again)
    assert not torch.equal(first, weights(build(name, seed=4)))


def test_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    build("resnet8")
    with pytest.raises(RuntimeError, match="shape"), seeded(1):
        nn.Linear(2, 3)(torch.rand(5))
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_blocks_repeat() -> None:
    draws = []
    for seed in (5, 5, 6, 2**62):
        with seeded(seed):
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[2], draws[3])


def test_builder_is_called_with_classes_and_shape_under_the_seed() -> None:
    def builder(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
        assert (num_classes, input_shape) == (4, (1, 16, 16))
        return nn.Sequential(nn.Flatten(), nn.Linear(256, num_classes))

    assert torch.equal(weights(build(builder, 1, 4)), weights(build(builder, 1, 4)))


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"'resnet9'\. Did you mean 'resnet") as caught:
        build("resnet9")
    assert all(name in str(caught.value) for name in model_names())


def test_refuses_one_class_and_builders_of_nothing() -> None:
    with pytest.raises(OptionsError, match="num_classes=1"):
        build("lenet", classes=1)
    with pytest.raises(ModelError, match=r"returned NoneType, need an nn\.Module"):
        build(lambda *_: None)


@pytest.mark.parametrize("name", sorted({"lenet", "mlp", "resnet8", "resnet18"}))
def test_head_makes_the_logits(name: str) -> None:
    model = build(name, classes=6)
    head = last_linear(model, 6)
    assert head is last_linear(model)
    made: list[torch.Tensor] = []
    head.register_forward_hook(lambda *call: made.append(call[-1]))
    assert torch.equal(model(torch.ones(2, 1, 16, 16)), made[0])


def test_head_can_be_picked_by_its_outputs() -> None:
    model = nn.ModuleDict({"head": nn.Linear(8, 5), "projection": nn.Linear(8, 3)})
    assert last_linear(model) is model["projection"]
    assert last_linear(model, 5) is model["head"]


def test_a_bare_linear_is_its_own_head() -> None:
    model = nn.Linear(2, 3)
    assert last_linear(model) is model


def test_says_why_there_is_no_head() -> None:
    with pytest.raises(
        ModelError, match=r"Sequential has no nn.Linear \(linear layers found: none\).*last nn.Linear"
    ):
        last_linear(nn.Sequential(nn.Conv2d(1, 10, 3), nn.Flatten()))
    with pytest.raises(ModelError, match=r"no nn.Linear with 9 outputs \(linear layers found: itself -> 3\)"):
        last_linear(nn.Linear(2, 3), 9)

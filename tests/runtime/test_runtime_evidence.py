"""Evidence that trials share: what is in it, what it costs, and that a seed fixes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import raysubset as rs
from raysubset.errors import ModelError, SelectorError
from raysubset.proxy.pool import Pool
from raysubset.runtime.evidence import evidence_for
from raysubset.selection.plan import SubsetPlan, steering_size
from raysubset.selection.protocol import Context
from raysubset.training.recipe import Recipe

RECIPE = Recipe(epochs=30, batch_size=32, lr=0.05, momentum=0.9)


@pytest.fixture(autouse=True)
def no_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there


def gathered(digits, plan: SubsetPlan, seed: int = 0):
    return evidence_for(digits, plan, model="mlp", recipe=RECIPE, seed=seed)


@pytest.mark.slow
def test_a_scout_says_how_it_learned_every_row(digits) -> None:
    n = len(digits.train)
    plan = SubsetPlan(selector="el2n", scout_epochs=3, scout_models=2)
    evidence = gathered(digits, plan)
    context = evidence.context
    assert set(context.signals) == {"el2n", "grand", "forgetting", "aum"}
    assert all(values.shape == (n,) and values.dtype == np.float32 for values in context.signals.values())
    assert context.logits is not None
    assert (context.logits.argmax(axis=1) == digits.train.labels).mean() > 0.7, "three epochs teach it the digits"
    assert context.signals["aum"].mean() > 0
    wrong = context.logits.argmax(axis=1) != digits.train.labels
    assert context.signals["el2n"][wrong].mean() > context.signals["el2n"][~wrong].mean()
    assert evidence.samples == 2 * (3 * n + round(n / 3)) == plan.scouting_samples(n)
    assert evidence.how == "2 x mlp after 3 epochs trained on all 600 rows"


@pytest.mark.slow
def test_a_seed_fixes_the_evidence(digits) -> None:
    plan = SubsetPlan(selector="el2n", scout_epochs=1)
    first, again, other = gathered(digits, plan), gathered(digits, plan), gathered(digits, plan, seed=1)
    assert first.key == again.key != other.key
    np.testing.assert_array_equal(first.context.signals["aum"], again.context.signals["aum"])


@pytest.mark.slow
def test_irreducible_losses_come_from_the_held_out_rows_alone(digits) -> None:
    n = len(digits.train)
    plan = SubsetPlan(selector="rho-loss", scout_epochs=12)
    evidence = gathered(digits, plan)
    held_out = steering_size(plan.habits.steering, n)
    rows = Pool(Context(n, digits.train.labels)).steering_rows(held_out)
    irreducible = evidence.context.signals["irreducible"]
    assert irreducible[rows].mean() < irreducible.mean(), "it has trained on them"
    assert (irreducible >= 0).all()
    assert evidence.samples == 12 * held_out + round(n / 3) == plan.scouting_samples(n)


@pytest.mark.slow
def test_principal_components_keep_what_varies(digits) -> None:
    evidence = gathered(digits, SubsetPlan(selector="k-center", embedding="pca"))
    features = evidence.context.features
    assert features is not None
    assert features.shape == (len(digits.train), 64)
    pixels = digits.train.inputs.reshape(len(digits.train), -1).astype(np.float64)
    kept = features.var(axis=0).sum() / (pixels / pixels.std()).var(axis=0).sum()
    assert kept > 0.8
    assert evidence.samples == 0
    assert "principal components" in evidence.how


@pytest.mark.slow
def test_without_weights_an_embedding_is_a_scout_and_says_so(digits) -> None:
    evidence = gathered(digits, SubsetPlan(selector="k-center", scout_epochs=1))
    assert evidence.how == (
        "features of mlp after 1 epochs (the weights of a pretrained ResNet-50 cannot be had here)"
    )
    with pytest.raises(ModelError, match=r"ResNet-50 cannot be had .*'scout' or 'pca'"):
        gathered(digits, SubsetPlan(selector="k-center", embedding="resnet50"))


@pytest.mark.slow
def test_pretrained_weights_are_used_where_they_lie(digits, tmp_path: Path) -> None:
    from torchvision.models import ResNet50_Weights, resnet50

    folder = tmp_path / "hub" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    network = resnet50(weights=None)
    torch.save(network.state_dict(), folder / ResNet50_Weights.DEFAULT.url.rpartition("/")[2])
    few = replace(digits, train=digits.train.take(np.arange(6)))
    evidence = gathered(few, SubsetPlan(selector="k-center"))
    assert evidence.how == "a pretrained ResNet-50"
    features = evidence.context.features
    assert features is not None
    assert features.shape == (6, 2048)
    network.fc = torch.nn.Identity()
    image = torch.from_numpy(few.train.inputs[2:3].astype(np.float32) / 255).expand(-1, 3, -1, -1)
    scaled = torch.nn.functional.interpolate(image, size=(224, 224), mode="bilinear", antialias=True)
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = network.eval()((scaled - mean.view(3, 1, 1)) / spread.view(3, 1, 1))
    np.testing.assert_allclose(features[2], expected[0].numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_loop_of_ones_own_chooses_by_evidence(digits) -> None:
    plan = SubsetPlan(selector="k-center", ratio=0.2, schedule="static", embedding="pca")
    with pytest.raises(SelectorError, match="evidence_for"):
        rs.Subset(digits, plan)
    subset = rs.Subset(digits, plan, evidence=gathered(digits, plan))
    rows = [np.concatenate([batch.index for batch in epoch]) for epoch in subset.epochs(2)]
    assert len(rows[0]) == 120
    assert set(rows[0].tolist()) == set(rows[1].tolist())

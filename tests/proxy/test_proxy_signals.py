"""Signals against golden values and against autograd of the last layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from tolerances import AUTOGRAD, PROPERTY, SIGNAL_ABSOLUTE, SIGNAL_RELATIVE
from torch import Tensor, nn

from raysubset.errors import ModelError
from raysubset.proxy.memory import EpochSignals, ProxyMemory
from raysubset.proxy.signals import FLUSH_ROWS, SignalLog, SignalRecorder, batch_signals, features_behind

GOLDEN = golden("asp_metrics")
EXPECTED = GOLDEN["expected"]
LOGITS = torch.tensor(GOLDEN["inputs"]["logits"])
LABELS = torch.tensor(GOLDEN["inputs"]["labels"])
FEATURES = torch.tensor(GOLDEN["inputs"]["penultimate"])
NORMS = FEATURES.norm(dim=1)


def close(got: Tensor | np.ndarray, expected: list[float]) -> None:  # type: ignore[type-arg]
    np.testing.assert_allclose(np.asarray(got), expected, rtol=SIGNAL_RELATIVE, atol=SIGNAL_ABSOLUTE)


def losses_of(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    return nn.functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


def test_golden_signals_from_logits_and_features() -> None:
    close(torch.softmax(LOGITS, dim=1), EXPECTED["probs"])  # the softmax the values below are made of
    loss, entropy, gradient, correct = batch_signals(LOGITS, LABELS, losses_of(LOGITS, LABELS), NORMS)
    close(loss, EXPECTED["loss"])
    close(entropy, EXPECTED["entropy"])
    close(gradient, EXPECTED["grad_norm_weight_only"])
    right = [predicted == label for predicted, label in zip(EXPECTED["pred"], LABELS.tolist(), strict=True)]
    assert correct.tolist() == [float(answer) for answer in right]


def test_golden_residual_norms_are_gradients_at_features_of_norm_one() -> None:
    one = torch.ones(len(LOGITS))
    close(batch_signals(LOGITS, LABELS, one, one)[2], EXPECTED["el2n"])
    close(batch_signals(LOGITS, LABELS, one, one, 0.1)[2], EXPECTED["label_smoothing_0p1_logit_grad_norm"])


def test_golden_gradient_with_bias_is_that_of_features_with_a_one_appended() -> None:
    norms = torch.cat([FEATURES, torch.ones(len(FEATURES), 1)], dim=1).norm(dim=1)
    close(batch_signals(LOGITS, LABELS, norms, norms)[2], EXPECTED["grad_norm_weight_and_bias"])


def test_golden_loss_with_label_smoothing_is_passed_on() -> None:
    losses = losses_of(LOGITS, LABELS, 0.1)
    close(batch_signals(LOGITS, LABELS, losses, NORMS, 0.1)[0], EXPECTED["label_smoothing_0p1_loss"])


def test_golden_prediction_delta_through_the_memory() -> None:
    log = SignalLog()
    log.add(np.arange(4), LOGITS, LABELS, losses_of(LOGITS, LABELS), FEATURES)
    memory = ProxyMemory(4)
    memory.record(0, log.collect())
    assert memory.importance("prediction").tolist() == EXPECTED["prediction_delta"]


def golden_head(row: int) -> nn.Linear:
    """A last layer that turns the golden features of one row into its golden logits."""
    head = nn.Linear(2, 3)
    h, z = FEATURES[row], LOGITS[row]
    with torch.no_grad():
        head.weight.copy_(torch.outer(z, h) / h.dot(h))
        head.bias.zero_()
    return head


def test_golden_signals_through_a_real_model_and_autograd() -> None:
    found: list[EpochSignals] = []
    for row in range(4):
        model = nn.Sequential(nn.Identity(), golden_head(row))
        recorder = SignalRecorder(model)
        logits, label = model(FEATURES[row : row + 1]), LABELS[row : row + 1]
        losses = losses_of(logits, label)
        recorder.observe(np.array([row]), logits.detach(), label, losses.detach())
        losses.sum().backward()
        found.append(recorder.collect())
        recorder.close()
        weight, bias = model[1].weight.grad, model[1].bias.grad
        close(weight.norm().reshape(1), [EXPECTED["grad_norm_weight_only"][row]])
        both = torch.cat([weight.flatten(), bias]).norm().reshape(1)
        close(both, [EXPECTED["grad_norm_weight_and_bias"][row]])
    assert [signals.index.tolist() for signals in found] == [[0], [1], [2], [3]]
    close(np.concatenate([signals.loss for signals in found]), EXPECTED["loss"])
    close(np.concatenate([signals.entropy for signals in found]), EXPECTED["entropy"])
    close(np.concatenate([signals.gradient for signals in found]), EXPECTED["grad_norm_weight_only"])


def test_every_golden_value_is_read() -> None:
    assert set(GOLDEN["inputs"]) == {"logits", "labels", "penultimate"}
    assert set(EXPECTED) == {
        "probs",
        "loss",
        "entropy",
        "el2n",
        "grad_norm_weight_only",
        "grad_norm_weight_and_bias",
        "pred",
        "prediction_delta",
        "label_smoothing_0p1_loss",
        "label_smoothing_0p1_logit_grad_norm",
    }


class Network(nn.Module):
    """Convolution, batch norm, dropout and two linear layers; the last one makes the logits."""

    def __init__(self, classes: int, bias: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten())
        self.hidden = nn.Sequential(nn.Linear(48, 7), nn.Tanh(), nn.Dropout(0.3))
        self.head = nn.Linear(7, classes, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.hidden(self.stem(x)))
        return logits


@pytest.mark.slow
@PROPERTY
@given(
    batch=st.integers(2, 6),
    classes=st.integers(2, 5),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    bias=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_gradient_is_the_norm_autograd_gives_for_the_last_weight(
    batch: int, classes: int, smoothing: float, bias: bool, seed: int
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Network(classes, bias)
        inputs, targets = torch.randn(batch, 1, 6, 6), torch.randint(classes, (batch,))
        recorder = SignalRecorder(model, smoothing)
        logits = model(inputs)
    losses = losses_of(logits, targets, smoothing)
    explicit = [
        torch.autograd.grad(loss, model.head.weight, retain_graph=True)[0].norm().item() for loss in losses
    ]
    norms = features_behind(logits).norm(dim=1)
    recorder.observe(np.arange(batch), logits.detach(), targets, losses.detach())
    signals = recorder.collect()
    np.testing.assert_allclose(signals.gradient, explicit, rtol=AUTOGRAD, atol=AUTOGRAD)
    np.testing.assert_allclose(signals.loss, losses.detach(), rtol=SIGNAL_RELATIVE)
    again = batch_signals(logits.detach(), targets, losses.detach(), norms, smoothing)
    np.testing.assert_allclose(again[2], signals.gradient, rtol=SIGNAL_RELATIVE)


def test_observing_changes_no_gradient() -> None:
    model, twin = nn.Linear(3, 2), nn.Linear(3, 2)
    twin.load_state_dict(model.state_dict())
    recorder, targets = SignalRecorder(model), torch.tensor([0, 1, 0, 1])
    for network in (model, twin):
        logits = network(torch.ones(4, 3))
        losses = losses_of(logits, targets)
        if network is model:
            recorder.observe(np.arange(4), logits.detach(), targets, losses.detach())
        losses.mean().backward()
    recorder.collect()
    assert torch.equal(model.weight.grad, twin.weight.grad)  # type: ignore[arg-type]


def test_entropy_of_a_certain_row_is_zero_and_ties_go_to_the_lowest_class() -> None:
    logits = torch.tensor([[0.0, -torch.inf], [200.0, 0.0], [1.0, 1.0]])
    signals = batch_signals(logits, torch.tensor([0, 1, 1]), torch.zeros(3), torch.ones(3))
    assert signals[1].tolist() == [0.0, 0.0, pytest.approx(np.log(2))]
    assert signals[3].tolist() == [1.0, 0.0, 0.0]
    assert signals[2].tolist() == [0.0, pytest.approx(2**0.5), pytest.approx(0.5**0.5)]


def test_half_precision_logits_are_measured_in_float32() -> None:
    signals = batch_signals(LOGITS.bfloat16(), LABELS, losses_of(LOGITS, LABELS).bfloat16(), NORMS)
    assert signals.dtype == torch.float32
    close(signals[1], EXPECTED["entropy"])


def test_a_nan_logit_leaves_a_mark_the_memory_rejects() -> None:
    logits = torch.tensor([[float("nan"), 0.0], [1.0, 0.0]])
    targets = torch.tensor([0, 0])
    log = SignalLog()
    log.add(np.arange(2), logits, targets, losses_of(logits, targets), torch.ones(2, 1))
    memory = ProxyMemory(2)
    memory.record(0, log.collect())
    assert memory.rejected == 1
    assert memory.seen.tolist() == [False, True]


@pytest.mark.parametrize("batch", [1000, FLUSH_ROWS, FLUSH_ROWS + 1])
def test_the_log_measures_what_each_batch_alone_would_give(batch: int) -> None:
    """Rows are measured some thousand at a time, whatever the batches."""
    total, source = 2 * FLUSH_ROWS + 700, torch.Generator().manual_seed(0)
    rows = np.random.default_rng(0).permutation(total)
    logits, features = torch.randn(total, 4, generator=source), torch.randn(total, 3, generator=source)
    targets = torch.randint(4, (total,), generator=source)
    losses = losses_of(logits, targets)
    log = SignalLog(label_smoothing=0.2)
    for start in range(0, total, batch):
        part = slice(start, start + batch)
        log.add(rows[part], logits[part], targets[part], losses[part], features[part])
    assert len(log) == total
    signals = log.collect()
    expected = batch_signals(logits, targets, losses, features.norm(dim=1), 0.2).numpy()
    assert signals.index.tolist() == rows.tolist()
    got = (signals.loss, signals.entropy, signals.gradient, signals.correct)
    for name, found, wanted in zip(("loss", "entropy", "gradient", "correct"), got, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=SIGNAL_RELATIVE, atol=SIGNAL_ABSOLUTE, err_msg=name)
    assert signals.correct.dtype == bool


def test_the_log_starts_anew_after_collect() -> None:
    log = SignalLog()
    for row in (3, 8):
        log.add(np.array([row]), LOGITS[:1], LABELS[:1], torch.tensor([float(row)]), FEATURES[:1])
        assert len(log) == 1
        signals = log.collect()
        assert len(log) == 0
        assert (signals.index.tolist(), signals.loss.tolist()) == ([row], [float(row)])


def test_evaluation_passes_leave_the_recorder_alone() -> None:
    model = nn.Linear(3, 2)
    recorder = SignalRecorder(model)
    logits = model(torch.ones(4, 3))
    model.eval()
    model(torch.ones(9, 3))
    recorder.observe(np.arange(4), logits.detach(), torch.zeros(4, dtype=torch.int64), torch.ones(4))
    assert recorder.collect().gradient.shape == (4,)


def test_close_takes_the_hook_off() -> None:
    model = nn.Linear(3, 2)
    recorder = SignalRecorder(model)
    recorder.close()
    with pytest.raises(ModelError, match="saw no rows where the loss has 4"):
        recorder.observe(np.arange(4), model(torch.ones(4, 3)), torch.zeros(4, dtype=torch.int64), torch.ones(4))


def test_a_layer_that_saw_another_batch_is_refused() -> None:
    model = nn.Linear(3, 2)
    recorder = SignalRecorder(model)
    logits = model(torch.ones(4, 3))
    with pytest.raises(ModelError, match="saw 4 rows where the loss has 2"):
        recorder.observe(np.arange(2), logits[:2], torch.zeros(2, dtype=torch.int64), torch.ones(2))


def test_a_model_without_a_linear_layer_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no nn\.Linear"):
        SignalRecorder(nn.Conv2d(1, 1, 1))


@pytest.mark.parametrize("bias", [True, False])
def test_the_features_behind_logits_are_the_linear_layers_input(bias: bool) -> None:
    features = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    logits = nn.Linear(5, 3, bias=bias)(features)
    assert torch.equal(features_behind(logits), features)
    assert not features_behind(nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 3, bias=bias))(features)).requires_grad


SCALE = nn.Parameter(torch.ones(1))  # a learnt temperature: autograd keeps the logits themselves for it


@pytest.mark.parametrize(
    "change",
    [
        lambda z: z * SCALE,
        lambda z: z / SCALE,
        lambda z: z * 2,
        lambda z: z**2,
        lambda z: z.clamp(-1, 1),
        lambda z: z.log_softmax(1),
        lambda z: z.detach(),
    ],
)
def test_logits_changed_after_the_layer_are_refused(change: object) -> None:
    logits = nn.Linear(5, 3)(torch.ones(6, 5))
    with pytest.raises(ModelError, match="these logits were made by"):
        features_behind(change(logits))  # type: ignore[operator]

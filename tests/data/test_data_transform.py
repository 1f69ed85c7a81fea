from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import pixels

from raysubset.data import transform as module
from raysubset.data.transform import Transform
from raysubset.errors import DataError, OptionsError


@given(n=st.integers(1, 40), channels=st.sampled_from([1, 3]), side=st.integers(1, 9), seed=st.integers(0, 99))
def test_fit_is_numpy_in_float64(n: int, channels: int, side: int, seed: int) -> None:
    images = pixels(n, channels, side, side + 1, seed=seed)
    fitted = Transform.fit(images)
    scaled = images.astype(np.float64) / 255
    np.testing.assert_allclose(fitted.mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    expected = scaled.std(axis=(0, 2, 3))
    np.testing.assert_allclose(fitted.std, np.where(expected == 0, 1, expected), rtol=1e-10)


def test_fit_in_several_counting_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pixels(50, 3, 6, 6)
    whole = Transform.fit(images)
    monkeypatch.setattr(module, "COUNT_PIXELS", 100)
    assert Transform.fit(images) == whole


def test_a_constant_channel_has_std_1() -> None:
    fitted = Transform.fit(np.full((3, 1, 4, 4), 51, np.uint8))
    assert fitted.std == (1.0,)
    assert math.isclose(fitted.mean[0], 0.2, rel_tol=1e-12)


def test_options_are_checked_together() -> None:
    with pytest.raises(OptionsError) as caught:
        Transform((0.5,), (0.0,), flip=1.5, crop_padding=-1)
    for part in ("std", "flip=1.5", "crop_padding=-1"):
        assert part in str(caught.value)
    with pytest.raises(OptionsError, match="1 means but 2"):
        Transform((0.5,), (0.1, 0.2))


def test_features_pass_unchanged_and_cannot_be_augmented() -> None:
    features = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    fitted = Transform.fit(features)
    batch = torch.from_numpy(features)
    assert fitted.train(batch, np.arange(6), 0, 0) is batch
    assert fitted.evaluate(batch) is batch
    for options in ({"flip": 0.5}, {"crop_padding": 4}):
        with pytest.raises(OptionsError, match="need images"):
            Transform.fit(features, **options)


def test_refuses_what_it_was_not_fitted_to() -> None:
    fitted = Transform.fit(pixels(3, 3, 4, 4))
    for bad in (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, 3, 4, 4)):
        with pytest.raises(DataError, match="fitted to uint8"):
            fitted.evaluate(bad)
    with pytest.raises(DataError, match="fitted to float32 features"):
        Transform((), ()).evaluate(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(DataError, match="float64"):
        Transform.fit(np.zeros((3, 4)))


@given(data=st.data(), padding=st.integers(0, 4), channels=st.sampled_from([1, 3]), count=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_crop_and_flip_against_torchvision(data: st.DataObject, padding: int, channels: int, count: int) -> None:
    """Given the draws, each image equals torchvision's pad, crop, hflip and normalize, one by one in float64."""
    height, width = 7, 5
    offset = st.integers(0, 2 * padding)
    tops, lefts = (data.draw(st.lists(offset, min_size=count, max_size=count)) for _ in range(2))
    flips = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    draws = {
        "crop-y": (np.array(tops) + 0.5) / (2 * padding + 1),
        "crop-x": (np.array(lefts) + 0.5) / (2 * padding + 1),
        "flip": np.where(flips, 0.3 - 1e-9, 0.3),
    }
    images = torch.from_numpy(pixels(count, channels, height, width))
    subject = Transform((0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels], flip=0.3, crop_padding=padding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "row_uniforms", lambda *key, rows: draws[key[2]][rows])
        got = subject.train(images, np.arange(count), seed=1, epoch=2)
    for i in range(count):
        image = oracle.crop(oracle.pad(images[i], padding), tops[i], lefts[i], height, width)
        image = oracle.hflip(image) if flips[i] else image
        expected = oracle.normalize(image.double() / 255, subject.mean, subject.std)
        torch.testing.assert_close(got[i].double(), expected, rtol=1e-5, atol=1e-6)
    assert got.dtype == torch.float32
    assert got.is_contiguous()


def test_channels_last_batches_give_the_same_values() -> None:
    images = torch.from_numpy(pixels(6, 3, 8, 8))
    fitted = Transform.fit(images.numpy(), flip=0.5, crop_padding=2)
    last = images.contiguous(memory_format=torch.channels_last)
    rows = np.arange(6)
    assert torch.equal(fitted.train(last, rows, 0, 1), fitted.train(images, rows, 0, 1))
    assert torch.equal(fitted.evaluate(last), fitted.evaluate(images))


def test_augmentation_belongs_to_seed_epoch_and_row() -> None:
    images = torch.from_numpy(pixels(64, 3, 8, 8))
    subject = Transform.fit(images.numpy(), flip=0.5, crop_padding=2)
    rows = np.arange(100, 164)
    whole = subject.train(images, rows, seed=5, epoch=3)
    some = np.array([40, 3, 17])
    assert torch.equal(subject.train(images[some], rows[some], seed=5, epoch=3), whole[some])
    for other in (subject.train(images, rows, 5, 4), subject.train(images, rows, 6, 3)):
        assert not torch.equal(other, whole)


def ramp_draws(n: int, seed: int, epoch: int) -> np.ndarray:
    """(n, 3) top, left and flip of rows 0..n-1, read off a 9 x 9 ramp image cropped with padding 2."""
    ramp = torch.arange(1, 82, dtype=torch.uint8).view(1, 1, 9, 9).expand(n, -1, -1, -1)
    subject = Transform((0.0,), (1.0,), flip=0.5, crop_padding=2)
    out = (subject.train(ramp, np.arange(n), seed, epoch) * 255).round().to(torch.int64)[:, 0].numpy()
    row, column = np.divmod(out[:, 4, 4] - 1, 9)  # the centre pixel comes from (top + 2, left + 2), flipped or not
    return np.stack([row - 2, column - 2, out[:, 4, 3] > out[:, 4, 5]], axis=1)


def test_draws_cover_their_range_evenly() -> None:
    """Each of 5 x 5 x 2 outcomes has a 1/50 share, so the three draws are also independent of one another."""
    n = 20_000
    outcomes, counts = np.unique(ramp_draws(n, 0, 0), axis=0, return_counts=True)
    assert outcomes.min(axis=0).tolist() == [0, 0, 0]
    assert outcomes.max(axis=0).tolist() == [4, 4, 1]
    assert len(outcomes) == 50
    assert np.abs(counts / n - 1 / 50).max() < 5 * math.sqrt(0.02 * 0.98 / n)  # five standard errors


@pytest.mark.parametrize("other", [(0, 1), (1, 0)])
def test_each_draw_changes_with_seed_and_epoch(other: tuple[int, int]) -> None:
    n = 5000
    agree = (ramp_draws(n, 0, 0) == ramp_draws(n, *other)).mean(axis=0)
    assert np.abs(agree - [1 / 5, 1 / 5, 1 / 2]).max() < 5 * math.sqrt(0.25 / n)  # five standard errors


def test_the_given_batch_and_the_global_generator_are_left_alone() -> None:
    images = torch.from_numpy(pixels(4, 3, 6, 6))
    before, state = images.clone(), torch.get_rng_state()
    subject = Transform.fit(images.numpy(), flip=0.5, crop_padding=1)
    subject.train(images, np.arange(4), 0, 0)
    subject.evaluate(images)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_cutout_blanks_one_square_of_each_image_anywhere() -> None:
    """After normalisation the square is 0, its centre uniform over the image; the rest is untouched."""
    side, count = 4, 3000
    batch = torch.full((count, 2, 9, 7), 200, dtype=torch.uint8)
    rows = np.arange(count)
    subject = Transform((0.5, 0.4), (0.2, 0.3), cutout=side)
    plain, cut = subject.evaluate(batch), subject.train(batch, rows, seed=3, epoch=1)
    blank = (cut == 0).numpy()
    assert torch.equal(cut[~torch.from_numpy(blank)], plain[~torch.from_numpy(blank)])
    assert (blank[:, 0] == blank[:, 1]).all()
    centres = np.zeros((9, 7))
    for image in blank[:, 0]:
        ys, xs = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert image[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1].all()  # a rectangle without holes
        assert len(ys) <= side
        assert len(xs) <= side
        if len(ys) == side and len(xs) == side:
            centres[ys[0] + side // 2, xs[0] + side // 2] += 1
    inner = centres[2:8, 2:6]  # squares that lie wholly inside
    share = 1 / (9 * 7)
    assert (np.abs(inner / count - share) < 5 * (share / count) ** 0.5).all()
    assert centres.sum() == inner.sum()


def test_cutout_depends_on_seed_epoch_and_row_alone() -> None:
    batch = torch.full((6, 1, 8, 8), 9, dtype=torch.uint8)
    subject = Transform((0.5,), (0.2,), cutout=3)
    whole = subject.train(batch, np.arange(6), seed=1, epoch=2)
    assert torch.equal(subject.train(batch[:2], np.array([4, 1]), seed=1, epoch=2), whole[[4, 1]])
    assert not torch.equal(subject.train(batch, np.arange(6), seed=1, epoch=3), whole)


@pytest.mark.parametrize("options", [{"cutout": -1}, {"cutout": 2, "features": True}])
def test_a_cutout_that_cannot_be_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(OptionsError, match="cutout"):
        Transform(*(((), ()) if options.pop("features", False) else ((0.5,), (0.2,))), **options)

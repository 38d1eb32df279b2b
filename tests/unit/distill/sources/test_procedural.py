"""Procedural pictures follow from their seed and are rich enough to learn from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from abd_app.distill.sources.procedural import _power_law_noise, draw_canvases


def _drawn(count: int, size_px: int, *, seed: int) -> npt.NDArray[np.uint8]:
    return np.stack(list(draw_canvases(count, size_px, seed=seed)))


def test_the_same_seed_draws_the_same_pictures_and_another_seed_others() -> None:
    first = _drawn(2, 48, seed=3)
    assert first.shape == (2, 48, 48, 3) and first.dtype == np.uint8
    assert np.array_equal(first, _drawn(2, 48, seed=3))
    assert np.array_equal(first, _drawn(7, 48, seed=3)[:2]), "however many follow"
    assert not np.array_equal(first, _drawn(2, 48, seed=4))
    assert not np.array_equal(first[0], first[1])


def test_pictures_have_contrast_colour_and_edges() -> None:
    pictures = _drawn(4, 64, seed=0).astype(float)
    assert (pictures.std(axis=(1, 2)) > 15).all()
    assert np.abs(pictures[..., 0] - pictures[..., 2]).mean() > 10
    assert np.abs(np.diff(pictures, axis=1)).max() > 100


def test_noise_has_the_spectrum_it_claims() -> None:
    side, exponent = 128, 1.5
    power = sum(
        np.abs(np.fft.fft2(_power_law_noise(side, exponent=exponent, rng=np.random.default_rng(seed)))) ** 2
        for seed in range(8)
    )
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    band = (frequency > 0.03) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]
    assert slope == pytest.approx(-2 * exponent, abs=0.1)

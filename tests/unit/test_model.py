"""What the shipped model must do whatever its scores are."""

import numpy as np
import pytest

from pyenhance import enhance
from pyenhance.model import available_models

from ..conftest import noisy_voice


@pytest.fixture(params=available_models())
def model(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("level_db", [-50, -20, 15])
def test_level_changes_nothing_but_level(model: str, level_db: float) -> None:
    x = 0.1 * noisy_voice(4.0)
    gain = np.float32(10 ** (level_db / 20))
    difference = enhance(gain * x, 48_000, model=model) / gain - enhance(x, 48_000, model=model)
    assert np.std(difference) < 0.01 * np.std(x)


def test_noise_alone_is_pushed_down(model: str) -> None:
    noise = 0.02 * np.random.default_rng(0).normal(size=4 * 48_000)
    y = enhance(noise, 48_000, model=model)
    assert np.std(y[48_000:]) < 0.1 * np.std(noise)


def test_silence_stays_silent(model: str) -> None:
    assert not enhance(np.zeros(48_000), 48_000, model=model).any()


def test_silence_after_speech_is_silent(model: str) -> None:
    x = np.concatenate((noisy_voice(2.0), np.zeros(48_000, np.float32)))
    y = enhance(x, 48_000, model=model)
    assert np.abs(y[2 * 48_000 + 4800 :]).max() < 1e-6


def test_music_gains_nothing_that_was_not_there(model: str) -> None:
    """Chords that die away: softer perhaps, but no click, no louder frame, no tone of its own."""
    rate, seconds = 48_000, 4
    time = np.arange(rate * seconds) / rate
    chords = [(220.0, 277.2, 329.6), (196.0, 246.9, 293.7), (174.6, 220.0, 261.6), (164.8, 207.7, 246.9)]
    x = np.zeros(len(time))
    for k, chord in enumerate(chords):
        local = time[k * rate :] - k
        struck = np.exp(-2 * local) * np.minimum(1, local / 0.005)
        x[k * rate :] += struck * sum(np.sin(2 * np.pi * h * f * local) / h**1.5 for f in chord for h in range(1, 12))
    x = (0.1 * x).astype(np.float32)
    y = enhance(x, rate, model=model)
    assert np.abs(np.diff(y)).max() < 1.2 * np.abs(np.diff(x)).max()
    frames = [z[: len(z) // 960 * 960].reshape(-1, 960) * np.hanning(960) for z in (x, y)]
    before, after = (np.abs(np.fft.rfft(frame)) ** 2 for frame in frames)
    assert (after.sum(1) < 1.26 * before.sum(1) + 1e-6).all()
    empty = before.mean(0) < 1e-8 * before.mean(0).max()  # between 8 and 20 kHz there is nothing
    assert empty[200:400].mean() > 0.9
    assert after.mean(0)[empty].max() < 1e-6 * before.mean(0).max()

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

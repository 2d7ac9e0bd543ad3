"""The playable article: steps, edits, pictures."""

import numpy as np
import pytest

from pyenhance.dsp import synthesis
from pyenhance.enhancer import Enhancer
from pyenhance.lab import STEPS, Lab, picture

from ..conftest import noisy_voice, voiced


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(noisy_voice(3.0), voiced(3.0))


def test_each_step_gets_nearer(lab: Lab) -> None:
    scores = {step: lab.si_sdr(lab.run(step)) for step in STEPS}
    assert scores["noisy"] < scores["gains"] < scores["bins"]
    assert scores["gains"] < scores["comb"]
    few = lab.si_sdr(lab.run("gains", bands=4))
    assert few < scores["gains"] < lab.si_sdr(lab.run("gains", bands=150)) + 0.1
    assert abs(lab.si_sdr(lab.run("comb", comb=0)) - scores["gains"]) < 1


def test_the_last_step_is_the_enhancer(lab: Lab) -> None:
    enhancer = Enhancer()
    whole = np.concatenate((enhancer.process(noisy_voice(3.0)), enhancer.flush()))
    np.testing.assert_allclose(lab.run("network"), whole[enhancer.latency_samples :], atol=1e-5)


def test_edits_hold_inside_the_lab_alone(lab: Lab) -> None:
    original = synthesis.envelope_postfilter
    before = lab.run("postfilter")
    lab.edit("envelope_postfilter", "def envelope_postfilter(gain, energy):\n    return np.ones_like(gain)")
    changed = lab.run("postfilter")
    assert synthesis.envelope_postfilter is original
    assert np.abs(changed - before).max() > 0.01
    lab.edit("envelope_postfilter", "def envelope_postfilter(gain, energy):\n    return gain / missing")
    with pytest.raises(NameError, match="missing"):
        lab.run("postfilter")
    assert synthesis.envelope_postfilter is original
    lab.edit("envelope_postfilter", lab.source("envelope_postfilter"))
    np.testing.assert_array_equal(lab.run("postfilter"), before)


@pytest.mark.parametrize(
    ("source", "told"), [("def mix(", "SyntaxError"), ("x = 1", "defines no function 'mix'"), ("1/0", "ZeroDivision")]
)
def test_source_that_will_not_do(lab: Lab, source: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        lab.edit("mix", source)
    assert not lab.edits


def test_bad_input(lab: Lab) -> None:
    for call, told in (
        (lambda: Lab(np.zeros(5), np.zeros(6)), r"\(5,\)"),
        (lambda: Lab(np.zeros(0), np.zeros(0)), r"n >= 1"),
        (lambda: Lab(np.array([np.nan]), np.zeros(1)), "NaN"),
        (lambda: lab.run("dance"), "dance"),
        (lambda: lab.run("gains", bands=1), "bands is 1"),
        (lambda: lab.edit("open", ""), "open"),
    ):
        with pytest.raises(ValueError, match=told):
            call()


def test_picture() -> None:
    sine = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000).astype(np.float32)
    levels = picture(sine, rows=80, columns=50)
    assert levels.shape == (80, 50) and levels.dtype == np.uint8
    row = levels[:, 25].argmax()
    assert levels[row, 25] > 240 and 50 < row < 65  # bin 20, in the lower half
    assert picture(0 * sine).max() == 0
    assert picture(sine[:10]).shape == (96, 400)

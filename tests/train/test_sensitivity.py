"""Prediction sensitivity: of a network that leans on what tells the attribute, and of one that does not."""

import numpy as np
import pytest
import torch

from pyenhance.evaluate import sensitivity as measured
from pyenhance.evaluate.pairs import Pair
from pyenhance.evaluate.sensitivity import in_words, sensitivity
from pyenhance.model import load_model
from pyenhance.train.network import load_int8


def pairs(speakers: int = 10, clips: int = 4) -> list[Pair]:
    groups = [{"sex": "FM"[i % 2] + "?" * (i % 3 == 0)} for i in range(speakers)]
    return [Pair(f"{i}-{j}", None, None, groups[i], f"s{i}") for i in range(speakers) for j in range(clips)]


@pytest.mark.parametrize("leans", [True, False])
def test_what_the_gains_follow_is_found(leans: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feature 0 tells the sex; gains move with it ten times as much as with others, or a tenth as much."""
    rng = np.random.default_rng(0)
    known = pairs(20)
    features = rng.normal(size=(len(known), 20, 12)) + np.repeat(0.5 * rng.normal(size=(20, 1, 12)), 4, 0)
    features[:, :, 0] += np.array([3 if pair.groups["sex"][0] == "F" else -3 for pair in known])[:, None]
    moved = rng.uniform(0.9, 1.1, (len(known), 12))
    moved[:, 0] *= 10 if leans else 0.1
    monkeypatch.setattr(measured, "_of_clips", lambda *_: (moved, features))
    facts = sensitivity(known, "tiny")
    assert (facts["clips"], facts["speakers"]) == (80, 20) and facts["probe"] > 0.9
    assert (facts["ratio"] > facts["chance"]) == leans and facts["low"] <= facts["ratio"] <= facts["high"]
    unequal, equal = {"gap": 0.3, "chance": 0.1}, {"gap": 0.05, "chance": 0.1}
    assert in_words(facts, unequal if leans else equal).endswith("the gap between groups says the same")
    assert in_words(facts, equal if leans else unequal).endswith("the two do not agree")
    assert "no gap" in in_words(facts, None)


def test_the_jacobian_by_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the network in floating point: one that is quantised moves by steps."""
    rng = np.random.default_rng(1)
    model = load_model("tiny")
    shape = (30, model.signal.num_features)
    found = {}
    monkeypatch.setattr(measured, "_MOST_FRAMES", 30)
    monkeypatch.setattr(measured, "read_pair", lambda pair: (None, pair.clean))
    monkeypatch.setattr(measured, "_features", lambda signal, noisy: noisy)
    x = rng.normal(scale=0.3, size=shape).astype(np.float32)
    jacobian, features = measured._of_clips([Pair("a", x, None, {})], "tiny", lambda *done: found.update(done=done))
    assert np.array_equal(features[0], x) and found["done"] == (1, 1)
    network = load_int8(model, freeze_scales=True)
    network.quantise = False

    def totals(features: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return (
                torch.sigmoid(network(torch.from_numpy(features)[None])[0])[0, :, :: measured._BAND_STEP].sum(0).numpy()
            )

    slopes = np.zeros((len(range(0, model.signal.num_bands, measured._BAND_STEP)), 30, 3))
    for t in range(30):
        for i in range(3):
            step = np.zeros(shape, np.float32)
            step[t, i] = 1e-2
            slopes[:, t, i] = (totals(x + step) - totals(x - step)) / 2e-2
    np.testing.assert_allclose(jacobian[0, :3], np.abs(slopes).mean((0, 1)), rtol=0.15)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (pairs(8), r"sex: F 16 clips of 4, M 16 clips of 4; accepted: two values of 10 clips and 5 speakers"),
        ([Pair("a", None, None, {})], r"sex: no clips; accepted"),
        ([Pair("a", None, None, {"sex": "F"})], r"accepted: a manifest with the column speaker"),
    ],
)
def test_attributes_that_cannot_be_judged(known: list[Pair], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sensitivity(known, "tiny")

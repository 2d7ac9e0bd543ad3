"""The numpy network against golden vectors of the torch network's simulated int8, layer by layer.

`pyenhance train export CHECKPOINT -o WEIGHTS --golden tests/golden/default.npz` makes them with the weights.
"""

from pathlib import Path

import numpy as np
import pytest

from pyenhance.model import load_model
from pyenhance.model.topology import SOURCES

GOLDEN = Path(__file__).with_name("default.npz")
HEADS = ("gain", "strength", "vad")


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="module")
def layers() -> dict:
    return load_model().network.layers


def _close(found: np.ndarray, expected: np.ndarray) -> None:
    # Two libraries may differ in the last bit of tanh or a sum, which can move a value over a rounding boundary by one
    # step; in a recurrent layer such a step is carried on. Rounding itself moves a value by a quarter of a step.
    difference = np.abs(found - expected)
    assert difference.max() <= 2 and difference.mean() < 0.1
    assert np.std(expected.astype(float)) > 1


@pytest.mark.parametrize("layer", [name for name in SOURCES if name not in HEADS])
def test_hidden_layer(layer: str, golden: dict[str, np.ndarray], layers: dict) -> None:
    """Each layer from the golden output of those before it."""
    inputs = np.concatenate([golden[name] for name in SOURCES[layer]], 1).astype(np.float32)
    module = layers[layer]
    y = module.step(inputs, module.new_state())[0] if hasattr(module, "step") else module(inputs)
    _close(y, golden[layer])


@pytest.mark.parametrize("head", HEADS)
def test_head(head: str, golden: dict[str, np.ndarray], layers: dict) -> None:
    inputs = np.concatenate([golden[name] for name in SOURCES[head]], 1).astype(np.float32)
    y = layers[head](inputs)
    np.testing.assert_allclose(y.reshape(golden[head].shape), golden[head], atol=1e-5)


def test_whole_network_stays_close(golden: dict[str, np.ndarray]) -> None:
    model = load_model()
    gain, strength, vad = model.network(golden["features"], model.new_state())
    for found, expected in ((gain, golden["gain"]), (strength, golden["strength"]), (vad, golden["vad"])):
        assert np.mean(np.abs(found - expected)) < 0.01


@pytest.mark.parametrize("k", [1, 2, 7, 50])
def test_any_split_gives_the_same_bits(k: int, golden: dict[str, np.ndarray]) -> None:
    model = load_model()
    once = model.network(golden["features"], model.new_state())[0]
    state, gains = model.new_state(), []
    for i in range(0, len(golden["features"]), k):
        gains.append(model.network(golden["features"][i : i + k], state)[0])
    np.testing.assert_array_equal(np.concatenate(gains), once)

"""The numpy network against golden vectors of the torch network's simulated int8, layer by layer.

`pyenhance train export CHECKPOINT -o WEIGHTS --golden tests/golden/default.npz` makes them with the weights, or
`train.export.golden_vectors` of `train.network.load_int8` of a model that is there. What the
whole enhancer once made of a sound is in enhanced.npz: a model's output may change with its weights alone.
"""

from pathlib import Path

import numpy as np
import pytest

from pyenhance import Enhancer
from pyenhance.backend import HEADS
from pyenhance.model import load_model
from pyenhance.nn import Layer

from ..conftest import noisy_voice

GOLDEN = Path(__file__).with_name("default.npz")
ENHANCED = Path(__file__).with_name("enhanced.npz")
LAYERS = load_model().network.layers


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


def _run(layer: Layer, golden: dict[str, np.ndarray]) -> np.ndarray:
    """A layer on the golden output of those before it."""
    inputs = np.concatenate([golden[name] for name in layer.spec.sources], 1).astype(np.float32)
    network = load_model().network
    place, shape = network.spec.memory[layer.spec.name]
    return layer(inputs, network.new_memory()[place].reshape(shape))


def _close(found: np.ndarray, expected: np.ndarray) -> None:
    # Two libraries may differ in the last bit of tanh or a sum, which can move a value over a rounding boundary by one
    # step; in a recurrent layer such a step is carried on. Rounding itself moves a value by a quarter of a step.
    difference = np.abs(found - expected)
    assert difference.max() <= 2 and difference.mean() < 0.1
    assert np.std(expected.astype(float)) > 1


@pytest.mark.parametrize("layer", [name for name in LAYERS if name not in HEADS])
def test_hidden_layer(layer: str, golden: dict[str, np.ndarray]) -> None:
    _close(_run(LAYERS[layer], golden), golden[layer])


@pytest.mark.parametrize("head", HEADS)
def test_head(head: str, golden: dict[str, np.ndarray]) -> None:
    y = _run(LAYERS[head], golden)
    np.testing.assert_allclose(y.reshape(golden[head].shape), golden[head], atol=1e-5)


def test_whole_network_stays_close(golden: dict[str, np.ndarray]) -> None:
    model = load_model()
    gain, strength, vad = model.estimate(golden["features"], model.network.new_memory())
    for found, expected in ((gain, golden["gain"]), (strength, golden["strength"]), (vad, golden["vad"])):
        assert np.mean(np.abs(found - expected)) < 0.01


@pytest.mark.parametrize("k", [1, 2, 7, 50])
def test_any_split_gives_the_same_bits(k: int, golden: dict[str, np.ndarray]) -> None:
    model = load_model()
    once = model.estimate(golden["features"], model.network.new_memory())[0]
    memory, gains = model.network.new_memory(), []
    for i in range(0, len(golden["features"]), k):
        gains.append(model.estimate(golden["features"][i : i + k], memory)[0])
    np.testing.assert_array_equal(np.concatenate(gains), once)


@pytest.mark.parametrize("name", ["default", "tiny"])
def test_enhanced_sound_is_as_it_was(name: str) -> None:
    """Another machine's sums may round a value over an edge now and then; anything else would be far more."""
    with np.load(ENHANCED) as file:
        sound, gains = file[name], file[f"{name}_gain"]
    hops = noisy_voice(1.5)[: 480 * 150].reshape(-1, 480)
    enhancer = Enhancer(name)
    found, found_gains = [], []
    for i in range(0, 150, 5):
        found.append(enhancer.process_hops(hops[i : i + 5]))
        found_gains.append(enhancer.last_hop.gain)
    found = np.concatenate(found)[100:130].ravel()
    assert np.std(found - sound) < 0.005 * np.std(sound)
    assert np.abs(found_gains - gains).mean() < 0.001 and np.abs(found_gains - gains).max() < 0.05

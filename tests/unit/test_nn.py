"""Int8 layers against plain arithmetic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyenhance.nn import (
    GRU,
    Conv1d,
    Linear,
    available_kernels,
    choose_kernel,
    quantize_activation,
    quantize_weight,
)


@given(st.integers(1, 70), st.integers(1, 1700), st.integers(1, 9), st.booleans(), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_integer_product_is_exact(outputs: int, inputs: int, frames: int, extreme: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if extreme:
        weight = np.full((outputs, inputs), 127, np.int8)
        x = np.full((frames, inputs), -127, np.float32)
    else:
        weight = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
        x = rng.integers(-127, 128, (frames, inputs)).astype(np.float32)
    exact = x.astype(np.int64) @ weight.T.astype(np.int64)
    product = Linear(weight, np.full(outputs, 127, np.float32), np.zeros(outputs, np.float32))
    np.testing.assert_array_equal(product(x), exact.astype(np.float32))


def test_kernels_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_kernels() == ["numpy"]  # SIMD is for WebAssembly: tests/wasm
    assert choose_kernel() == choose_kernel("numpy") == "numpy"
    monkeypatch.setenv("PYENHANCE_KERNEL", "simd")
    with pytest.raises(ValueError, match=r"'simd'; accepted here: numpy"):
        choose_kernel()


def test_weights_round_within_half_a_step() -> None:
    w = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    q, scale = quantize_weight(w)
    assert q.dtype == np.int8 and np.abs(q).max(1).tolist() == [127] * 5
    assert (np.abs(q * scale[:, None] - w) <= scale[:, None] / 2 + 1e-7).all()
    assert not quantize_weight(np.zeros((2, 3)))[0].any()


def test_activations_round_half_to_even() -> None:
    assert quantize_activation(np.array([0.5, 1.5, -2.5, 127], np.float32) / 127).tolist() == [0, 2, -2, 127]


def _random(rng: np.random.Generator, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    q, scale = quantize_weight(rng.normal(size=(outputs, inputs)))
    return q, scale, rng.normal(size=outputs).astype(np.float32)


def test_activations() -> None:
    x = np.linspace(-3, 3, 50, dtype=np.float32)
    expected = {
        None: x,
        "clamp": np.rint(127 * np.clip(x, 0, 1)),
        "tanh": np.rint(127 * np.tanh(x)),
        "sigmoid": 1 / (1 + np.exp(-x)),
    }
    for name, y in expected.items():
        layer = Linear(np.ones((50, 1), np.int8), np.zeros(50, np.float32), x, name)
        np.testing.assert_allclose(layer(np.ones((1, 1), np.float32))[0], y, atol=1e-6)


def test_convolution_sees_the_past_alone() -> None:
    rng = np.random.default_rng(1)
    layer = Conv1d(*_random(rng, 6, 3 * 4), 3)
    x = rng.integers(-127, 128, (10, 4)).astype(np.float32)
    y, _ = layer.step(x, layer.new_state())
    changed = x.copy()
    changed[6] += 1
    z, _ = layer.step(changed, layer.new_state())
    assert np.flatnonzero((y != z).any(1)).tolist() == [6, 7, 8]


@pytest.mark.parametrize("k", [1, 2, 7])
def test_layers_do_not_depend_on_the_split(k: int) -> None:
    rng = np.random.default_rng(2)
    linear = Linear(*_random(rng, 5, 8), integers=False)
    conv = Conv1d(*_random(rng, 6, 5 * 8), 5)
    wi, si, bi = _random(rng, 27, 8)
    wh, sh, bh = _random(rng, 27, 9)
    gru = GRU(wi, si, wh, sh, bi, bh)
    x = rng.integers(-127, 128, (21, 8)).astype(np.float32)
    for layer in (conv, gru):
        once, _ = layer.step(x, layer.new_state())
        state, parts = layer.new_state(), []
        for i in range(0, 21, k):
            y, state = layer.step(x[i : i + k], state)
            parts.append(y)
        np.testing.assert_array_equal(np.concatenate(parts), once)
    f = rng.normal(size=(21, 8)).astype(np.float32)
    np.testing.assert_array_equal(np.concatenate([linear(f[i : i + k]) for i in range(0, 21, k)]), linear(f))


def test_gru_follows_its_equations() -> None:
    rng = np.random.default_rng(3)
    wi, si, bi = _random(rng, 12, 5)
    wh, sh, bh = _random(rng, 12, 4)
    gru = GRU(wi, si, wh, sh, bi, bh)
    x = rng.integers(-127, 128, (30, 5)).astype(np.float32)
    y, h = gru.step(x, gru.new_state())
    state = np.zeros(4)
    for k in range(30):
        gi = (wi * si[:, None]).astype(float) @ (x[k] / 127) + bi
        gh = (wh * sh[:, None]).astype(float) @ (np.rint(state * 127) / 127) + bh
        r, z = (1 / (1 + np.exp(-(gi + gh)[a : a + 4])) for a in (0, 4))
        n = np.tanh(gi[8:] + r * gh[8:])
        state = (1 - z) * n + z * state
        assert np.abs(y[k] - state * 127).max() <= 0.5 + 1e-3
    np.testing.assert_allclose(h[0], state, atol=1e-4)

"""Int8 layers against plain arithmetic, and lists of them by numpy and by compiled code."""

import ctypes
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyenhance.backend import Program
from pyenhance.nn import (
    EFFORTS,
    FULL_EVERY,
    GRU,
    INPUT,
    KINDS,
    LAYERS,
    Conv,
    Dense,
    LayerSpec,
    Network,
    NetworkSpec,
    choose,
    quantize_activation,
    quantize_weight,
)

from ..networks import assert_agree, chosen_frames, every_layer, network_specs, random_features, random_tensors


def dense(
    weight: np.ndarray, scale: np.ndarray, bias: np.ndarray, activation: str = "none", source: str = "x"
) -> Dense:
    spec = LayerSpec("y", "dense", (source,), len(weight), activation)
    return Dense(spec, {"weight": weight, "weight_scale": scale, "bias": bias})


def conv(weight: np.ndarray, scale: np.ndarray, bias: np.ndarray, frames: int) -> Conv:
    spec = LayerSpec("y", "conv", ("x",), len(weight), "none", frames)
    return Conv(spec, {"weight": weight, "weight_scale": scale, "bias": bias})


def gru(*tensors: np.ndarray) -> GRU:
    names = ("weight_ih", "weight_ih_scale", "weight_hh", "weight_hh_scale", "bias_ih", "bias_hh")
    return GRU(LayerSpec("y", "gru", ("x",), len(tensors[0]) // 3, "tanh"), dict(zip(names, tensors, strict=True)))


NOTHING = np.zeros(0, np.float32)


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
    product = dense(weight, np.full(outputs, 127, np.float32), np.zeros(outputs, np.float32))
    np.testing.assert_array_equal(product(x, NOTHING), exact.astype(np.float32))


def test_weights_round_within_half_a_step() -> None:
    w = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    q, scale = quantize_weight(w)
    assert q.dtype == np.int8 and np.abs(q).max(1).tolist() == [127] * 5
    assert (np.abs(q * scale[:, None] - w) <= scale[:, None] / 2 + 1e-7).all()
    assert not quantize_weight(np.zeros((2, 3)))[0].any()


@pytest.mark.parametrize("levels", [1, 3, 7, 126])
def test_few_levels_clip_what_is_rare_where_that_is_nearer(levels: int) -> None:
    w = np.random.default_rng(0).normal(size=(5, 400)).astype(np.float32)
    q, scale = quantize_weight(w, levels)
    assert q.dtype == np.int8 and np.abs(q).max(1).tolist() == [levels] * 5
    unclipped = np.abs(w).max(1, keepdims=True) / levels

    def error(steps: np.ndarray) -> np.ndarray:
        return ((q * scale[:, None] if steps is q else np.rint(w / steps) * steps) - w).std(1)

    assert (error(q) <= error(unclipped)).all() and (levels > 7 or (error(q) < error(unclipped)).all())
    again, scales = quantize_weight(q * scale[:, None], levels)
    np.testing.assert_array_equal(again, q)
    np.testing.assert_allclose(scales, scale, rtol=1e-6)


def test_activations_round_half_to_even() -> None:
    assert quantize_activation(np.array([0.5, 1.5, -2.5, 127], np.float32) / 127).tolist() == [0, 2, -2, 127]


def _random(rng: np.random.Generator, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    q, scale = quantize_weight(rng.normal(size=(outputs, inputs)))
    return q, scale, rng.normal(size=outputs).astype(np.float32)


def test_activations() -> None:
    x = np.linspace(-3, 3, 50, dtype=np.float32)
    expected = {
        "none": x,
        "clamp": np.rint(127 * np.clip(x, 0, 1)),
        "tanh": np.rint(127 * np.tanh(x)),
        "sigmoid": 1 / (1 + np.exp(-x)),
    }
    for name, y in expected.items():
        layer = dense(np.ones((50, 1), np.int8), np.zeros(50, np.float32), x, name)
        np.testing.assert_allclose(layer(np.ones((1, 1), np.float32), NOTHING)[0], y, atol=1e-6)


def test_convolution_sees_the_past_alone() -> None:
    rng = np.random.default_rng(1)
    layer = conv(*_random(rng, 6, 3 * 4), 3)
    x = rng.integers(-127, 128, (10, 4)).astype(np.float32)
    y = layer(x, np.zeros((2, 4), np.float32))
    changed = x.copy()
    changed[6] += 1
    z = layer(changed, np.zeros((2, 4), np.float32))
    assert np.flatnonzero((y != z).any(1)).tolist() == [6, 7, 8]


@pytest.mark.parametrize("k", [1, 2, 7])
def test_layers_do_not_depend_on_the_split(k: int) -> None:
    rng = np.random.default_rng(2)
    floats = dense(*_random(rng, 5, 8), source=INPUT)
    recurrent = gru(*_random(rng, 27, 8)[:2], *_random(rng, 27, 9)[:2], *rng.normal(size=(2, 27)).astype(np.float32))
    x = rng.integers(-127, 128, (21, 8)).astype(np.float32)
    for layer, shape in ((conv(*_random(rng, 6, 5 * 8), 5), (4, 8)), (recurrent, (1, 9))):
        memory, other = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        once = layer(x, memory)
        np.testing.assert_array_equal(np.concatenate([layer(x[i : i + k], other) for i in range(0, 21, k)]), once)
        np.testing.assert_array_equal(memory, other)
    f = rng.normal(size=(21, 8)).astype(np.float32)
    parts = [floats(f[i : i + k], NOTHING) for i in range(0, 21, k)]
    np.testing.assert_array_equal(np.concatenate(parts), floats(f, NOTHING))


def test_gru_follows_its_equations() -> None:
    rng = np.random.default_rng(3)
    wi, si, bi = _random(rng, 12, 5)
    wh, sh, bh = _random(rng, 12, 4)
    x = rng.integers(-127, 128, (30, 5)).astype(np.float32)
    h = np.zeros((1, 4), np.float32)
    y = gru(wi, si, wh, sh, bi, bh)(x, h)
    state = np.zeros(4)
    for k in range(30):
        gi = (wi * si[:, None]).astype(float) @ (x[k] / 127) + bi
        gh = (wh * sh[:, None]).astype(float) @ (np.rint(state * 127) / 127) + bh
        r, z = (1 / (1 + np.exp(-(gi + gh)[a : a + 4])) for a in (0, 4))
        n = np.tanh(gi[8:] + r * gh[8:])
        state = (1 - z) * n + z * state
        assert np.abs(y[k] - state * 127).max() <= 0.5 + 1e-3
    np.testing.assert_allclose(h[0], state, atol=1e-4)


def _with_values(spec: NetworkSpec, name: str, frames: int) -> tuple[Network, dict[str, np.ndarray]]:
    """A network and what its layers give, from zeros; the layer of that name sees other layers' whole numbers."""
    rng = np.random.default_rng(7)
    network = Network(spec, random_tensors(spec, rng))
    outputs = network(random_features(spec, rng, frames), np.zeros(spec.memory_size, np.float32))
    assert (np.ptp(outputs[name], 0) > 0).all()
    return network, outputs


def test_a_convolution_over_bands_follows_its_equation() -> None:
    """Each band sees its neighbours of the last frames: oldest first, the lowest band first, then source by source."""
    bands, reach, frames, channels = 4, 2, 3, 5
    layers = (
        LayerSpec("a", "dense", (INPUT,), 2 * bands, "tanh"),
        LayerSpec("b", "dense", (INPUT,), 3 * bands, "tanh"),
        LayerSpec("y", "band_conv", ("a", "b"), channels * bands, "none", frames, bands=bands, reach=reach),
    )
    network, outputs = _with_values(NetworkSpec(6, layers), "y", 9)
    ((weight, scale, bias),) = network.layers["y"].affines
    zeros = np.zeros(5)
    for k in range(9):
        for band in range(bands):
            seen = []
            for frame in range(k - frames + 1, k + 1):
                for near in range(band - reach, band + reach + 1):
                    inside = frame >= 0 and 0 <= near < bands
                    parts = (
                        [outputs[name][frame].reshape(bands, -1)[near] for name in ("a", "b")] if inside else [zeros]
                    )
                    seen += [value for part in parts for value in part.tolist()]
            expected = weight.astype(float) @ seen * scale + bias.reshape(bands, channels)[band]
            np.testing.assert_allclose(outputs["y"][k].reshape(bands, channels)[band], expected, rtol=1e-5, atol=1e-5)


def test_a_gru_over_bands_is_a_gru_for_each() -> None:
    layers = (
        LayerSpec("a", "dense", (INPUT,), 12, "tanh"),
        LayerSpec("y", "band_gru", ("a", "a"), 15, "tanh", bands=3),
    )
    network, outputs = _with_values(NetworkSpec(6, layers), "y", 20)
    shared = network.layers["y"].affines
    one = GRU(
        LayerSpec("y", "gru", ("x",), 5, "tanh"),
        {
            name: value
            for part, affine in zip(("ih", "hh"), shared, strict=True)
            for name, value in (
                (f"weight_{part}", affine.weight),
                (f"weight_{part}_scale", affine.scale * 127),
                (f"bias_{part}", affine.bias),
            )
        },
    )
    for band in range(3):
        x = np.tile(outputs["a"].reshape(20, 3, 4)[:, band], 2)
        alone = one(np.ascontiguousarray(x), np.zeros((1, 5), np.float32))
        assert np.abs(outputs["y"].reshape(20, 3, 5)[:, band] - alone).max() <= 1


# Lists of layers


def test_every_kind_has_its_class() -> None:
    assert set(KINDS) == set(LAYERS)
    kinds = {(layer.kind, layer.activation) for layer in every_layer().layers}
    assert kinds >= {(kind, activation) for kind, facts in KINDS.items() for activation in facts.activations}


def _in_parts(run: Callable[[np.ndarray], dict], features: np.ndarray, cuts: list[int]) -> dict[str, np.ndarray]:
    ends = [*sorted(cut % len(features) for cut in cuts), len(features)]
    parts = [run(features[a:b]) for a, b in zip([0, *ends], ends, strict=False) if b > a]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@given(network_specs(), st.integers(0, 2**31), st.lists(st.integers(0, 22), max_size=4))
@example(every_layer(), 1, [1, 1, 20])
@example(every_layer(16), 2, [])
@settings(max_examples=60, deadline=None, derandomize=True)
def test_compiled_networks_compute_what_numpy_does(
    native_library: ctypes.CDLL, spec: NetworkSpec, seed: int, cuts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    network, features = Network(spec, random_tensors(spec, rng)), random_features(spec, rng)
    program, names = Program(network, native_library), list(network.layers)
    memories = [network.new_memory() for _ in range(4)]
    numpy_once, compiled_once = network(features, memories[0]), program(features, memories[1], names)
    same = assert_agree(spec, numpy_once, compiled_once)
    for name in same:
        place, _ = spec.memory[name]
        np.testing.assert_allclose(memories[0][place], memories[1][place], atol=1e-4)
    numpy_parts = _in_parts(lambda x: network(x, memories[2]), features, cuts)
    compiled_parts = _in_parts(lambda x: program(x, memories[3], names), features, cuts)
    for once, parts in ((numpy_once, numpy_parts), (compiled_once, compiled_parts)):
        for name in names:
            np.testing.assert_array_equal(parts[name], once[name])
    np.testing.assert_array_equal(memories[0], memories[2])
    np.testing.assert_array_equal(memories[1], memories[3])


def test_the_largest_products_are_exact(native_library: ctypes.CDLL) -> None:
    """Weights and activations at their ends, of all signs: sums of two products are as large as they get."""
    spec = NetworkSpec(1, (LayerSpec("ends", "dense", (INPUT,), 512, "tanh"), LayerSpec("sums", "dense", ("ends",), 8)))
    signs = np.random.default_rng(4).choice([-1, 1], 512)
    rows = np.stack([signs, -signs, np.ones(512), -np.ones(512), *np.random.default_rng(5).choice([-1, 1], (4, 512))])
    tensors = {
        name: np.zeros(shape, np.int8 if kind == "I8" else np.float32) for name, (kind, shape) in spec.tensors.items()
    }
    tensors |= {name: np.ones_like(value) for name, value in tensors.items() if name.endswith("scale")}
    tensors["ends.weight"][:, 0], tensors["sums.weight"][:] = 127 * signs, 127 * rows
    network = Network(spec, tensors)
    found = Program(network, native_library)(np.ones((3, 1), np.float32), network.new_memory(), ["ends", "sums"])
    np.testing.assert_array_equal(found["ends"], np.tile(127 * signs, (3, 1)))
    steps = tensors["sums.weight_scale"] / 127  # a step of an activation
    np.testing.assert_allclose(found["sums"], np.tile(127 * 127 * (rows @ signs) * steps, (3, 1)), rtol=1e-6)


_CHOICES = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(EFFORTS), st.sampled_from([0, 0.3, 2, 5.5, 70])),
    min_size=1,
    max_size=8,
)


@given(network_specs(), st.integers(0, 2**31), _CHOICES)
@example(every_layer(), 1, [(3, "full", 0), (2, "lean", 1), (1, "auto", 2), (4, "lean", 0), (1, "full", 9)])
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_sequence_of_choices_is_the_same_compiled_and_in_any_split(
    native_library: ctypes.CDLL, spec: NetworkSpec, seed: int, choices: list[tuple[int, str, float]]
) -> None:
    rng = np.random.default_rng(seed)
    network = Network(spec, random_tensors(spec, rng))
    features = random_features(spec, rng, sum(count for count, _, _ in choices))
    program, names = Program(network, native_library), list(network.layers)
    memories = [network.new_memory() for _ in range(4)]
    numpy_calls, compiled_calls, numpy_frames, compiled_frames = ([], [], [], [])
    first = 0
    for count, effort, backlog in choices:
        part = features[first : first + count]
        numpy_calls.append(network(part, memories[0], backlog, effort))
        compiled_calls.append(program(part, memories[1], names, backlog, effort))
        for k in range(count):
            numpy_frames.append(network(part[k : k + 1], memories[2], backlog, effort))
            compiled_frames.append(program(part[k : k + 1], memories[3], names, backlog, effort))
        first += count
    joined = [
        {name: np.concatenate([call[name] for call in calls]) for name in names}
        for calls in (numpy_calls, compiled_calls, numpy_frames, compiled_frames)
    ]
    same = assert_agree(spec, joined[0], joined[1])
    for name in names:
        np.testing.assert_array_equal(joined[0][name], joined[2][name])
        np.testing.assert_array_equal(joined[1][name], joined[3][name])
        if name in same:
            place, _ = spec.memory[name]
            np.testing.assert_allclose(memories[0][place], memories[1][place], atol=1e-4)
    np.testing.assert_array_equal(memories[0], memories[2])
    np.testing.assert_array_equal(memories[1], memories[3])


def _turns(frames: list[tuple[str, float]]) -> list[bool]:
    """Which frames are full, of each the effort and the backlog, told one by one."""
    full, since = [], 0
    for effort, backlog in frames:
        full.append(effort == "full" or not since or (effort == "auto" and backlog < 1 and since >= FULL_EVERY))
        since = 0 if effort == "full" else 1 if full[-1] else since + 1
    return full


@given(_CHOICES)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_frames_take_turns_and_are_lean_while_a_hop_waits(choices: list[tuple[int, str, float]]) -> None:
    spec = every_layer()
    network = Network(spec, random_tensors(spec, np.random.default_rng(0)))
    memory, chosen = network.new_memory(), []
    for count, effort, backlog in choices:
        chosen += choose(memory[spec.turn], count, backlog, effort).tolist()
        network(np.zeros((count, spec.inputs), np.float32), memory, backlog, effort)
    assert chosen == _turns([(effort, backlog) for count, effort, backlog in choices for _ in range(count)])


def _plainly(layer: LayerSpec, tensors: dict[str, np.ndarray], x: np.ndarray, full: list[bool]) -> np.ndarray:
    """A convolution or a GRU that begins from zeros, by turns, in float64: x (K, inputs), whole numbers."""
    own = {name: tensors[f"y.{name}"].astype(float) for name in ("lean_in", "lean_out")}
    own = {name: matrix * tensors[f"y.{name}_scale"][:, None] for name, matrix in own.items()}
    of = {
        name: tensors[f"y.{name}"].astype(float)
        for name in ("weight", "weight_ih", "weight_hh")
        if f"y.{name}" in tensors
    }
    of = {name: matrix * tensors[f"y.{name}_scale"][:, None] for name, matrix in of.items()}
    past = np.concatenate((np.zeros((layer.frames - 1, x.shape[1])), x)) / 127
    h, last, of_full, out = np.zeros(layer.units), np.zeros(0), np.zeros(0), []
    for k in range(len(x)):
        seen = past[k : k + layer.frames].ravel()
        if layer.kind == "gru":
            state = np.rint(127 * h) / 127
            seen = np.concatenate((seen, state))
        if not full[k]:
            brief = np.rint(127 * np.clip(own["lean_in"] @ np.clip(seen - last, -1, 1), -1, 1)) / 127
            sums = of_full + own["lean_out"] @ brief
        elif layer.kind == "conv":
            sums = of["weight"] @ seen + tensors["y.bias"]
        else:
            of_input = np.split(of["weight_ih"] @ seen[: -layer.units] + tensors["y.bias_ih"], 3)
            of_state = np.split(of["weight_hh"] @ state + tensors["y.bias_hh"], 3)
            sums = np.concatenate((of_input[0] + of_state[0], of_input[1] + of_state[1], of_input[2], of_state[2]))
        if full[k]:
            last, of_full = seen, sums
        if layer.kind == "conv":
            h = np.tanh(sums)
        else:
            r, z, of_input, of_state = np.split(sums, 4)
            r, z = 1 / (1 + np.exp(-r)), 1 / (1 + np.exp(-z))
            h = (1 - z) * np.tanh(of_input + r * of_state) + z * h
        out.append(127 * h)
    return np.array(out)


@pytest.mark.parametrize(
    "layer",
    [LayerSpec("y", "conv", ("x",), 8, "tanh", 3, lean=5), LayerSpec("y", "gru", ("x",), 9, "tanh", lean=6)],
    ids=lambda layer: layer.kind,
)
def test_a_lean_frame_goes_on_from_the_last_full_one(layer: LayerSpec) -> None:
    rng = np.random.default_rng(0)
    spec = NetworkSpec(3, (LayerSpec("x", "dense", (INPUT,), 7, "tanh"), layer))
    tensors = {name: value for name, value in random_tensors(spec, rng).items() if "initial" not in name}
    network, features = Network(spec, tensors), random_features(spec, rng, 40)
    found = network(features, network.new_memory(), effort="auto")
    full = _turns([("auto", 0)] * 40)
    expected = _plainly(layer, tensors, found["x"], full)
    lean = ~np.array(full)
    # A number on the edge between two steps, of the state or between the products, may round either way.
    assert np.abs(found["y"] - expected).mean() < 0.5 and np.abs(found["y"] - expected)[lean].max() < 4
    assert np.abs(expected - network(features, network.new_memory())["y"])[lean].mean() > 5
    # Chosen one by one: see `chosen_frames`.
    forced = rng.random(40) < 0.5
    memory = network.new_memory()
    parts = [network(features[k : k + 1], memory, effort="lean")["y"] for k in chosen_frames(spec, memory, forced)]
    expected = _plainly(layer, tensors, found["x"], [True, *forced[1:]])
    assert np.abs(np.concatenate(parts) - expected).mean() < 0.5


@pytest.mark.parametrize("backlog", [-1, -1e-9, float("nan"), float("inf"), "2", None])
def test_a_backlog_that_is_none_is_refused(backlog: float) -> None:
    spec = every_layer()
    network = Network(spec, random_tensors(spec, np.random.default_rng(0)))
    memory = network.new_memory()
    with pytest.raises(ValueError, match=rf"backlog is {backlog!r}; accepted: a finite number of hops >= 0"):
        network(np.zeros((1, spec.inputs), np.float32), memory, backlog, "auto")
    with pytest.raises(ValueError, match="effort is 'most'; accepted: full, lean, auto"):
        network(np.zeros((1, spec.inputs), np.float32), memory, 0, "most")
    np.testing.assert_array_equal(memory, network.new_memory())


@pytest.mark.parametrize("units", [1, 2, 3, 5, 15, 16, 17, 33, 100, 255])
def test_a_gru_of_any_width_runs_compiled(native_library: ctypes.CDLL, units: int) -> None:
    layers = (LayerSpec("x", "dense", (INPUT,), 18, "tanh"), LayerSpec("y", "gru", ("x",), units, "tanh"))
    spec, rng = NetworkSpec(7, layers), np.random.default_rng(units)
    network, features = Network(spec, random_tensors(spec, rng)), random_features(spec, rng, 40)
    memories = network.new_memory(), network.new_memory()
    found = Program(network, native_library)(features, memories[0], ["x", "y"])
    if assert_agree(spec, network(features, memories[1]), found) == {"x", "y"}:
        np.testing.assert_allclose(memories[0], memories[1], atol=1e-5)


@pytest.mark.parametrize("frames", [0, 65])
def test_a_program_refuses_what_its_buffers_do_not_hold(native_library: ctypes.CDLL, frames: int) -> None:
    spec = every_layer()
    network = Network(spec, random_tensors(spec, np.random.default_rng(0)))
    program, memory = Program(network, native_library), network.new_memory()
    with pytest.raises((RuntimeError, ValueError), match=str(frames)):
        program(np.zeros((frames, spec.inputs), np.float32), memory, ["first"])
    np.testing.assert_array_equal(memory, network.new_memory())


def test_the_cost_of_a_list() -> None:
    layers = (
        LayerSpec("a", "dense", (INPUT,), 10, "clamp"),
        LayerSpec("b", "conv", ("a",), 20, "tanh", frames=3),
        LayerSpec("c", "gru", ("a", "b"), 7, "tanh"),
    )
    spec = NetworkSpec(4, layers)
    assert spec.weights == 4 * 10 + 3 * 10 * 20 + 3 * 7 * (30 + 7)
    assert spec.memory_size == 2 * 10 + 7 and spec.widths == {INPUT: 4, "a": 10, "b": 20, "c": 7}
    assert NetworkSpec.from_json(spec.to_json(), 4) == spec
    assert not spec.has_lean and spec.lean_multiply_adds == spec.weights and "lean" not in spec.to_json()


def test_the_cost_of_layers_over_bands() -> None:
    """Bands share their weights, and each has its own bias in a convolution and its own state."""
    layers = (
        LayerSpec("a", "dense", (INPUT,), 12, "clamp"),
        LayerSpec("b", "band_conv", ("a",), 15, "tanh", frames=2, bands=3, reach=1),
        LayerSpec("c", "band_gru", ("a", "b"), 6, "tanh", bands=3),
    )
    spec = NetworkSpec(4, layers)
    conv, recurrent = 5 * (2 * 3 * 4), 3 * 2 * (4 + 5 + 2)
    assert spec.weights == 4 * 12 + conv + recurrent and spec.multiply_adds == 4 * 12 + 3 * (conv + recurrent)
    assert spec.memory["b"][1] == (1, 12) and spec.memory["c"][1] == (3, 2)
    assert spec.tensors["b.bias"] == ("F32", (15,)) and spec.tensors["c.bias_hh"] == ("F32", (6,))


def test_the_cost_of_a_lean_frame() -> None:
    layers = (
        LayerSpec("a", "dense", (INPUT,), 10, "clamp"),
        LayerSpec("b", "conv", ("a",), 12, "tanh", frames=2, lean=3),
        LayerSpec("c", "gru", ("a", "b"), 8, "tanh", lean=5),
        LayerSpec("d", "gru", ("c",), 7, "tanh"),
    )
    spec = NetworkSpec(4, layers)
    always, full = 4 * 10 + 3 * 7 * (8 + 7), 12 * 20 + 3 * 8 * (22 + 8)
    lean = 3 * (20 + 12) + 5 * (30 + 32)
    assert spec.has_lean and spec.multiply_adds == always + full and spec.lean_multiply_adds == always + lean
    assert spec.weights == always + full + lean
    assert spec.mean_multiply_adds() == pytest.approx(always + (full + (FULL_EVERY - 1) * lean) / FULL_EVERY)
    assert spec.tensors["b.lean_in"] == ("I8", (3, 20)) and spec.tensors["b.lean_out_scale"] == ("F32", (12,))
    assert spec.tensors["c.lean_in"] == ("I8", (5, 30)) and spec.tensors["c.lean_out"] == ("I8", (32, 5))
    assert [spec.kept[name].stop - spec.kept[name].start for name in ("b", "c")] == [20 + 12, 30 + 32]
    assert spec.kept["b"].start == 10 + 8 + 7 and spec.memory_size == 25 + 32 + 62 + 1 == spec.turn + 1
    assert NetworkSpec.from_json(spec.to_json(), 4) == spec
    plain = spec.with_lean({})
    assert not plain.has_lean and plain.with_lean({"b": 3, "c": 5}) == spec
    with pytest.raises(ValueError, match="layer 'e' is none of a, b, c, d"):
        plain.with_lean({"e": 3})


@given(network_specs())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_list_goes_through_json(spec: NetworkSpec) -> None:
    assert NetworkSpec.from_json(spec.to_json(), spec.inputs) == spec


GRU_OF_4 = {"kind": "gru", "frames": 1}
OVER_BANDS = {"kind": "band_conv"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a"}, "'a'"),
        ({"name": "features"}, "'features'"),
        ({"name": "no.name"}, r"'no\.name'"),
        ({"name": ""}, "''"),
        ({"name": 3}, "name is 3"),
        ({"kind": "lstm"}, "'lstm'; accepted: dense, conv, gru"),
        ({"kind": ["gru"]}, r"\['gru'\]; accepted: dense, conv, gru"),
        ({"units": 0}, "units is 0"),
        ({"units": -4}, "units is -4"),
        ({"units": True}, "units is True"),
        ({"units": float("nan")}, "units is nan"),
        ({"units": 2.0}, r"units is 2\.0"),
        ({"units": 10**9}, "units is 1000000000"),
        ({"units": "8"}, "units is '8'"),
        ({"frames": 0}, "frames is 0"),
        ({"frames": 17}, "frames is 17"),
        ({"kind": "dense", "frames": 2}, "frames is 2"),
        ({"activation": "relu"}, "'relu'; accepted: none, clamp, tanh, sigmoid"),
        ({"activation": None}, "activation is None"),
        ({"kind": "gru", "frames": 1, "activation": "clamp"}, "'clamp'; accepted: tanh"),
        ({"sources": ()}, "sources is ()"),
        ({"sources": ("b",)}, "source is 'b'; accepted: a"),  # itself
        ({"sources": ("c",)}, "source is 'c'; accepted: a"),  # one that comes later
        ({"sources": ("head",)}, "source is 'head'; accepted: a"),  # no int8 values
        ({"sources": (INPUT,)}, "source is 'features'"),  # a convolution of floats
        ({"kind": "dense", "frames": 1, "sources": (INPUT, "a")}, "source is 'features'"),
        ({"kind": "dense", "frames": 1, "lean": 2}, "lean is 2; accepted: 0 for all but GRUs and convolutions"),
        ({"lean": 5}, "lean is 5; accepted: 0 to 4 units"),
        ({"bands": 2}, "bands is 2; accepted: a divisor of 4 units, and 1 for kinds that know no bands"),
        (OVER_BANDS | {"bands": 3}, "bands is 3; accepted: a divisor of 4 units"),
        (OVER_BANDS | {"bands": 0}, "bands is 0; accepted: a divisor of 4 units"),
        (OVER_BANDS | {"bands": True}, "bands is True; accepted"),
        (OVER_BANDS | {"units": 6, "bands": 3}, "source 'a' has 4 units; accepted: multiples of its 3 bands"),
        (OVER_BANDS | {"units": 8, "bands": 8, "sources": ("a", "a")}, "source 'a' has 4 units; .* its 8 bands"),
        ({"reach": 1}, "reach is 1; accepted: 0 to 8 for a convolution over bands, 0 for the others"),
        (GRU_OF_4 | {"kind": "band_gru", "bands": 2, "reach": 1}, "reach is 1; accepted: 0 to 8 for a conv"),
        (OVER_BANDS | {"reach": 9}, "reach is 9; accepted: 0 to 8"),
        (OVER_BANDS | {"reach": -1}, "reach is -1; accepted: 0 to 8"),
        (OVER_BANDS | {"sources": (INPUT,)}, "source is 'features'"),
        (GRU_OF_4 | {"kind": "band_gru", "bands": 2, "lean": 1}, "lean is 1; accepted: 0 for all but GRUs"),
        (GRU_OF_4 | {"lean": 5}, "lean is 5; accepted: 0 to 4"),
        (GRU_OF_4 | {"lean": -1}, "lean is -1; accepted: 0 to 4"),
        (GRU_OF_4 | {"lean": True}, "lean is True; accepted: 0 to 4"),
        (GRU_OF_4 | {"lean": 1.0}, r"lean is 1\.0; accepted: 0 to 4"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(changes: dict, message: str) -> None:
    given = {"name": "b", "kind": "conv", "sources": ("a",), "units": 4, "activation": "tanh", "frames": 3} | changes
    first, head = LayerSpec("a", "dense", (INPUT,), 4, "clamp"), LayerSpec("head", "dense", ("a",), 4)
    with pytest.raises(ValueError, match=message):
        NetworkSpec(3, (first, head, LayerSpec(**given), LayerSpec("c", "dense", ("a",), 4, "tanh")))


def test_a_list_of_no_layer_or_of_too_many_is_refused() -> None:
    for count in (0, 65):
        with pytest.raises(ValueError, match=f"{count} of them"):
            NetworkSpec(3, tuple(LayerSpec(f"l{i}", "dense", (INPUT,), 1) for i in range(count)))


def test_a_name_that_comes_twice_is_refused_whatever_its_width() -> None:
    layers = [LayerSpec("a", "dense", (INPUT,), 4, "clamp"), LayerSpec("b", "dense", ("a",), 4)]
    with pytest.raises(ValueError, match="layer 'a': name is 'a'"):
        NetworkSpec(3, (*layers, LayerSpec("a", "dense", (INPUT,), "8")))  # type: ignore[arg-type]


def test_sums_stay_within_32_bits() -> None:
    """133,144 products of 127 and 127 are the most that the compiled sums hold."""
    first, many = LayerSpec("a", "dense", (INPUT,), 4096, "clamp"), ("a",) * 32
    NetworkSpec(3, (first, LayerSpec("b", "dense", many, 1)))
    with pytest.raises(ValueError, match="135168"):
        NetworkSpec(3, (first, LayerSpec("b", "dense", (*many, "a"), 1)))
    with pytest.raises(ValueError, match="262144"):
        NetworkSpec(3, (first, LayerSpec("b", "conv", ("a",) * 4, 1, frames=16)))

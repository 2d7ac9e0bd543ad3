"""Weights files: what is read, written and refused, and why."""

import hashlib
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyenhance import Enhancer
from pyenhance.dsp import SignalSpec
from pyenhance.model import (
    SHAPES,
    Weights,
    available_models,
    load_model,
    named_shape,
    percepnet,
    read_weights,
    write_weights,
)
from pyenhance.model.weights import join, split
from pyenhance.nn import INPUT, LayerSpec, NetworkSpec

from ..networks import WIDTHS, random_tensors, small_weights

SIGNAL = SignalSpec(24, 1)


def _changed(data: bytes, change: Callable[[dict], Any], *, sign: bool = True) -> bytes:
    """The file after `change` of its header; what that returns, if it is bytes, is the new payload."""
    header, payload = split(data)
    body = change(header)
    payload = body if isinstance(body, bytes) else payload
    if sign:
        header["__metadata__"]["sha256"] = hashlib.sha256(payload).hexdigest()
    return join(header, payload)


def as_format_1(data: bytes) -> bytes:
    """The same file as it was written before files named their layers and signal path."""

    def change(header: dict) -> None:
        facts = header["__metadata__"]
        del facts["layers"], facts["signal"]
        facts.update(format="pyenhance-1", topology=json.dumps(WIDTHS))

    return _changed(data, change)


@pytest.fixture(scope="module")
def data() -> bytes:
    return small_weights(SIGNAL, training_commit="abc", training_data="none")


# The models that ship


@pytest.mark.parametrize("name", available_models())
def test_shipped_models_are_as_they_must_be(name: str) -> None:
    weights = read_weights((resources.files("pyenhance.weights") / f"{name}.safetensors").read_bytes())
    begun = set(weights.tensors) & set(weights.spec.initial)
    assert set(weights.tensors) == set(weights.spec.tensors) | begun and weights.metadata["training_commit"]
    model = load_model(name)
    most = 6_000_000 if model.whole_recordings else 3_000_000
    assert model.weights == weights.spec.weights <= most and model.signal == weights.signal


def test_the_shipped_shapes() -> None:
    assert {"default", "tiny"} <= set(available_models()) and load_model().name == "default"
    for name in ("default", "tiny"):
        model = load_model(name)
        assert model.signal == SignalSpec() and model.network.spec.with_lean({}) == named_shape(name, SignalSpec())


def test_sizes_of_the_named_shapes() -> None:
    sizes = {name: named_shape(name, SignalSpec()) for name in SHAPES}
    assert {name: round(spec.weights / 1e6, 1) for name, spec in sizes.items()} == {
        "tiny": 0.2,
        "default": 2.2,
        "large": 7.9,
        "banded": 0.3,
        "banded-tiny": 0.1,
        "banded-wide": 0.4,
        "banded-studio": 0.9,
    }
    assert [name for name, spec in sizes.items() if spec.whole_recordings] == ["banded-studio"]
    assert sizes["banded"].multiply_adds < sizes["default"].multiply_adds


# Round trips


def test_what_is_written_is_read(data: bytes) -> None:
    spec = percepnet(SIGNAL, **WIDTHS)
    tensors = random_tensors(spec, np.random.default_rng(0))
    weights = read_weights(data)
    assert isinstance(weights, Weights) and (weights.signal, weights.spec) == (SIGNAL, spec)
    assert list(weights.tensors) == [*spec.tensors, *spec.initial]
    for name, tensor in weights.tensors.items():
        np.testing.assert_array_equal(tensor, tensors[name])
        assert tensor.dtype == tensors[name].dtype
    assert weights.metadata["training_commit"] == "abc" and weights.metadata["format"] == "pyenhance-2"
    assert data == small_weights(SIGNAL, training_commit="abc", training_data="none"), "the same for the same"
    again = {key: weights.metadata[key] for key in ("training_commit", "training_data")}
    assert write_weights(weights.signal, weights.spec, weights.tensors, again) == data


def test_fine_bins_are_in_the_file_where_there_are_any(data: bytes) -> None:
    signal = SignalSpec(24, 1, 32)
    fine = read_weights(small_weights(signal))
    assert fine.signal == signal and fine.spec.inputs == 82
    assert fine.metadata["signal"] == '{"num_bands": 24, "lookahead_frames": 1, "fine_bins": 32}'
    assert read_weights(data).metadata["signal"] == '{"num_bands": 24, "lookahead_frames": 1}'


def test_initial_states_may_be_left_out(data: bytes) -> None:
    """What a file does not say is zero; a convolution begins with int8 values, a GRU with 1/127 of them."""
    weights = read_weights(data)
    spec, rest = weights.spec, {name: weights.tensors[name] for name in weights.spec.tensors}
    assert set(spec.initial) == {f"{layer.name}.initial" for layer in spec.layers if layer.kind in ("conv", "gru")}
    without = load_model(write_weights(SIGNAL, spec, rest))
    assert not without.network.new_memory().any() and not without.new_state().memory.any()
    some = {name: weights.tensors[name] for name in ("conv1.initial", "gru2.initial")}
    model = load_model(write_weights(SIGNAL, spec, rest | some))
    memory = model.new_state().memory
    for layer, unit in (("conv1", 1), ("gru2", 127)):
        place, shape = spec.memory[layer]
        np.testing.assert_allclose(unit * memory[place].reshape(shape), some[f"{layer}.initial"], rtol=1e-6)
        memory[place] = 0
    assert not memory.any() and model.new_state().memory.any(), "each stream has its own"


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("dense.initial", np.zeros((1, 4), np.int8), "missing or unknown: dense.initial"),
        ("gru1.initial", np.zeros((1, 4), np.int8), r"gru1.initial is int8 \(1, 4\); accepted: int8 \(1, "),
        ("gru1.initial", np.zeros(1, np.float32), "gru1.initial is float32"),
        ("gru1.initial", None, "gru1.initial holds -128; accepted: -127 to 127"),
    ],
)
def test_an_initial_state_that_is_none_is_refused(name: str, tensor: np.ndarray | None, message: str) -> None:
    spec = percepnet(SIGNAL, **WIDTHS)
    given = np.full(spec.initial["gru1.initial"], -128, np.int8) if tensor is None else tensor
    with pytest.raises(ValueError, match=message):
        write_weights(SIGNAL, spec, random_tensors(spec, np.random.default_rng(0)) | {name: given})


def test_safetensors_reads_it(data: bytes) -> None:
    from safetensors.numpy import load

    tensors = load(data)
    for name, tensor in read_weights(data).tensors.items():
        np.testing.assert_array_equal(tensors[name], tensor)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_models_from_bytes(data: bytes, kind: type) -> None:
    model = load_model(kind(data))
    assert model.signal == SIGNAL and model.name == f"weights-{hashlib.sha256(data).hexdigest()[:8]}"
    assert load_model(model) is model
    enhancer = Enhancer(kind(data))
    assert enhancer.latency_samples == 960 and np.isfinite(enhancer.process(np.full(960, 0.1))).all()
    with pytest.raises(ValueError, match=r"weights-[0-9a-f]{8}'.*sha256"):
        load_model(kind(data[:-1] + bytes([data[-1] ^ 1])))


def test_models_by_path(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(data)
    expected = read_weights(data).spec.weights
    assert load_model(path).name == "mine" and load_model(str(path)).weights == load_model(data).weights == expected
    path.write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"mine\.safetensors"):
        load_model(path)
    path.unlink()
    with pytest.raises(ValueError, match=r"mine\.safetensors' is neither shipped \(default"):
        load_model(path)


def test_format_1_is_still_read() -> None:
    data = small_weights(SignalSpec())
    old, new = read_weights(as_format_1(data)), read_weights(data)
    assert old.metadata["format"] == "pyenhance-1" and (old.signal, old.spec) == (new.signal, new.spec)
    for name, tensor in new.tensors.items():
        np.testing.assert_array_equal(old.tensors[name], tensor)
    x = 0.1 * np.sin(np.arange(9600) / 20)
    np.testing.assert_array_equal(Enhancer(as_format_1(data)).process(x), Enhancer(data).process(x))


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        (None, "topology is no JSON"),
        ("{", "topology is no JSON"),
        ("[" * 10**5, "topology is no JSON"),
        ("[]", "topology is"),
        ('{"dense": 1}', "accepted: an object with"),
        (json.dumps(WIDTHS | {"extra": 1}), "accepted: an object with"),
        (json.dumps(WIDTHS | {"gru": 0}), "units is 0"),
        (json.dumps(WIDTHS | {"gru": -1}), "units is -1"),
        (json.dumps(WIDTHS | {"gru": 10**6}), "units is 1000000"),
        (json.dumps(WIDTHS | {"gru": 2.5}), r"units is 2\.5"),
        (json.dumps(WIDTHS | {"gru": True}), "units is True"),
        (json.dumps(WIDTHS | {"gru": "8"}), "units is '8'"),
        (json.dumps(WIDTHS | {"gru": float("nan")}), "units is nan"),
        (json.dumps(WIDTHS | {"gru": 9}), "accepted: I8"),  # not the tensors' width
    ],
)
def test_format_1_with_another_topology_is_refused(topology: str | None, message: str) -> None:
    def change(header: dict) -> None:
        header["__metadata__"].pop("topology")
        if topology is not None:
            header["__metadata__"]["topology"] = topology

    with pytest.raises(ValueError, match=message):
        read_weights(_changed(as_format_1(small_weights(SignalSpec())), change))


def test_format_1_has_the_default_signal_path(data: bytes) -> None:
    with pytest.raises(ValueError, match="accepted: I8"):  # 24 bands
        read_weights(as_format_1(data))


# What is refused


def test_tensors_cannot_be_written_to(data: bytes) -> None:
    with pytest.raises(ValueError, match="read-only"):
        read_weights(data).tensors["dense.bias"][0] = 1
    with pytest.raises(ValueError, match="read-only"):
        load_model(bytearray(data)).tensors["dense.weight"][0] = 1


def test_any_changed_byte_of_the_payload_is_noticed(data: bytes) -> None:
    broken = bytearray(data)
    broken[-1234] ^= 1
    with pytest.raises(ValueError, match="sha256"):
        read_weights(bytes(broken))


@pytest.mark.parametrize("length", [0, 7, 8, 100, 5000])
def test_truncated(data: bytes, length: int) -> None:
    with pytest.raises(ValueError, match="weights"):
        read_weights(data[:length])


NAME = "gru1.weight_hh"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["__metadata__"].update(format="pyenhance-0"), "pyenhance-0"),
        (lambda h: h["__metadata__"].pop("format"), "format is None; accepted: 'pyenhance-2', 'pyenhance-1'"),
        (lambda h: h["__metadata__"].update(sample_rate="16000"), "16000"),
        (lambda h: h.update(__metadata__={"format": 2}), "no metadata of strings"),
        (lambda h: h.pop(NAME) and None, NAME),
        (lambda h: h.update(extra=h[NAME]), "extra"),
        (lambda h: h[NAME].update(dtype="F64"), "F64"),
        (lambda h: h[NAME].update(shape=[1, 1]), NAME),
        (lambda h: h[NAME].update(data_offsets=[0, 10**12]), NAME),
        (lambda h: h[NAME].update(data_offsets=[-1, 5]), "data_offsets"),
        (lambda h: h[NAME].update(data_offsets=[0, True]), "data_offsets"),
        (lambda h: h[NAME].update(data_offsets=[0.0, 5.0]), "data_offsets"),
        (lambda h: h[NAME].update(data_offsets="all"), "data_offsets"),
        (lambda h: h[NAME].pop("data_offsets") and None, "data_offsets"),
    ],
)
def test_hostile_headers(data: bytes, change: Callable[[dict], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_weights(_changed(data, change))


def test_hostile_containers(data: bytes) -> None:
    header, payload = split(data)
    with pytest.raises(ValueError, match="4 bytes follow"):
        read_weights(_changed(data, lambda h: payload + b"tail"))
    with pytest.raises(ValueError, match="sha256"):
        read_weights(_changed(data, lambda h: h["__metadata__"].update(sha256="0" * 64), sign=False))
    with pytest.raises(ValueError, match="header"):
        read_weights((2**40).to_bytes(8, "little") + data[8:])
    for text in (b"oops", b"[[[[" + b"[" * 10**5, b"\xff\xfe\x00", b'{"a": 1}', b"[]"):
        with pytest.raises(ValueError, match="JSON"):
            read_weights(len(text).to_bytes(8, "little") + text)
    with pytest.raises(ValueError, match="no metadata"):
        header.pop("__metadata__")
        read_weights(join(header, payload))


def _layers(change: Callable[[list], Any]) -> Callable[[dict], None]:
    def changed(header: dict) -> None:
        layers = json.loads(header["__metadata__"]["layers"])
        result = change(layers)
        header["__metadata__"]["layers"] = result if isinstance(result, str) else json.dumps(layers)

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ls: "", "layers are no JSON"),
        (lambda ls: "[" * 10**5, "layers are no JSON"),
        (lambda ls: '[{"units": ' + "9" * 5000 + "}]", "layers are no JSON"),  # too many digits
        (lambda ls: "{}", "accepted: a list of objects"),
        (lambda ls: "[]", "0 of them; accepted: 1 to 64"),
        (lambda ls: "[1]", "accepted: an object with activation, backward, bands, frames, kind"),
        (lambda ls: ls.extend(ls * 10), "of them; accepted: 1 to 64"),
        (lambda ls: ls[3].pop("frames") and None, "accepted: an object with activation, backward, bands, frames, kind"),
        (lambda ls: ls[3].update(bias=1), "accepted: an object with activation, backward, bands, frames, kind"),
        (lambda ls: ls[3].update(kind="lstm"), "layer 'gru1': kind is 'lstm'; accepted: dense, conv, gru"),
        (lambda ls: ls[3].update(kind=None), "layer 'gru1': kind is None"),
        (lambda ls: ls[3].update(kind={}), "layer 'gru1': kind is {}"),
        (lambda ls: ls[3].update(sources=["gru2"]), "layer 'gru1': source is 'gru2'; accepted: dense, conv1, conv2"),
        (lambda ls: ls[3].update(sources=["gru1"]), "layer 'gru1': source is 'gru1'"),
        (lambda ls: ls[3].update(sources="conv2"), "accepted: a list of names"),
        (lambda ls: ls[3].update(sources=[["conv2"]]), "accepted: a list of names"),
        (lambda ls: ls[3].update(sources=[]), r"sources is \(\)"),
        (lambda ls: ls[3].update(name="conv2"), "layer 'conv2': name is 'conv2'"),
        (lambda ls: ls[3].update(name=["gru1"]), "name is"),
        (lambda ls: ls[3].update(name="features"), "name is 'features'"),
        (lambda ls: ls[3].update(units=float("nan")), "units is nan"),
        (lambda ls: ls[3].update(units=float("inf")), "units is inf"),
        (lambda ls: ls[3].update(units=10**30), "units is 1000000"),
        (lambda ls: ls[3].update(units=4097), "units is 4097; accepted: a whole number from 1 to 4096"),
        (lambda ls: ls[3].update(units=4096), "accepted: I8"),  # not the tensors' shape
        (lambda ls: ls[2].update(frames=10**9), "frames is 1000000000"),
        (lambda ls: ls[2].update(frames=True), "frames is True"),
        (lambda ls: ls[2].update(sources=["conv1"] * 90_000, frames=16), "numbers; accepted: at most 133144"),
        (lambda ls: ls[7].update(activation="tanh"), "layer 'gain': 24 units and 'tanh'; accepted: 24 units and 'sigm"),
        (lambda ls: ls[7].update(units=25), "layer 'gain': 25 units"),
        (lambda ls: ls[7].update(name="gains"), "accepted: with one named 'gain'"),
        (lambda ls: ls[10].update(units=2), "layer 'vad': 2 units and 'sigmoid'; accepted: 1 units"),
        (lambda ls: ls.pop() and None, "accepted: with one named 'vad'"),
    ],
)
def test_hostile_layers(data: bytes, change: Callable[[list], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_weights(_changed(data, _layers(change)))


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ("", "signal is no JSON"),
        ("[" * 10**5, "signal is no JSON"),
        ("[]", "accepted: an object with lookahead_frames, num_bands"),
        ('{"num_bands": 24}', "accepted: an object with lookahead_frames, num_bands"),
        ('{"num_bands": 24, "lookahead_frames": 1, "hop": 240}', "accepted: an object with"),
        ('{"num_bands": 24, "lookahead_frames": 5}', "lookahead_frames is 5; accepted: a whole number from 0 to 4"),
        ('{"num_bands": 24, "lookahead_frames": null}', "lookahead_frames is None"),
        ('{"num_bands": NaN, "lookahead_frames": 1}', "num_bands is nan"),
        ('{"num_bands": 1e3, "lookahead_frames": 1}', r"num_bands is 1000\.0"),
        ('{"num_bands": 4000000000, "lookahead_frames": 1}', "num_bands is 4000000000"),
        (
            '{"num_bands": 24, "lookahead_frames": 1, "fine_bins": 49}',
            "fine_bins is 49; accepted: a whole number",
        ),
        ('{"num_bands": 24, "lookahead_frames": 1, "fine_bins": null}', "fine_bins is None"),
        # One that the network was not made for:
        ('{"num_bands": 25, "lookahead_frames": 1}', "layer 'gain': 24 units and 'sigmoid'; accepted: 25 units"),
        ('{"num_bands": 24, "lookahead_frames": 1, "fine_bins": 8}', "dense.weight"),
    ],
)
def test_hostile_signals(data: bytes, signal: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_weights(_changed(data, lambda h: h["__metadata__"].update(signal=signal)))


def test_a_model_whose_spec_does_not_fit_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(_changed(data, lambda h: h["__metadata__"].update(signal=SignalSpec(50, 1).to_json())))
    with pytest.raises(ValueError, match=r"model '.*odd\.safetensors': layer 'gain': 24 units"):
        load_model(path)
    enhancer = Enhancer("tiny")
    with pytest.raises(ValueError, match=r"model '.*odd\.safetensors': layer 'gain': 24 units"):
        enhancer.switch(path)
    assert enhancer.model.name == "tiny"


def test_weights_that_no_product_takes_are_refused(data: bytes) -> None:
    header, payload = split(data)
    for name, wrong, message in (
        ("dense.bias", b"\x00\x00\xc0\x7f", r"dense\.bias holds nan; accepted: numbers of at most 1e[+]06"),
        ("gru1.weight_hh_scale", b"\x00\x00\x80\x7f", r"gru1\.weight_hh_scale holds inf; accepted"),
        ("gru2.weight_ih_scale", np.float32(-2e6).tobytes(), r"gru2\.weight_ih_scale holds -2000000.0; accepted"),
        (NAME, b"\x80", r"gru1\.weight_hh holds -128"),
    ):
        begin, _ = header[name]["data_offsets"]
        body = payload[:begin] + wrong + payload[begin + len(wrong) :]
        with pytest.raises(ValueError, match=message):
            read_weights(_changed(data, lambda h, body=body: body))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain.bias": None}, r"missing or unknown: gain\.bias"),
        ({"more": np.zeros(1, np.float32)}, "missing or unknown: more"),
        ({"gain.bias": np.zeros(24)}, r"gain\.bias is float64 \(24,\); accepted: float32 \(24,\)"),
        ({"gain.bias": np.zeros(23, np.float32)}, r"gain\.bias is float32 \(23,\)"),
        ({"vad.bias": np.full(1, np.nan, np.float32)}, r"vad\.bias holds nan"),
        ({"vad.weight": np.full((1, 10), -128, np.int8)}, r"vad\.weight holds -128"),
    ],
)
def test_nothing_is_written_that_would_not_be_read(change: dict[str, np.ndarray | None], message: str) -> None:
    spec = percepnet(SIGNAL, **WIDTHS)
    tensors: dict = random_tensors(spec, np.random.default_rng(0)) | change
    with pytest.raises(ValueError, match=message):
        write_weights(SIGNAL, spec, {name: tensor for name, tensor in tensors.items() if tensor is not None})


def test_a_network_that_does_not_fit_is_not_written() -> None:
    spec = percepnet(SIGNAL, **WIDTHS)
    tensors = random_tensors(spec, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"layer 'gain': 24 units|50 features"):
        write_weights(SignalSpec(50, 1), spec, tensors)
    heads = NetworkSpec(50, (LayerSpec("gain", "dense", (INPUT,), 24, "sigmoid"),))
    with pytest.raises(ValueError, match="named 'strength'"):
        write_weights(SIGNAL, heads, random_tensors(heads, np.random.default_rng(0)))


@pytest.mark.parametrize("metadata", [{"sha256": "0"}, {"layers": "[]"}, {"commit": 5}, {"signal": "x"}])
def test_metadata_that_the_writer_sets_itself_is_refused(metadata: dict) -> None:
    spec = percepnet(SIGNAL, **WIDTHS)
    with pytest.raises(ValueError, match=f"metadata '{next(iter(metadata))}'"):
        write_weights(SIGNAL, spec, random_tensors(spec, np.random.default_rng(0)), metadata)


@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.integers(0, 3)), max_size=4),
    st.booleans(),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_damaged_files_are_refused_or_the_same(changes: list[tuple[float, int, int]], in_header: bool) -> None:
    """Bytes changed, put in, taken out or doubled, half of the time in the header alone."""
    data = small_weights(SIGNAL, training_commit="abc")
    end = int.from_bytes(data[:8], "little") + 8 if in_header else len(data)
    damaged = bytearray(data)
    for place, value, what in changes:
        at = int(place * end)
        match what:
            case 0:
                damaged[at % len(damaged)] = value
            case 1:
                damaged.insert(at, value)
            case 2:
                del damaged[at : at + 1 + value % 8]
            case 3:
                damaged[at:at] = damaged[at : at + value]
    try:
        found = read_weights(bytes(damaged))
    except ValueError:
        return
    expected = read_weights(data)
    assert (found.signal, found.spec) == (expected.signal, expected.spec)
    for name, tensor in expected.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["gru", "conv2"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.integers(0, 10), st.sampled_from(["name", "kind", "sources", "units", "activation", "frames", None]), _JSON)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_value_anywhere_in_the_layers_is_refused_or_the_same(index: int, field: str | None, value: Any) -> None:
    data = small_weights(SIGNAL)

    def change(layers: list) -> None:
        if field is None:
            layers[index] = value
        else:
            layers[index][field] = value

    try:
        found = read_weights(_changed(data, _layers(change)))
    except ValueError:
        return
    assert found.spec.tensors == read_weights(data).spec.tensors


@given(
    st.sampled_from(["dtype", "shape", "data_offsets", None]), st.sampled_from([NAME, "vad.bias", "gain.weight"]), _JSON
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_value_anywhere_in_the_header_is_refused_or_the_same(field: str | None, name: str, value: Any) -> None:
    data = small_weights(SIGNAL)

    def change(header: dict) -> None:
        if field is None:
            header[name] = value
        else:
            header[name][field] = value

    try:
        found = read_weights(_changed(data, change))
    except ValueError:
        return
    np.testing.assert_array_equal(found.tensors[name], read_weights(data).tensors[name])

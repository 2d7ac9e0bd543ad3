"""A model that hears whole recordings: what it is, how long ones are run in stretches, and where it is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance import Enhancer, channels, dsp, enhance, load_model
from pyenhance.align import enhance_aligned, padded, trimmed
from pyenhance.audio import AudioStream
from pyenhance.cli import main
from pyenhance.dsp import HOP, SAMPLE_RATE, SignalState
from pyenhance.live import LiveEngine
from pyenhance.model import Model, stream_models, whole
from pyenhance.model.image import write_image
from pyenhance.nn import INPUT, LayerSpec, Network, NetworkSpec

from ..conftest import noisy_voice
from ..networks import assert_agree, random_features, random_tensors
from ..whole import whole_spec, whole_weights


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(whole_weights())


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    return noisy_voice(2.0)


@pytest.fixture
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 70 frames, and 30 ahead of them, with a lead-in of 40."""
    for module in (whole, channels):
        monkeypatch.setattr(module, "STRETCH_FRAMES", 70)
        monkeypatch.setattr(module, "RUN_UP_FRAMES", 30)
    monkeypatch.setattr(channels, "LEAD_IN_HOPS", 40)


def test_a_recording_is_the_network_over_all_of_its_frames(model: Model, signal: np.ndarray) -> None:
    spec, latency = model.signal, model.signal.latency_samples
    heard, state, memory = SignalState(spec), SignalState(spec), model.network.new_memory()
    lead_in = signal[: len(signal) // HOP * HOP].reshape(-1, HOP)[: channels.LEAD_IN_HOPS]
    model.network(dsp.analyse(spec, heard, lead_in).features, memory)
    for name in ("level", "rumble"):
        getattr(state, name)[:] = getattr(heard, name)
    frames = dsp.analyse(spec, state, padded(signal, latency, HOP).reshape(-1, HOP))
    outputs = model.network(frames.features, memory)
    y = trimmed(dsp.synthesise(spec, state, frames, outputs["gain"], outputs["strength"]), len(signal), latency)
    np.testing.assert_allclose(enhance(signal, SAMPLE_RATE, model=model), y, atol=1e-5)


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("chunk", [3001, 10_000])
def test_any_chunking_gives_the_one_shot_result(model: Model, signal: np.ndarray, chunk: int) -> None:
    x = np.stack((signal, signal[::-1]), 1)
    stream, ends = AudioStream(SAMPLE_RATE, 2, model=model), range(chunk, len(x), chunk)
    parts = [stream.process(x[end - chunk : end]) for end in ends]
    assert not len(np.concatenate(parts[: 70 * HOP // chunk])) and len(np.concatenate(parts))
    y = np.concatenate([*parts, stream.process(x[ends[-1] :], last=True)])
    np.testing.assert_array_equal(y, enhance(x, SAMPLE_RATE, model=model))


@pytest.mark.usefixtures("short_stretches")
def test_flush_resets(model: Model, signal: np.ndarray) -> None:
    enhancer = channels.WholeEnhancer(model, 1)
    first, second = (enhance_aligned(enhancer, signal[None]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (1, len(signal))


def test_stretches_come_near_the_recording_in_one_piece(
    model: Model, signal: np.ndarray, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = enhance(signal, SAMPLE_RATE, model=model)
    request.getfixturevalue("short_stretches")
    near = np.abs(enhance(signal, SAMPLE_RATE, model=model) - once)
    for module in (whole, channels):
        monkeypatch.setattr(module, "RUN_UP_FRAMES", 0)
    without = np.abs(enhance(signal, SAMPLE_RATE, model=model) - once)
    assert near.max() < 1e-3 < without.max()


def test_forward_layers_go_from_stretch_to_stretch_as_if_there_were_none() -> None:
    spec = whole_spec(dsp.SignalSpec())
    forward = replace(spec, layers=tuple(replace(layer, backward=False) for layer in spec.layers))
    rng = np.random.default_rng(0)
    network, x = Network(forward, random_tensors(forward, rng)), random_features(forward, rng, 50)
    memory, other = network.new_memory(), network.new_memory()
    once = network(x, memory)
    parts = [network(x[a : b + 7], other, ahead=min(7, 50 - b)) for a, b in ((0, 20), (20, 40), (40, 50))]
    for name, y in once.items():
        found = np.concatenate([part[name][:count] for part, count in zip(parts, (20, 20, 10), strict=True)])
        np.testing.assert_array_equal(found, y)
    np.testing.assert_array_equal(memory, other)


def test_only_the_outputs_that_are_wanted_are_kept(model: Model) -> None:
    network = model.network
    x = random_features(network.spec, np.random.default_rng(0))
    every, wanted = (network(x, network.new_memory(), names=names) for names in (None, ("back1", "gain")))
    assert set(wanted) == {"back1", "gain", "vad", "strength"}
    np.testing.assert_array_equal(wanted["back1"], every["back1"])


def test_channels_share_their_gains_unless_each_is_by_itself(model: Model, signal: np.ndarray) -> None:
    x = np.stack((signal, 0.3 * signal[::-1]), 1)
    alone = [enhance(channel, SAMPLE_RATE, model=model) for channel in x.T]
    np.testing.assert_array_equal(enhance(x, SAMPLE_RATE, model=model, linked=False), np.stack(alone, 1))
    assert np.abs(enhance(x, SAMPLE_RATE, model=model) - np.stack(alone, 1)).max() > 1e-4
    same = enhance(np.stack((signal, signal), 1), SAMPLE_RATE, model=model)
    np.testing.assert_allclose(same.T, np.stack((alone[0], alone[0])), atol=1e-5)


def test_strength(model: Model, signal: np.ndarray) -> None:
    def level(strength_db: float | None) -> float:
        return float(np.abs(enhance(signal, SAMPLE_RATE, model=model, strength_db=strength_db) - signal).mean())

    assert level(0) == 0 < level(3) < level(None)


def test_streams_refuse_it_by_name(model: Model, signal: np.ndarray) -> None:
    reason = rf"{model.name}.* hears whole recordings.*accepted: default, .*`enhance`"
    for ask in (Enhancer, lambda m: write_image(m), lambda m: LiveEngine(m)):
        with pytest.raises(ValueError, match=reason):
            ask(model)
    stream, other = Enhancer("tiny"), Enhancer("tiny")
    first = stream.process(signal[:4800])
    with pytest.raises(ValueError, match=reason):
        stream.switch(model)
    rest = stream.process(signal[4800:])
    np.testing.assert_array_equal(np.concatenate((first, rest)), other.process(signal))
    assert {"default", "tiny", "low-delay"} <= set(stream_models())


def test_an_effort_that_there_is_not(model: Model) -> None:
    with pytest.raises(ValueError, match="effort is 'lean'; accepted: 'full', 'auto'"):
        AudioStream(SAMPLE_RATE, 1, model=model, effort="lean")


@pytest.mark.usefixtures("with_native")
def test_compiled_code_computes_what_numpy_does(model: Model, signal: np.ndarray) -> None:
    compiled, spec = load_model(whole_weights(), "native"), model.network.spec
    assert (compiled.backend.network, compiled.backend.signal) == ("native", "native")
    features = random_features(spec, np.random.default_rng(0), 200)
    memories = model.network.new_memory(), model.network.new_memory()
    for part, ahead in ((slice(0, 170), 70), (slice(100, 200), 0)):
        found, expected = (
            each.runner.layers(features[part], memory, tuple(spec.widths)[1:], ahead=ahead)
            for each, memory in zip((compiled, model), memories, strict=True)
        )
        assert assert_agree(spec, expected, found)
    np.testing.assert_allclose(*memories, atol=1e-4)
    for x in (signal, np.stack((signal, signal[::-1]), 1)):
        y, plain = (enhance(x, SAMPLE_RATE, model=m) for m in (compiled, model))
        np.testing.assert_allclose(y, plain, atol=1e-3)


def test_backward_layers_and_lean_parts_in_one_list_are_refused() -> None:
    backward = LayerSpec("back", "gru", ("dense",), 6, "tanh", backward=True)
    lean = LayerSpec("gru", "gru", ("dense",), 6, "tanh", lean=2)
    layers = (LayerSpec("dense", "dense", (INPUT,), 6, "tanh"), backward, lean)
    with pytest.raises(ValueError, match="layer 'gru': lean is 2; accepted: 0 in a list with backward layers"):
        NetworkSpec(5, layers)


def test_files(tmp_path: Path, signal: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    weights, folder = tmp_path / "studio.safetensors", tmp_path / "in"
    weights.write_bytes(whole_weights())
    (folder / "deeper").mkdir(parents=True)
    stereo = np.stack((signal, signal[::-1]), 1)
    soundfile.write(folder / "a.wav", stereo, SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(folder / "deeper" / "b.flac", signal[:-7], 44_100)
    options = ["--model", str(weights), "--strength-db", "20", "--effort", "auto", "--json"]
    assert main(["denoise", str(folder), "-o", str(tmp_path / "out"), *options]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["model"] == "studio" and len(done["files"]) == 2
    y, rate = soundfile.read(tmp_path / "out" / "a.wav", dtype="float32")
    expected = enhance(stereo, SAMPLE_RATE, model=weights, strength_db=20)
    assert rate == SAMPLE_RATE and np.array_equal(y, expected)
    facts = soundfile.info(tmp_path / "out" / "deeper" / "b.flac")
    assert (facts.frames, facts.samplerate) == (len(signal) - 7, 44_100)

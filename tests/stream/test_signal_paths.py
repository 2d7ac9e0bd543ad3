"""Other look-aheads, bands and fine bins, by numpy and compiled: any split, the same as each other, exact delays."""

import numpy as np
import pytest

from pyenhance import Enhancer, load_model
from pyenhance.backend import StreamState
from pyenhance.dsp import SignalSpec
from pyenhance.model import Model

from ..conftest import noisy_voice
from ..networks import small_weights

SPECS = [SignalSpec(bands, ahead) for ahead in (0, 1, 2) for bands in (24, 34, 50)]
SPECS += [SignalSpec(34, 2, 32), SignalSpec(24, 0, 48)]
KERNELS = ("numpy", "native")

pytestmark = pytest.mark.usefixtures("with_native")


@pytest.fixture(
    params=SPECS, ids=lambda spec: f"{spec.num_bands} bands, {spec.fine_bins} fine, {spec.lookahead_frames} on"
)
def spec(request: pytest.FixtureRequest) -> SignalSpec:
    return request.param


@pytest.fixture(params=KERNELS)
def model(request: pytest.FixtureRequest, spec: SignalSpec, with_native: None) -> Model:
    model = load_model(small_weights(spec), request.param)
    assert model.backend.network == model.backend.signal == request.param
    return model


def assert_same_state(one: StreamState, other: StreamState) -> None:
    """Bit for bit; the block has scratch space besides."""
    of_signal = "samples spectra energies decimated score previous level tail sections rumble filtered raw"
    for name in of_signal.split():
        np.testing.assert_array_equal(getattr(one.signal, name), getattr(other.signal, name), name)
    for name in ("memory", "held_gain", "recent", "heard"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


def test_streaming_equals_one_shot(model: Model) -> None:
    x = noisy_voice(1.5)
    once = Enhancer(model)
    whole = np.concatenate((once.process(x), once.flush()))
    assert len(whole) == len(x) + model.signal.latency_samples and np.std(whole) > 0.01
    for chunk in (1, 17, 480, 509, 44_100):
        e, length = Enhancer(model), 9600 if chunk == 1 else len(x)
        y = np.concatenate([e.process(x[i : i + chunk]) for i in range(0, length, chunk)])
        np.testing.assert_array_equal(y, whole[: len(y)])
        if length == len(x):
            np.testing.assert_array_equal(e.flush(), whole[len(y) :])


@pytest.mark.parametrize("sizes", [[1], [2], [7, 1], [64], [65], [100, 1, 49]])
def test_any_split_gives_the_same_bits(model: Model, sizes: list[int]) -> None:
    """Of every step of the path, and of what is remembered."""
    hops = noisy_voice(1.5)[: 480 * 150].reshape(-1, 480)
    streams = model.stream(model.new_state()), model.stream(model.new_state())
    parts, first = [], 0
    while first < 150:
        parts.append(hops[first : first + sizes[len(parts) % len(sizes)]])
        first += len(parts[-1])
    results = []
    for stream, calls in zip(streams, ([hops], parts), strict=True):
        rows = []
        for call in calls:
            frames = stream.analyse(call)
            gain, strength, vad = stream.estimate(frames.features)
            stream.finish(call, frames, gain, float(vad[-1]))
            out = stream.synthesise(frames, gain, strength, dry=0.1)
            rows.append((*vars(frames).values(), gain, strength, vad, out))
        results.append([np.concatenate(column) for column in zip(*rows, strict=True)])
    for once, split in zip(*results, strict=True):
        np.testing.assert_array_equal(once, split)
    assert_same_state(*(stream.state for stream in streams))


def test_compiled_equals_numpy(spec: SignalSpec) -> None:
    hops = noisy_voice(2.0).reshape(-1, 480)
    numpy, native = (load_model(small_weights(spec), kernel) for kernel in KERNELS)
    streams = [model.stream(model.new_state()) for model in (numpy, native)]
    expected, found = (stream.analyse(hops) for stream in streams)
    same = expected.pitch_period == found.pitch_period
    assert same.mean() > 0.99
    for name, value in vars(expected).items():
        if name != "pitch_period":
            difference = np.abs(getattr(found, name) - value)[same]
            assert difference.max() < 1e-3 * np.abs(value).max(), name
    q = expected.coherence
    for strength, dry, postfilter in ((q[:, ::-1], 0.0, True), (None, 0.0, False), (q, 0.3, False), (q, 1.0, True)):
        a, b = (stream.synthesise(expected, q, strength, dry=dry, postfilter=postfilter) for stream in streams)
        assert np.abs(a - b).max() < 1e-5
    a, b = (Enhancer(model).process_hops(hops) for model in (numpy, native))
    assert np.std(a - b) < 0.02 * np.std(a)


def test_one_kernel_goes_on_where_the_other_stopped(spec: SignalSpec) -> None:
    hops = noisy_voice(2.0).reshape(-1, 480)
    numpy, native = (load_model(small_weights(spec), kernel) for kernel in KERNELS)
    state = numpy.new_state()
    streams = numpy.stream(state), native.stream(state)
    parts = [streams[i % 2].process(hops[10 * i : 10 * i + 10], 0.0)[0] for i in range(20)]
    whole = Enhancer(numpy).process_hops(hops)
    assert np.std(np.concatenate(parts) - whole) < 0.02 * np.std(whole)


def test_a_click_comes_out_exactly_as_late_as_it_is_said(model: Model) -> None:
    latency = model.signal.latency_samples
    assert Enhancer(model).latency_samples == latency == 480 * (1 + model.signal.lookahead_frames)
    for place in (0, 479, 480, 5000):
        x = np.zeros(12_000, np.float32)
        x[place] = 0.5
        e = Enhancer(model, strength_db=0)
        y = np.concatenate((e.process(x), e.flush()))
        assert int(np.abs(y).argmax()) == place + latency
        np.testing.assert_allclose(y[latency:], x, atol=1e-6)
        assert np.abs(y[:latency]).max() < 1e-6


def test_strength_zero_is_the_untouched_signal_delayed(model: Model) -> None:
    x, latency = noisy_voice(1.0), model.signal.latency_samples
    e = Enhancer(model, strength_db=0)
    y = np.concatenate((e.process(x), e.flush()))
    np.testing.assert_allclose(y[latency:], x, atol=2e-6)
    assert np.abs(y[:latency]).max() < 1e-6  # what is left of a sum of transforms


def test_reset_and_flush_begin_anew(model: Model) -> None:
    x, e = noisy_voice(0.5), Enhancer(model)
    first = np.concatenate((e.process(x), e.flush()))
    np.testing.assert_array_equal(np.concatenate((e.process(x), e.flush())), first)
    e.process(-x)
    e.reset()
    np.testing.assert_array_equal(np.concatenate((e.process(x), e.flush())), first)


def test_lean_hops_keep_the_delay(model: Model) -> None:
    x = noisy_voice(1.0)
    hops = x.reshape(-1, 480)
    e = Enhancer(model, strength_db=0)
    y = np.concatenate([e.process_hops(hops[i : i + 5], lean=i % 2 == 1) for i in range(0, 100, 5)]).ravel()
    latency = e.latency_samples
    np.testing.assert_allclose(y[latency:], x[:-latency], atol=2e-6)
    assert e.stats["lean_hops"] == 50 and len(e.stats["gain"]) == model.signal.num_bands


def test_linked_halves_are_the_whole(model: Model) -> None:
    """`process_hops` is `render` of `estimate`, to the bit."""
    hops = noisy_voice(1.0).reshape(-1, 480)
    whole, halves = Enhancer(model), Enhancer(model)
    for size, first in ((1, 0), (7, 1), (64, 8), (28, 72)):
        part = hops[first : first + size]
        np.testing.assert_array_equal(halves.render(halves.estimate(part)), whole.process_hops(part))
        np.testing.assert_array_equal(halves.last_hop.gain, whole.last_hop.gain)
        assert halves.last_hop[:3] == whole.last_hop[:3]
    assert_same_state(halves.state, whole.state)


def test_long_calls_are_cut_into_blocks(model: Model) -> None:
    hops = noisy_voice(3.0).reshape(-1, 480)
    parts = Enhancer(model)
    once = Enhancer(model).process_hops(hops)
    np.testing.assert_array_equal(
        once, np.concatenate([parts.process_hops(hops[i : i + 50]) for i in range(0, 300, 50)])
    )

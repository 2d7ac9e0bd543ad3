"""Arrays of several channels: shapes, bad samples, linked gains; and the delay removed in one place."""

import itertools
import time

import numpy as np
import pytest
import threadpoolctl

from pyenhance import Enhancer, channels, enhance
from pyenhance.align import Aligned, enhance_aligned, padded, trimmed
from pyenhance.measure import si_sdr
from pyenhance.model import load_model

from ..conftest import in_noise, noisy_voice, spoken, voiced


@pytest.mark.parametrize("shape", [(2, 48_000), (1, 65), (0, 48_000), (10, 16), (48_000, 65)])
def test_channels_the_wrong_way_round(shape: tuple[int, int]) -> None:
    begin = time.perf_counter()
    with pytest.raises(ValueError, match=rf"shape is \({shape[0]}, {shape[1]}\).*pass x\.T"):
        enhance(np.zeros(shape, np.float32), 48_000)
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize("shape", [(0,), (0, 2), (1, 6), (480, 64), (20, 16)])
def test_shapes_that_are_what_they_look_like(shape: tuple[int, ...]) -> None:
    assert enhance(np.zeros(shape, np.float32), 48_000, model="tiny").shape == shape


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300])
def test_a_bad_sample_is_named(value: float) -> None:
    x = np.zeros((100, 2))
    x[3, 1] = value
    for strength in (None, 0):
        with pytest.raises(ValueError, match=r"x\[3, 1\] \(row 3, channel 1\) is "):
            enhance(x, 48_000, strength_db=strength)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_at_0_db_the_very_samples_come_back(dtype: type, rate: int) -> None:
    x = np.random.default_rng(0).normal(0, 0.1, (9_999, 2)).astype(dtype)
    y = enhance(x, rate, strength_db=0)
    assert y.dtype == dtype and np.array_equal(x, y) and not np.shares_memory(x, y)


def test_enhance_keeps_to_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = channels.AudioStream.process

    def process(stream: channels.AudioStream, x: np.ndarray, *, last: bool = False) -> np.ndarray:
        seen.extend(pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas")
        return original(stream, x, last=last)

    monkeypatch.setattr(channels.AudioStream, "process", process)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        enhance(np.zeros(480, np.float32), 48_000, model="tiny")
    assert seen and set(seen) == {1}


# Linked gains


def _panned(right: float, noise: float = 0.02, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A voice in both channels, to the right by so much, and noises of their own; clean and noisy, (n, 2)."""
    x = voiced(4.0)
    clean = np.stack([x, right * x], 1)
    rng = np.random.default_rng(seed)
    return clean, (clean + noise * rng.normal(size=clean.shape)).astype(np.float32)


def _strays(clean: np.ndarray, y: np.ndarray) -> float:
    """How far the level between the channels is from the clean one's, in dB, over frames with voice."""
    power = [(v[: len(v) // 960 * 960].reshape(-1, 960, 2) ** 2).mean(1) for v in (clean, y)]
    voice = power[0][:, 0] > 0.01 * power[0][:, 0].max()
    a, b = (10 * np.log10(p[voice, 0] / p[voice, 1] + 1e-12) for p in power)
    return float(np.abs(a - b).mean())


@pytest.mark.parametrize("right", [1.0, 0.3])
def test_the_channels_of_a_recording_keep_their_places(right: float) -> None:
    clean, noisy = _panned(right)
    linked, unlinked = (enhance(noisy, 48_000, linked=link) for link in (True, False))
    assert _strays(clean, linked) < _strays(clean, noisy) + 0.1
    assert _strays(clean, linked) < 0.6 * _strays(clean, unlinked)
    for i in range(2):
        assert si_sdr(clean[:, i], linked[:, i]) > si_sdr(clean[:, i], unlinked[:, i]) - 0.3


def test_a_silent_channel_changes_nothing() -> None:
    x = noisy_voice(2.0)
    alone = enhance(x, 48_000)
    both = enhance(np.stack([x, np.zeros_like(x)], 1), 48_000)
    np.testing.assert_allclose(both[:, 0], alone, atol=1e-5)
    assert np.abs(both[:, 1]).max() < 1e-6


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("rate", [48_000, 16_000])
def test_blocks_give_the_one_shot_result(linked: bool, rate: int) -> None:
    x = _panned(0.5)[1][:50_001]
    stream = channels.AudioStream(rate, 2, linked=linked)
    edges = [0, 1, 17, 500, 509, 20_000, len(x)]
    parts = [stream.process(x[a:b], last=b == len(x)) for a, b in itertools.pairwise(edges)]
    np.testing.assert_allclose(np.concatenate(parts), enhance(x, rate, linked=linked), atol=1e-5)
    with pytest.raises(ValueError, match=r"shape is \(5, 3\); accepted: \(n, 2\)"):
        stream.process(np.zeros((5, 3), np.float32))


# The lead-in


@pytest.mark.parametrize("count", [0, 1, 479, 480, 20_000, channels.LEAD_IN_HOPS * 480 - 1, 300_000])
def test_a_recording_of_any_length_has_its_lead_in(count: int) -> None:
    """Any pieces give the same, nothing is ready before the lead-in is there, and a second recording begins anew."""
    x = noisy_voice(7.0)[:count]
    enhancer = channels.LinkedEnhancer(load_model("tiny"), 1)
    once = [enhance_aligned(enhancer, x[None])[0] for _ in range(2)]
    stream = channels.AudioStream(48_000, 1, model="tiny")
    parts = [stream.process(part[:, None]) for part in np.split(x, [n for n in (100, 5000, 200_000) if n < count])]
    assert not any(map(len, parts)) or count >= channels.LEAD_IN_HOPS * 480
    parts.append(stream.process(x[:0, None], last=True))
    for y in (*once, enhance(x, 48_000, model="tiny")):
        np.testing.assert_array_equal(y, np.concatenate(parts)[:, 0])


def test_a_recording_is_no_worse_where_it_begins() -> None:
    """What the first second has in it is left as it is in its middle, when it is heard before."""
    clean = spoken(2.3, 4)
    noisy = in_noise(clean)
    live, recording = enhance_aligned(Enhancer(), noisy), enhance(noisy, 48_000)
    first, second = (si_sdr(clean[:24_000], y[:24_000]) for y in (live, recording))
    assert second > first + 1, "dB"
    assert np.std(live[-24_000:] - recording[-24_000:]) < 0.01 * np.std(noisy[-24_000:])


def test_a_stream_that_has_begun_takes_no_lead_in() -> None:
    x = noisy_voice(1.0)
    hops, e, other = x[:4800].reshape(-1, 480), Enhancer("tiny"), Enhancer("tiny")
    first = e.process(x[:9600])
    with pytest.raises(RuntimeError, match="lead_in after 20 hops; accepted: before the first"):
        e.lead_in(hops)
    np.testing.assert_array_equal(np.concatenate((first, e.process(x[9600:]))), other.process(x))
    e.reset()
    e.lead_in(hops)
    assert not np.array_equal(e.process(x), other.process(x))


def test_no_sound_of_the_lead_in_comes_out() -> None:
    x = noisy_voice(5.0)
    x[:48_000] = 0
    assert not enhance(x, 48_000)[:46_000].any()


# Halves of a hop


def test_estimate_and_render_are_process_hops() -> None:
    hops = noisy_voice(0.5)[: 48 * 480].reshape(-1, 480)
    whole, halves = Enhancer(), Enhancer()
    for part in (hops[:20], hops[20:]):
        assert np.array_equal(whole.process_hops(part), halves.render(halves.estimate(part)))
    assert whole.stats["gain"] == halves.stats["gain"]


def test_gains_from_elsewhere() -> None:
    hops = noisy_voice(0.5)[: 48 * 480].reshape(-1, 480)
    e = Enhancer()
    silent = e.render(e.estimate(hops), np.zeros((len(hops), e.model.signal.num_bands), np.float32))
    assert np.abs(silent).max() < 1e-6


# The delay


def test_aligned() -> None:
    x = noisy_voice(1.0)[:40_001]
    e = Enhancer()
    want = np.concatenate((e.process(x), e.flush()))[e.latency_samples :]
    np.testing.assert_array_equal(enhance_aligned(e, x), want)
    stream = Aligned(e)
    for _ in range(2):  # a flush is a new start
        parts = [stream.process(part) for part in np.split(x, [100, 1500, 20_000])]
        assert np.array_equal(np.concatenate((*parts, stream.flush())), want)


def test_padded_and_trimmed() -> None:
    x = np.arange(1000, dtype=np.float32)
    y = padded(x, 1440, 480)
    assert len(y) % 480 == 1440 % 480 and np.array_equal(y[:1000], x) and not y[1000:].any()
    delayed = np.concatenate((np.zeros(1440, np.float32), y))[: len(y)].reshape(-1, 480)
    assert np.array_equal(trimmed(delayed, 1000, 1440), x)

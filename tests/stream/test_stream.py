"""The streaming core: any chunking, flush and reset, extremes of input."""

import numpy as np
import pytest
import soundfile

import pyenhance
from pyenhance import Enhancer, enhance
from pyenhance.dsp import LOUDEST
from pyenhance.live import LiveEngine

from ..conftest import ROOT, noisy_voice


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    return noisy_voice(3.0)


@pytest.fixture(scope="module")
def whole(signal: np.ndarray) -> np.ndarray:
    e = Enhancer()
    return np.concatenate((e.process(signal), e.flush()))


@pytest.mark.parametrize("chunk", [1, 17, 480, 509, 44_100])
def test_any_chunking_gives_the_one_shot_result(signal: np.ndarray, whole: np.ndarray, chunk: int) -> None:
    e = Enhancer()
    length = 20_000 if chunk == 1 else len(signal)
    parts = [e.process(signal[i : i + chunk]) for i in range(0, length, chunk)]
    if length == len(signal):
        y = np.concatenate([*parts, e.flush()])
        assert len(y) == len(whole) == len(signal) + e.latency_samples
    else:
        y = np.concatenate(parts)
    np.testing.assert_array_equal(y, whole[: len(y)])


def test_hops_in_any_grouping(signal: np.ndarray) -> None:
    hops = signal[: 480 * 250].reshape(-1, 480)
    once = Enhancer().process_hops(hops)
    for k in (1, 2, 10):
        e = Enhancer()
        np.testing.assert_array_equal(np.concatenate([e.process_hops(hops[i : i + k]) for i in range(0, 250, k)]), once)


def test_flush_resets(signal: np.ndarray, whole: np.ndarray) -> None:
    e = Enhancer()
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate((e.process(signal), e.flush())), whole)


def test_reset_forgets(signal: np.ndarray, whole: np.ndarray) -> None:
    e = Enhancer()
    e.process(signal[:12_345])
    e.reset()
    np.testing.assert_array_equal(np.concatenate((e.process(signal), e.flush())), whole)


def test_streams_that_share_a_model_do_not_touch_each_other(signal: np.ndarray, whole: np.ndarray) -> None:
    a, b = Enhancer(), Enhancer()
    y = []
    for i in range(0, len(signal), 4800):
        y.append(a.process(signal[i : i + 4800]))
        b.process(-3 * signal[i : i + 4800][::-1])
    np.testing.assert_array_equal(np.concatenate([*y, a.flush()]), whole)


def test_silence_in_silence_out() -> None:
    assert not enhance(np.zeros(48_000, np.float32), 48_000).any()


def test_strength_zero_is_the_untouched_signal(signal: np.ndarray) -> None:
    np.testing.assert_allclose(enhance(signal, 48_000, strength_db=0), signal, atol=1e-6)


def test_strength_limits_the_attenuation() -> None:
    noise = (0.05 * np.random.default_rng(0).normal(size=96_000)).astype(np.float32)
    level = [20 * np.log10(np.std(enhance(noise, 48_000, strength_db=s)[48_000:]) / 0.05) for s in (6, 12, None)]
    assert -7 < level[0] < -2 and level[1] < level[0] - 1 and level[2] < level[1]


def test_noise_is_removed_and_speech_kept() -> None:
    x, rate = soundfile.read(ROOT / "site" / "page" / "sample.flac", dtype="float32")
    y = enhance(x, rate)
    # The sample's first second is noise alone; its loudest frames are speech.
    assert 20 * np.log10(np.std(y[14_400:43_200]) / np.std(x[14_400:43_200])) < -10
    frames = [20 * np.log10(v[: len(v) // 960 * 960].reshape(-1, 960).std(1) + 1e-6) for v in (x, y)]
    assert abs(np.percentile(frames[1], 97) - np.percentile(frames[0], 97)) < 3


@pytest.mark.parametrize(
    "x",
    [
        np.full(24_000, 1.0),
        np.full(24_000, -0.5),
        np.sign(np.sin(np.arange(24_000) / 20)),
        np.clip(8 * noisy_voice(0.5), -1, 1),
        1e4 * noisy_voice(0.5),
        LOUDEST * np.sign(np.sin(np.arange(24_000) / 76)),
        LOUDEST * np.sin(np.arange(24_000) / 3),
        1e-7 * noisy_voice(0.5),
        np.r_[np.zeros(12_000), 1.0, np.zeros(11_999)],
    ],
    ids=[
        "full scale",
        "DC",
        "square",
        "clipped",
        "far too loud",
        "loudest square",
        "loudest tone",
        "far too quiet",
        "click",
    ],
)
def test_extremes_stay_finite_and_no_louder(x: np.ndarray) -> None:
    y = enhance(x.astype(np.float32), 48_000)
    assert len(y) == len(x) and np.isfinite(y).all()
    assert np.abs(y).max() <= 1.6 * np.abs(x).max()


def test_level_changes_nothing_but_level(signal: np.ndarray) -> None:
    loud, quiet = enhance(signal, 48_000), enhance(signal / 100, 48_000)
    difference = 100 * quiet.astype(float) - loud
    assert np.std(difference[24_000:]) < 0.03 * np.std(loud[24_000:])


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000, 192_000])
def test_other_rates(rate: int) -> None:
    import soxr

    x = soxr.resample(noisy_voice(1.0), 48_000, rate).astype(np.float64)
    y = enhance(x, rate)
    assert y.shape == x.shape and y.dtype == np.float64 and np.isfinite(y).all()
    untouched = enhance(x, rate, strength_db=0)
    assert np.corrcoef(untouched[rate // 10 :], x[rate // 10 :])[0, 1] > (0.9 if rate > 48_000 else 0.99)


def test_unlinked_channels_are_independent(signal: np.ndarray) -> None:
    x = np.stack((signal[:48_000], signal[48_000:96_000]), 1)
    y = enhance(x, 48_000, linked=False)
    assert y.shape == x.shape
    np.testing.assert_array_equal(y[:, 1], enhance(np.ascontiguousarray(x[:, 1]), 48_000))


def test_empty() -> None:
    assert enhance(np.zeros(0, np.float32), 48_000).shape == (0,)
    assert enhance(np.zeros((0, 2)), 44_100).shape == (0, 2)
    e = Enhancer()
    assert e.process(np.zeros(0, np.float32)).shape == (0,)
    assert len(e.flush()) == e.latency_samples


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([0.0, np.nan], np.float32), "sample 1 is nan"),
        (np.array([np.inf], np.float32), "sample 0 is inf"),
        (np.array([0, 0, 1e17]), "sample 2 is 1e[+]17; accepted: finite numbers of at most 1e[+]07"),
        (np.zeros(4, np.int16), "int16"),
        (np.zeros((2, 2), np.float32), r"\(2, 2\)"),
        (np.float32(1), r"\(\)"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(
    x: np.ndarray, message: str, signal: np.ndarray, whole: np.ndarray
) -> None:
    e = Enhancer()
    first = e.process(signal[:50_000])
    with pytest.raises(ValueError, match=message):
        e.process(x)
    np.testing.assert_array_equal(np.concatenate((first, e.process(signal[50_000:]), e.flush())), whole)


def test_bad_arguments_are_named() -> None:
    x = np.zeros(480, np.float32)
    for rate in (0, 100, 48_000.5, "48k", True):
        with pytest.raises(ValueError, match=str(rate)):
            enhance(x, rate)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="-3"):
        enhance(x, 48_000, strength_db=-3)
    with pytest.raises(ValueError, match="nan"):
        Enhancer(strength_db=float("nan"))
    with pytest.raises(ValueError, match="no-such-model"):
        Enhancer("no-such-model")
    with pytest.raises(ValueError, match=r"\(4, 0\)"):
        enhance(np.zeros((4, 0), np.float32), 48_000)


@pytest.mark.parametrize("model", ["tiny", "default"])
def test_stats(model: str, signal: np.ndarray) -> None:
    e = Enhancer(model)
    hops = signal[:48_000].reshape(-1, 480)
    e.process_hops(hops[:90])
    e.process_hops(hops[90:], lean=True)
    stats = e.stats
    # Lean frames go on from a full one that keeps what they need, as the first of ten is; else gains are held.
    full = 91 if e.model.network.spec.has_lean else 90
    assert (stats["hops"], stats["full_hops"], stats["lean_hops"]) == (100, full, 100 - full)
    assert 0 < stats["us_mean"] <= stats["us_max"] and len(stats["gain"]) == 34
    assert stats["model"] == model and pyenhance.__version__


def test_lean_path_keeps_time_and_speech() -> None:
    """Held gains drift to one: speech that begins while the machine is behind is not muted by a pause's gains."""
    pause = 0.02 * np.random.default_rng(1).normal(size=48_000).astype(np.float32)
    x = np.concatenate((pause, noisy_voice(2.0, noise=0.002)))
    hops = x.reshape(-1, 480)
    e = Enhancer("tiny")  # which has no lean frames
    y = np.concatenate([e.process_hops(hops[i : i + 10], lean=100 <= i < 280) for i in range(0, len(hops), 10)])
    full = Enhancer("tiny").process_hops(hops)
    assert y.shape == full.shape and np.isfinite(y).all()
    np.testing.assert_array_equal(y[:100], full[:100])
    assert np.std(y[90:100]) < 0.3 * np.std(pause)
    now, aligned = y[240:280].ravel(), x[480 * 240 - 1440 : 480 * 280 - 1440]
    assert np.corrcoef(now, aligned)[0, 1] > 0.98 and np.std(now) > 0.8 * np.std(aligned)


def test_live_engine_is_the_enhancer(signal: np.ndarray) -> None:
    engine = LiveEngine(max_hops=4)
    hops = signal[: 480 * 40].reshape(-1, 480)
    out = []
    for i in range(0, 40, 4):
        engine.input[:] = hops[i : i + 4].ravel()
        engine.run(4)
        out.append(engine.output.copy())
    np.testing.assert_array_equal(np.concatenate(out), Enhancer(effort="auto").process_hops(hops).ravel())
    engine.input[3] = np.nan
    engine.run(1)
    assert np.isfinite(engine.output).all()
    for hops_asked in (0, 5):
        with pytest.raises(ValueError, match=str(hops_asked)):
            engine.run(hops_asked)

"""Energy below the voice does no harm: hum, rumble, an offset, also where they come and go."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import soundfile

from pyenhance import Enhancer, dsp, enhance, load_model
from pyenhance.dsp import SignalSpec, SignalState, rumble
from pyenhance.dsp.stft import sliding, stft
from pyenhance.measure import si_sdr

from ..conftest import ROOT, noisy_voice, voiced

SPEC = SignalSpec()
HOP = dsp.HOP


@cache
def sample(name: str) -> np.ndarray:
    return soundfile.read(ROOT / "site" / "page" / f"{name}.flac", dtype="float32")[0]


def hum(count: int, hz: float = 50, amplitude: float = 0.1) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz / 48_000 * np.arange(count))).astype(np.float32)


def between(low_hz: float, high_hz: float, count: int, rms: float = 0.07) -> np.ndarray:
    """Noise of these frequencies."""
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=count))
    hz = np.fft.rfftfreq(count, 1 / 48_000)
    y = np.fft.irfft(np.where((hz >= low_hz) & (hz <= high_hz), spectrum, 0), count)
    return (rms / y.std() * y).astype(np.float32)


def _for_a_while(count: int) -> np.ndarray:
    y = hum(count)
    y[: 2 * 48_000] = y[5 * 48_000 :] = 0
    return y


DISTURBANCES: dict[str, Callable[[int], np.ndarray]] = {
    **{f"{hz} Hz": lambda count, hz=hz: hum(count, hz) for hz in (20, 35, 40, 45, 50)},
    "an offset": lambda count: np.full(count, 0.1, np.float32),
    "rumble": lambda count: between(12, 28, count),
    "a weaker hum": lambda count: hum(count, 50, 0.03),
    "a hum for a while": _for_a_while,
}


@cache
def _untroubled(kernel: str, noise: float) -> float:
    return _si_sdr(kernel, noise, np.zeros(len(sample("sample")), np.float32))


def _si_sdr(kernel: str, noise: float, disturbance: np.ndarray) -> float:
    """Of the site's sample, with this share of its noise."""
    clean = sample("sample-clean")
    y = clean + np.float32(noise) * (sample("sample") - clean) + disturbance
    return si_sdr(clean, enhance(y, 48_000, model=load_model("default", kernel)))


@pytest.mark.parametrize("kernel", ["numpy", "native"])
@pytest.mark.parametrize("name", DISTURBANCES)
def test_what_is_below_the_voice_costs_nothing(name: str, kernel: str, with_native: None) -> None:
    """It costs 1.1 dB to 2 dB where nothing takes it out."""
    disturbance = DISTURBANCES[name](len(sample("sample")))
    assert _si_sdr(kernel, 1.0, disturbance) > _untroubled(kernel, 1.0) - 0.3


@pytest.mark.parametrize("name", DISTURBANCES)
def test_nor_where_there_is_little_noise(name: str, with_native: None) -> None:
    """It costs 3.6 dB to 8 dB where nothing takes it out."""
    disturbance = DISTURBANCES[name](len(sample("sample")))
    allowed = 1.0 if name == "a hum for a while" else 0.6  # where it begins it is heard before it is known
    assert _si_sdr("native", 0.3, disturbance) > _untroubled("native", 0.3) - allowed


@pytest.mark.parametrize("name", ["35 Hz", "45 Hz", "50 Hz", "an offset", "rumble"])
def test_it_is_heard_as_little(name: str, with_native: None) -> None:
    """PESQ falls by 0.05 to 0.08 where nothing takes it out."""
    pesq, soxr = pytest.importorskip("pesq"), pytest.importorskip("soxr")
    model, y = load_model("default", "native"), sample("sample")
    clean, plain, found = (
        soxr.resample(x, 48_000, 16_000)
        for x in (
            sample("sample-clean"),
            enhance(y, 48_000, model=model),
            enhance(y + DISTURBANCES[name](len(y)), 48_000, model=model),
        )
    )
    assert pesq.pesq(16_000, clean, found, "wb") > pesq.pesq(16_000, clean, plain, "wb") - 0.02


def _hops(x: np.ndarray) -> np.ndarray:
    return x[: len(x) // HOP * HOP].reshape(-1, HOP)


def test_clean_speech_is_untouched() -> None:
    for x in (sample("sample-clean"), noisy_voice(2.0), voiced(2.0)):
        hops = _hops(x)
        out, filtered = rumble.take_out(SignalState(SPEC), hops)
        assert out is hops and not any(filtered)
        frames = dsp.analyse(SPEC, SignalState(SPEC), hops)
        assert frames.untouched.base is frames.spectrum.base, "not even computed"


def test_a_deep_voice_is_no_rumble() -> None:
    """The means of its first hops depend on where in a period they lie; the later ones do not count for much."""
    _, filtered = rumble.take_out(SignalState(SPEC), _hops(voiced(4.0, 80.0, 5.0)))
    assert not any(filtered[10:])


def test_silence_is_untouched() -> None:
    quiet = np.full((50, HOP), 1e-5, np.float32)
    for hops in (np.zeros((50, HOP), np.float32), quiet):
        assert not any(rumble.take_out(SignalState(SPEC), hops)[1])


def test_a_hum_that_comes_and_goes_does_not_click() -> None:
    """Where the filter comes in and goes out there is no step: nothing high in what had nothing high."""
    n = np.arange(48_000 * 16)
    fade = np.interp(n, [48_000, 72_000, 144_000, 168_000], [0, 1, 1, 0])
    x = 0.05 * np.sin(2 * np.pi * 440 / 48_000 * n) + fade * hum(len(n))
    out, filtered = rumble.take_out(SignalState(SPEC), _hops(x.astype(np.float32)))
    assert (np.abs(np.diff(filtered)).sum(), filtered[0], filtered[-1]) == (2, 0, 0), "it came and went"
    spectra = np.abs(stft(sliding(out.ravel(), 960)[480:-480:240]))
    assert spectra[:, 40:].max() < 1e-4 * spectra.max()


def test_the_filter_is_what_it_is_said_to_be() -> None:
    signal = pytest.importorskip("scipy.signal")
    hz = np.array([0.1, 20, 35, 50, 52, 66, 80, 100, 200, 1000, 20_000])
    _, expected = signal.sosfreqz(signal.cheby2(5, 45, 52, "high", fs=48_000, output="sos"), hz, fs=48_000)
    np.testing.assert_allclose(rumble.response(hz), expected, atol=1e-6)
    x = hum(96_000, 30) + between(60, 3000, 96_000)
    out, filtered = rumble.take_out(SignalState(SPEC), _hops(x))
    assert all(filtered[20:])
    sos = signal.cheby2(5, 45, 52, "high", fs=48_000, output="sos")
    np.testing.assert_allclose(out.ravel()[9600:], signal.sosfilt(sos, x)[9600:], atol=1e-3)


def test_mended_spectra_are_those_of_the_voice() -> None:
    """Of harmonics of 80 Hz under a hum: as if there were neither hum nor filter."""
    n = np.arange(96_000)
    voice = sum(0.05 / h * np.sin(2 * np.pi * 80 * h / 48_000 * n + h * h) for h in range(1, 40)).astype(np.float32)
    frames = dsp.analyse(SPEC, SignalState(SPEC), _hops(voice + hum(96_000, 40)))
    expected = dsp.analyse(SPEC, SignalState(SPEC), _hops(voice))
    size, before, after = (
        np.sqrt((np.abs(spectrum[100:]) ** 2).mean())
        for spectrum in (
            expected.spectrum,
            frames.untouched - expected.spectrum,
            frames.spectrum - expected.spectrum,
        )
    )
    assert before > size and after < 0.25 * size
    assert (frames.pitch_period == expected.pitch_period)[100:].mean() > 0.95


@pytest.mark.parametrize("kernel", ["numpy", "native"])
@pytest.mark.parametrize("lookahead_frames", [0, 2])
@pytest.mark.parametrize("sizes", [[1], [2], [7, 1], [64], [65], [100, 1, 49]])
def test_any_split_gives_the_same_bits(sizes: list[int], lookahead_frames: int, kernel: str, with_native: None) -> None:
    from ..networks import small_weights

    model = load_model(small_weights(SignalSpec(lookahead_frames=lookahead_frames)), kernel)
    x = noisy_voice(4.0)
    x[48_000:72_000] += hum(24_000)
    hops, first, parts = _hops(x), 0, []
    once, split = Enhancer(model, strength_db=10), Enhancer(model, strength_db=10)
    whole = once.process_hops(hops)
    while first < len(hops):
        parts.append(split.process_hops(hops[first : first + sizes[len(parts) % len(sizes)]]))
        first += len(parts[-1])
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    for name in ("sections", "rumble", "filtered", "raw", "samples", "spectra"):
        np.testing.assert_array_equal(getattr(split.state.signal, name), getattr(once.state.signal, name), name)


def test_compiled_equals_numpy(with_native: None) -> None:
    x = noisy_voice(4.0)
    x[48_000:96_000] += hum(48_000)
    streams = [load_model("tiny", kernel).stream(load_model("tiny").new_state()) for kernel in ("numpy", "native")]
    expected, found = (stream.analyse(_hops(x)) for stream in streams)
    same = expected.pitch_period == found.pitch_period
    assert same.mean() > 0.98
    for name, value in vars(expected).items():
        if name != "pitch_period":
            assert np.abs(getattr(found, name) - value)[same].max() < 1e-3 * np.abs(value).max(), name


@pytest.mark.parametrize("kernel", ["numpy", "native"])
def test_the_dry_share_is_what_was_heard(kernel: str, with_native: None) -> None:
    """With 0 dB the hum comes out as it went in, on the full path, the lean one, and by halves."""
    x = noisy_voice(4.0)
    x[48_000:120_000] += hum(72_000)
    hops = _hops(x)
    for way in ("full", "lean", "halves"):
        e = Enhancer(load_model("tiny", kernel), strength_db=0)
        parts = []
        for i in range(0, len(hops), 5):
            call = hops[i : i + 5]
            if way == "halves":
                parts.append(e.render(e.estimate(call)))
            else:
                parts.append(e.process_hops(call, lean=way == "lean" and i % 2 == 1))
        y = np.concatenate(parts).ravel()
        np.testing.assert_allclose(y[e.latency_samples :], hops.ravel()[: -e.latency_samples], atol=2e-6)


def test_ideal_values_are_for_the_voice_alone() -> None:
    """The reference is not filtered: gains of a clean voice under a hum stay near one."""
    x = voiced(3.0)
    _, gain, _ = dsp.ideal(SPEC, x + hum(len(x)), x)
    plain, wanted, _ = dsp.ideal(SPEC, x, x)
    loud = plain.energy[100:, 4:] > 1e-2
    assert np.abs(gain - wanted)[100:, 4:][loud].mean() < 0.02

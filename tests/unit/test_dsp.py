"""The signal path, part by part."""

import numpy as np
import pytest

from pyenhance import dsp
from pyenhance.dsp import SignalSpec, SignalState, bands, comb, pitch, postfilter, stft

from ..conftest import noisy_voice, voiced

SPEC = SignalSpec()


def test_window_is_power_complementary() -> None:
    w = stft.VORBIS_WINDOW.astype(float)
    np.testing.assert_allclose(w[:480] ** 2 + w[480:] ** 2, 1, atol=1e-6)


def test_stft_alone_reconstructs() -> None:
    x = noisy_voice(1.0)
    windows = stft.sliding(np.concatenate((np.zeros(480, np.float32), x)), 960)[::480]
    hops, _ = stft.istft(stft.stft(windows), np.zeros(480, np.float32))
    y = hops.ravel()[480:]
    np.testing.assert_allclose(y, x[: len(y)], atol=1e-6)


@pytest.mark.parametrize("num_bands", [8, 24, 34, 50, 64])
def test_bands_cover_and_sum_to_one(num_bands: int) -> None:
    spec = SignalSpec(num_bands)
    assert spec.band_weights.shape == (401, num_bands)
    np.testing.assert_allclose(spec.band_weights.sum(1), 1, atol=1e-6)
    assert spec.band_centres[0] == 0 and spec.band_centres_hz[-1] == 20_000
    assert np.diff(spec.band_centres).min() >= 2
    assert (spec.band_weights > 0).sum(0).min() >= 1


@pytest.mark.parametrize("num_bands", [24, 34, 50])
def test_interpolating_equal_gains_is_flat_to_20_khz(num_bands: int) -> None:
    bins = bands.interpolate(SignalSpec(num_bands), np.full((1, num_bands), 0.5, np.float32))[0]
    np.testing.assert_allclose(bins[:401], 0.5, atol=1e-6)
    assert not bins[401:].any()


def test_comb_taps_halve_and_halve_again() -> None:
    power = SPEC.tap_power[[0, -1]]  # of 96 and 768 samples
    assert power[0] == pytest.approx(1 / 8, abs=1e-6)  # all eleven taps fit into the look-ahead
    assert 1 / 8 < power[1] < 1 / 3  # future periods dropped, weights renormalised


@pytest.mark.parametrize("lookahead_frames", [0, 1, 2])
@pytest.mark.parametrize("period", [100, 240, 480, 767])
def test_comb_keeps_what_repeats(period: int, lookahead_frames: int) -> None:
    spec = SignalSpec(lookahead_frames=lookahead_frames)
    x = np.tile(np.random.default_rng(1).normal(size=period), 12_000 // period + 1).astype(np.float32)
    y = comb.comb_filter(spec, stft.sliding(x, 960), np.array([6000]), np.array([period]))
    np.testing.assert_allclose(y[0], x[6000:6960], atol=1e-5)


@pytest.mark.parametrize("lookahead_frames", [0, 1, 2])
def test_comb_lowers_noise_by_its_tap_power(lookahead_frames: int) -> None:
    spec = SignalSpec(lookahead_frames=lookahead_frames)
    x = np.random.default_rng(2).normal(size=200_000).astype(np.float32)
    start = np.arange(5000, 190_000, 960)
    y = comb.comb_filter(spec, stft.sliding(x, 960), start, np.full(len(start), 150))
    assert y.var() == pytest.approx(spec.tap_power[150 - pitch.MIN_PERIOD], rel=0.05)


@pytest.mark.parametrize("lookahead_frames", [0, 1, 2])
@pytest.mark.parametrize("f0_hz", [75, 110, 160, 230, 320, 450])
@pytest.mark.parametrize("snr_db", [30, 5])
def test_pitch_is_found_without_octave_errors(f0_hz: int, snr_db: int, lookahead_frames: int) -> None:
    spec = SignalSpec(lookahead_frames=lookahead_frames)
    x = voiced(2.0, f0_hz, glide_hz=0.04 * f0_hz)
    rms = np.sqrt(np.mean(x[x != 0] ** 2))
    x = x + np.random.default_rng(3).normal(size=len(x)).astype(np.float32) * np.float32(rms * 10 ** (-snr_db / 20))
    frames = dsp.analyse(spec, SignalState(spec), x[: len(x) // 480 * 480].reshape(-1, 480))
    t = (np.arange(len(frames.energy)) - lookahead_frames) * 480 / 48_000
    voiced_frames = (np.sin(2 * np.pi * 1.1 * t) > -0.3) & (np.sin(2 * np.pi * 1.1 * (t - 0.05)) > -0.3) & (t > 0.2)
    true_hz = f0_hz + 0.04 * f0_hz * np.sin(2 * np.pi * 0.8 * t)
    ratio = (48_000 / frames.pitch_period / true_hz)[voiced_frames]
    assert np.mean(np.abs(ratio - 1) < 0.05) > 0.9


def test_pitch_scores_favour_no_multiple() -> None:
    x = voiced(0.5, 200.0, 0.0)
    history = np.zeros(pitch.FILTER_REACH, np.float32)
    decimated = pitch.decimate(SignalState(SPEC), np.concatenate((history, x)))
    row = pitch.lag_correlation(decimated)[30]
    assert row[60 - 24] > 0.95  # 200 Hz at 12 kHz


def test_ideal_values_of_clean_speech_leave_it_alone() -> None:
    x = voiced(1.0)[: 480 * 90]
    frames, gain, strength = dsp.ideal(SPEC, x, x)
    heard = frames.energy > 1e-6
    np.testing.assert_allclose(gain[heard], 1, atol=1e-3)
    assert np.median(strength[heard]) < 0.05


@pytest.mark.parametrize("strength", ["projection", "coherence"])
def test_ideal_values_are_shares(strength: str) -> None:
    x, y = voiced(1.0), noisy_voice(1.0)
    for attenuate in (False, True):
        _, gain, r = dsp.ideal(SPEC, y, x, strength=strength, attenuate=attenuate)
        for values in (gain, r):
            assert np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1


def test_ideal_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="481"):
        dsp.ideal(SPEC, np.zeros(481, np.float32), np.zeros(481, np.float32))
    with pytest.raises(ValueError, match="'best'"):
        dsp.ideal(SPEC, np.zeros(480, np.float32), np.zeros(480, np.float32), strength="best")


def test_postfilter_lowers_weak_bands_and_keeps_energy() -> None:
    gain = np.linspace(0.1, 1, 34, dtype=np.float32)[None]
    energy = np.ones((1, 34), np.float32)
    out = postfilter.envelope_postfilter(gain, energy)
    assert out[0, 0] / gain[0, 0] < 0.35 and out[0, -1] > 0.99
    assert (out**2).sum() == pytest.approx((gain**2).sum(), rel=0.15)
    assert (out <= gain * 10 ** (5.6 / 20)).all()


def test_features_do_not_depend_on_level() -> None:
    x = noisy_voice(1.0)[: 480 * 90].reshape(-1, 480)
    loud = dsp.analyse(SPEC, SignalState(SPEC), x).features
    quiet = dsp.analyse(SPEC, SignalState(SPEC), x / 64).features
    np.testing.assert_allclose(quiet, loud, atol=0.02)


def test_silence_is_finite() -> None:
    frames = dsp.analyse(SPEC, SignalState(SPEC), np.zeros((20, 480), np.float32))
    for name in ("features", "coherence", "pitch_corr"):
        assert np.isfinite(getattr(frames, name)).all()
    y = dsp.synthesise(SPEC, SignalState(SPEC), frames, *np.ones((2, 20, 34), np.float32))
    assert not y.any()


@pytest.mark.parametrize("lookahead_frames", [0, 1, 2])
def test_lean_analysis_hands_over_to_the_full_one(lookahead_frames: int) -> None:
    x = noisy_voice(1.0)[: 480 * 90].reshape(-1, 480)
    spec = SignalSpec(lookahead_frames=lookahead_frames)
    full, lean = SignalState(spec), SignalState(spec)
    dsp.analyse(spec, full, x[:40])
    dsp.analyse_lean(spec, lean, x[:40])
    a, b = dsp.analyse(spec, full, x[40:]), dsp.analyse(spec, lean, x[40:])
    np.testing.assert_array_equal(a.spectrum, b.spectrum)
    np.testing.assert_array_equal(a.pitch_period[10:], b.pitch_period[10:])


# The signal path as a value


@pytest.mark.parametrize("lookahead_frames", [0, 1, 2, 4])
@pytest.mark.parametrize(("num_bands", "fine_bins"), [(8, 48), (24, 0), (34, 0), (34, 32), (50, 1), (64, 0)])
def test_everything_follows_from_the_spec(num_bands: int, fine_bins: int, lookahead_frames: int) -> None:
    spec = SignalSpec(num_bands, lookahead_frames, fine_bins)
    assert (spec.num_features, spec.latency_samples) == (2 * num_bands + 2 + fine_bins, 480 * (1 + lookahead_frames))
    assert (spec.sample_rate, spec.hop) == (48_000, 480)
    assert SignalSpec.from_json(spec.to_json()) == spec
    state, ones = SignalState(spec), np.ones((2, 30, num_bands), np.float32)
    frames = dsp.analyse(spec, state, noisy_voice(0.3).reshape(-1, 480))
    assert frames.features.shape == (30, spec.num_features) and np.isfinite(frames.features).all()
    assert frames.energy.shape == frames.coherence.shape == (30, num_bands)
    assert dsp.synthesise(spec, state, frames, *ones).shape == (30, 480)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_bands": 7}, "num_bands is 7; accepted: a whole number from 8 to 64"),
        ({"num_bands": 65}, "num_bands is 65"),
        ({"num_bands": 34.0}, r"num_bands is 34\.0"),
        ({"num_bands": True}, "num_bands is True"),
        ({"lookahead_frames": -1}, "lookahead_frames is -1; accepted: a whole number from 0 to 4"),
        ({"lookahead_frames": 5}, "lookahead_frames is 5"),
        ({"lookahead_frames": "2"}, "lookahead_frames is '2'"),
        ({"fine_bins": -1}, "fine_bins is -1; accepted: a whole number from 0 to 48"),
        ({"fine_bins": 49}, "fine_bins is 49"),
        ({"fine_bins": 32.0}, r"fine_bins is 32\.0"),
    ],
)
def test_a_spec_out_of_range_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SignalSpec(**values)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "34", "[" * 10**5),
        *('{"num_bands": 34}', '{"num_bands": 34, "hop": 480}', '{"num_bands": 34, "fine_bins": 8}'),
    ],
)
def test_a_spec_that_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="signal is"):
        SignalSpec.from_json(text)


def test_a_spec_without_fine_bins_does_not_mention_them() -> None:
    """Files that were written before there were any are read, and written again byte for byte."""
    before = '{"num_bands": 34, "lookahead_frames": 2}'
    assert SPEC.to_json() == before and SignalSpec.from_json(before) == SPEC == SignalSpec(34, 2, 0)
    text = '{"num_bands": 34, "lookahead_frames": 2, "fine_bins": 32}'
    assert SignalSpec(34, 2, 32).to_json() == text and SignalSpec.from_json(text) == SignalSpec(34, 2, 32)


@pytest.mark.parametrize("lookahead_frames", [0, 2])
def test_fine_bins_are_the_newest_spectrum_by_level(lookahead_frames: int) -> None:
    """They come last, each by the transform of the band energies; nothing else changes."""
    spec, plain = SignalSpec(34, lookahead_frames, 32), SignalSpec(34, lookahead_frames)
    hops = noisy_voice(1.0).reshape(-1, 480)
    frames, others = (dsp.analyse(each, SignalState(each), hops) for each in (spec, plain))
    np.testing.assert_array_equal(frames.features[:, :70], others.features)
    newest = slice(lookahead_frames, None)  # a row's spectrum is a look-ahead older than its energies
    total = weight = 0.0
    level = []
    for power in frames.energy[newest].sum(1):
        total, weight = 0.995 * total + 0.005 * power, 0.995 * weight + 0.005
        level.append(total / weight)
    bins = np.abs(frames.spectrum[newest, 1:33].astype(complex)) ** 2
    wanted = 0.5 * np.log10(bins / np.array(level)[:, None] + 1e-7) + 1.5
    found = frames.features[: len(hops) - lookahead_frames, 70:]
    assert found.dtype == np.float32 and found.shape == wanted.shape and found.std() > 0.3
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_copy_of_the_block_is_a_copy_of_the_state() -> None:
    hops = noisy_voice(0.6).reshape(-1, 480)
    for lookahead_frames in (0, 1, 2):
        spec = SignalSpec(lookahead_frames=lookahead_frames)
        state, other = SignalState(spec), SignalState(spec)
        dsp.synthesise(spec, state, dsp.analyse(spec, state, hops[:40]), *np.full((2, 40, 34), 0.5, np.float32))
        other.block[:] = state.block
        found, expected = (dsp.analyse(spec, s, hops[40:]) for s in (other, state))
        for name, value in vars(expected).items():
            np.testing.assert_array_equal(getattr(found, name), value)
        np.testing.assert_array_equal(other.tail, state.tail)

"""The signal path, part by part."""

import numpy as np
import pytest

from pyenhance import dsp
from pyenhance.dsp import bands, comb, pitch, postfilter, stft

from ..conftest import noisy_voice, voiced


def test_window_is_power_complementary() -> None:
    w = stft.VORBIS_WINDOW.astype(float)
    np.testing.assert_allclose(w[:480] ** 2 + w[480:] ** 2, 1, atol=1e-6)


def test_stft_alone_reconstructs() -> None:
    x = noisy_voice(1.0)
    windows = stft.sliding(np.concatenate((np.zeros(480, np.float32), x)), 960)[::480]
    hops, _ = stft.istft(stft.stft(windows), np.zeros(480, np.float32))
    y = hops.ravel()[480:]
    np.testing.assert_allclose(y, x[: len(y)], atol=1e-6)


def test_bands_cover_and_sum_to_one() -> None:
    assert bands.WEIGHTS.shape == (401, 34)
    np.testing.assert_allclose(bands.WEIGHTS.sum(1), 1, atol=1e-6)
    assert bands.BAND_CENTRES[0] == 0 and bands.BAND_CENTRES_HZ[-1] == 20_000
    assert np.diff(bands.BAND_CENTRES).min() >= 2
    assert (bands.WEIGHTS > 0).sum(0).min() >= 1


def test_interpolating_equal_gains_is_flat_to_20_khz() -> None:
    bins = bands.interpolate(np.full((1, 34), 0.5, np.float32))[0]
    np.testing.assert_allclose(bins[:401], 0.5, atol=1e-6)
    assert not bins[401:].any()


def test_comb_taps_halve_and_halve_again() -> None:
    power = comb.tap_power(np.array([96, 768]))
    assert power[0] == pytest.approx(1 / 8, abs=1e-6)  # all eleven taps fit into the look-ahead
    assert 1 / 8 < power[1] < 1 / 3  # future periods dropped, weights renormalised


@pytest.mark.parametrize("period", [100, 240, 480, 767])
def test_comb_keeps_what_repeats(period: int) -> None:
    x = np.tile(np.random.default_rng(1).normal(size=period), 12_000 // period + 1).astype(np.float32)
    y = comb.comb_filter(stft.sliding(x, 960), np.array([6000]), np.array([period]))
    np.testing.assert_allclose(y[0], x[6000:6960], atol=1e-5)


def test_comb_lowers_noise_by_its_tap_power() -> None:
    x = np.random.default_rng(2).normal(size=200_000).astype(np.float32)
    start = np.arange(5000, 190_000, 960)
    y = comb.comb_filter(stft.sliding(x, 960), start, np.full(len(start), 150))
    assert y.var() == pytest.approx(comb.tap_power(np.array([150]))[0], rel=0.05)


@pytest.mark.parametrize("f0_hz", [75, 110, 160, 230, 320, 450])
@pytest.mark.parametrize("snr_db", [30, 5])
def test_pitch_is_found_without_octave_errors(f0_hz: int, snr_db: int) -> None:
    x = voiced(2.0, f0_hz, glide_hz=0.04 * f0_hz)
    rms = np.sqrt(np.mean(x[x != 0] ** 2))
    x = x + np.random.default_rng(3).normal(size=len(x)).astype(np.float32) * np.float32(rms * 10 ** (-snr_db / 20))
    frames = dsp.analyse(dsp.AnalysisState(), x[: len(x) // 480 * 480].reshape(-1, 480))
    t = (np.arange(len(frames.energy)) - 2) * 480 / 48_000
    voiced_frames = (np.sin(2 * np.pi * 1.1 * t) > -0.3) & (np.sin(2 * np.pi * 1.1 * (t - 0.05)) > -0.3) & (t > 0.2)
    true_hz = f0_hz + 0.04 * f0_hz * np.sin(2 * np.pi * 0.8 * t)
    ratio = (48_000 / frames.pitch_period / true_hz)[voiced_frames]
    assert np.mean(np.abs(ratio - 1) < 0.05) > 0.9


def test_pitch_scores_favour_no_multiple() -> None:
    x = voiced(0.5, 200.0, 0.0)
    history = np.zeros(pitch.FILTER_REACH, np.float32)
    decimated = pitch.decimate(pitch.PitchState(), np.concatenate((history, x)))
    row = pitch.lag_correlation(decimated)[30]
    assert row[60 - 24] > 0.95  # 200 Hz at 12 kHz


def test_ideal_values_of_clean_speech_leave_it_alone() -> None:
    x = voiced(1.0)[: 480 * 90]
    frames, gain, strength = dsp.ideal(x, x)
    heard = frames.energy > 1e-6
    np.testing.assert_allclose(gain[heard], 1, atol=1e-3)
    assert np.median(strength[heard]) < 0.05


@pytest.mark.parametrize("strength", ["projection", "coherence"])
def test_ideal_values_are_shares(strength: str) -> None:
    x, y = voiced(1.0), noisy_voice(1.0)
    for attenuate in (False, True):
        _, gain, r = dsp.ideal(y, x, strength=strength, attenuate=attenuate)
        for values in (gain, r):
            assert np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1


def test_ideal_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="481"):
        dsp.ideal(np.zeros(481, np.float32), np.zeros(481, np.float32))
    with pytest.raises(ValueError, match="'best'"):
        dsp.ideal(np.zeros(480, np.float32), np.zeros(480, np.float32), strength="best")


def test_postfilter_lowers_weak_bands_and_keeps_energy() -> None:
    gain = np.linspace(0.1, 1, 34, dtype=np.float32)[None]
    energy = np.ones((1, 34), np.float32)
    out = postfilter.envelope_postfilter(gain, energy)
    assert out[0, 0] / gain[0, 0] < 0.35 and out[0, -1] > 0.99
    assert (out**2).sum() == pytest.approx((gain**2).sum(), rel=0.15)
    assert (out <= gain * 10 ** (5.6 / 20)).all()


def test_features_do_not_depend_on_level() -> None:
    x = noisy_voice(1.0)[: 480 * 90].reshape(-1, 480)
    loud = dsp.analyse(dsp.AnalysisState(), x).features
    quiet = dsp.analyse(dsp.AnalysisState(), x / 64).features
    np.testing.assert_allclose(quiet, loud, atol=0.02)


def test_silence_is_finite() -> None:
    frames = dsp.analyse(dsp.AnalysisState(), np.zeros((20, 480), np.float32))
    for name in ("features", "coherence", "pitch_corr"):
        assert np.isfinite(getattr(frames, name)).all()
    y = dsp.synthesise(dsp.SynthesisState(), frames, np.ones((20, 34), np.float32), np.ones((20, 34), np.float32))
    assert not y.any()


def test_lean_analysis_hands_over_to_the_full_one() -> None:
    x = noisy_voice(1.0)[: 480 * 90].reshape(-1, 480)
    full, lean = dsp.AnalysisState(), dsp.AnalysisState()
    dsp.analyse(full, x[:40])
    dsp.analyse_lean(lean, x[:40])
    a, b = dsp.analyse(full, x[40:]), dsp.analyse(lean, x[40:])
    np.testing.assert_array_equal(a.spectrum, b.spectrum)
    np.testing.assert_array_equal(a.pitch_period[10:], b.pitch_period[10:])

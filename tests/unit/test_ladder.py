"""The original article's ladder with ideal values: on a synthetic voice, and on real speech in noise (../shared)."""

import csv
from collections.abc import Iterable

import numpy as np
import pytest

from pyenhance import dsp, measure
from pyenhance.dsp import SignalSpec, SignalState

from ..conftest import SHARED, noisy_voice, voiced

SPEC = SignalSpec()
SPECS = [SignalSpec(bands, ahead) for ahead in (0, 1, 2) for bands in (24, 34, 50)]
CLIPS = 10
needs_recordings = pytest.mark.skipif(
    not (SHARED / "data").exists(), reason="needs the speech and noise packs in ../shared"
)


def _name(spec: SignalSpec) -> str:
    return f"{spec.num_bands} bands, {spec.lookahead_frames} ahead"


def _mix(rng: np.random.Generator, rows: dict[str, list[dict]], snr_db: float) -> tuple[np.ndarray, np.ndarray]:
    import soundfile

    speech = rows["speech"][rng.integers(len(rows["speech"]))]
    noise = rows["noise"][rng.integers(len(rows["noise"]))]
    x, _ = soundfile.read(SHARED / "data" / speech["file"], dtype="float32")
    z, _ = soundfile.read(SHARED / "data" / noise["file"], dtype="float32")
    n = min(len(x), 6 * 48_000) // 480 * 480
    x = x[:n]
    z = np.tile(z, n // len(z) + 1)[:n]
    z *= np.sqrt(np.mean(x**2) / np.mean(z**2)) * 10 ** (-snr_db / 20)
    return (x + z).astype(np.float32), x


def _mixes(count: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    rows = {}
    for kind in ("speech", "noise"):
        with open(SHARED / "data" / f"manifest_{kind}.csv", newline="") as file:
            rows[kind] = [r for r in csv.DictReader(file) if r["split"] == "valid" and r["sr"] == "48000"]
    rng = np.random.default_rng(5)
    for i in range(count):
        yield _mix(rng, rows, (-5, 0, 5, 10, 15)[i % 5])


def _rungs(spec: SignalSpec, y: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """Name of each rung to its sound, aligned with the clean speech."""
    end, rest = len(x), np.zeros(spec.latency_samples, np.float32)
    y, x = np.concatenate((y, rest)), np.concatenate((x, rest))
    frames, gain, best = dsp.ideal(spec, y, x)
    _, _, matched = dsp.ideal(spec, y, x, strength="coherence")
    variants = {
        "gains": (gain, None, False),
        "gains + post-filter": (gain, None, True),
        "comb, coherence": (gain, matched, False),
        "comb": (gain, best, False),
        "comb + post-filter": (gain, best, True),
    }
    outputs = {"noisy": y[:end]}
    for name, (g, r, post) in variants.items():
        z = dsp.synthesise(spec, SignalState(spec), frames, g, r, postfilter=post)
        outputs[name] = z.ravel()[spec.latency_samples :]
    return outputs


@pytest.mark.parametrize("spec", SPECS, ids=_name)
def test_synthetic_ladder(spec: SignalSpec) -> None:
    x, y = voiced(3.0), noisy_voice(3.0, noise=0.05)
    si_sdr = {name: measure.si_sdr(x, z) for name, z in _rungs(spec, y, x).items()}
    assert si_sdr["gains"] > si_sdr["noisy"] + 6
    assert si_sdr["comb"] > si_sdr["gains"] + 1
    assert si_sdr["comb, coherence"] > si_sdr["gains"]
    assert si_sdr["comb"] > si_sdr["comb, coherence"]
    pause = np.repeat((x.reshape(-1, 480) ** 2).mean(1) == 0, 480)
    left = {name: np.std(z[pause]) for name, z in _rungs(spec, y, x).items()}
    assert left["comb + post-filter"] <= left["comb"] < left["noisy"]
    assert left["gains + post-filter"] <= left["gains"]


def test_more_bands_come_nearer() -> None:
    """And what has more ahead combs better."""
    x, y = voiced(3.0), noisy_voice(3.0, noise=0.05)
    si_sdr = {spec: {name: measure.si_sdr(x, z) for name, z in _rungs(spec, y, x).items()} for spec in SPECS}
    for ahead in (0, 1, 2):
        gains = [si_sdr[SignalSpec(bands, ahead)]["gains"] for bands in (24, 34, 50)]
        assert gains == sorted(gains)
    for bands in (24, 34, 50):
        combs = [si_sdr[SignalSpec(bands, ahead)]["comb"] for ahead in (0, 1, 2)]
        assert combs == sorted(combs)


@pytest.fixture(scope="module")
def ladder() -> dict[str, tuple[float, float, float]]:
    """Rung to mean PESQ-WB, SI-SDR in dB, and level in dB of what is left where nobody speaks."""
    import soxr
    from pesq import pesq

    scores: dict[str, list] = {}
    for y, x in _mixes(CLIPS):
        silent = np.repeat((x.reshape(-1, 480) ** 2).mean(1) < 1e-7, 480)
        for name, z in _rungs(SPEC, y, x).items():
            narrow = [soxr.resample(v, 48_000, 16_000) for v in (x, z)]
            left = 10 * np.log10(np.mean(z[silent] ** 2) + 1e-12) if silent.any() else np.nan
            scores.setdefault(name, []).append((pesq(16_000, *narrow, "wb"), measure.si_sdr(x, z), left))
    return {name: tuple(np.nanmean(values, axis=0)) for name, values in scores.items()}


@needs_recordings
def test_ladder(ladder: dict[str, tuple[float, float, float]], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print()
        for name, (pesq, si_sdr, left) in ladder.items():
            print(f"  {name:22} PESQ-WB {pesq:.2f}  SI-SDR {si_sdr:5.1f} dB  left in pauses {left:6.1f} dB")
    pesq = {name: values[0] for name, values in ladder.items()}
    si_sdr = {name: values[1] for name, values in ladder.items()}
    assert pesq["gains"] > pesq["noisy"] + 0.9
    assert pesq["comb"] > pesq["gains"] + 0.2
    assert pesq["comb, coherence"] > pesq["gains"]
    assert pesq["comb"] > pesq["comb, coherence"]
    assert si_sdr["noisy"] < si_sdr["gains"] < si_sdr["comb"]
    assert ladder["comb + post-filter"][2] <= ladder["comb"][2]
    assert ladder["gains + post-filter"][2] <= ladder["gains"][2]


@needs_recordings
@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec != SPEC], ids=_name)
def test_ladder_of_other_signal_paths(spec: SignalSpec) -> None:
    si_sdr = {name: [] for name in ("noisy", "gains", "comb, coherence", "comb")}
    for y, x in _mixes(5):
        rungs = _rungs(spec, y, x)
        for name, scores in si_sdr.items():
            scores.append(measure.si_sdr(x, rungs[name]))
    means = [float(np.mean(scores)) for scores in si_sdr.values()]
    assert means == sorted(means) and means[1] > means[0] + 5, dict(zip(si_sdr, means, strict=True))

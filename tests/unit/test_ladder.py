"""The original article's ladder with ideal values, on real speech in noise (needs ../shared, which CI has)."""

import csv

import numpy as np
import pytest

from pyenhance import dsp
from pyenhance.measure import si_sdr

from ..conftest import SHARED

pytestmark = pytest.mark.skipif(not (SHARED / "data").exists(), reason="needs the speech and noise packs in ../shared")
CLIPS = 10


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


@pytest.fixture(scope="module")
def ladder() -> dict[str, tuple[float, float, float]]:
    """Rung to mean PESQ-WB, SI-SDR in dB, and level in dB of what is left where nobody speaks."""
    import soxr
    from pesq import pesq

    rows = {}
    for kind in ("speech", "noise"):
        with open(SHARED / "data" / f"manifest_{kind}.csv", newline="") as file:
            rows[kind] = [r for r in csv.DictReader(file) if r["split"] == "valid" and r["sr"] == "48000"]
    rng = np.random.default_rng(5)
    scores: dict[str, list] = {}
    for i in range(CLIPS):
        y, x = _mix(rng, rows, (-5, 0, 5, 10, 15)[i % 5])
        y, x = (np.concatenate((v, np.zeros(dsp.LATENCY_SAMPLES, np.float32))) for v in (y, x))
        frames, gain, best = dsp.ideal(y, x)
        _, _, matched = dsp.ideal(y, x, strength="coherence")
        variants = {
            "gains": (gain, None, False),
            "gains + post-filter": (gain, None, True),
            "comb, coherence": (gain, matched, False),
            "comb": (gain, best, False),
            "comb + post-filter": (gain, best, True),
        }
        end = len(x) - dsp.LATENCY_SAMPLES
        silent = np.repeat((x[:end].reshape(-1, 480) ** 2).mean(1) < 1e-7, 480)
        outputs = {"noisy": y[:end]}
        for name, (g, r, post) in variants.items():
            z = dsp.synthesise(dsp.SynthesisState(), frames, g, r, postfilter=post)
            outputs[name] = z.ravel()[dsp.LATENCY_SAMPLES :]
        for name, z in outputs.items():
            narrow = [soxr.resample(v, 48_000, 16_000) for v in (x[:end], z)]
            left = 10 * np.log10(np.mean(z[silent] ** 2) + 1e-12) if silent.any() else np.nan
            scores.setdefault(name, []).append((pesq(16_000, *narrow, "wb"), si_sdr(x[:end], z), left))
    return {name: tuple(np.nanmean(values, axis=0)) for name, values in scores.items()}


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

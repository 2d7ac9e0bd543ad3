"""A small seeded set of pairs, made of what the project itself holds: `python -m tests.evaluate.small_set OUT/small`.

24 clips of 3 s: four stretches of the site's own voice, as they are and a fifth higher, in three made noises at SNRs
from 0 to 15 dB. No network was trained on such noises, so single clips swing more than on recordings: it is a trip-wire
with a wide budget, and what decides about a release is a set of 100 or more recordings. Whenever `weights/` changes:

    pyenhance model gate OLD NEW --pairs OUT/small --nfr 0.25 --record pyenhance/weights/gate.json
    pyenhance model gate OLD NEW --pairs MIXES --record pyenhance/weights/gate.json

A model that replaces none, the first of its name, is entered there by hand under "first".
"""

import csv
import sys
from itertools import product
from pathlib import Path

import numpy as np
import soundfile
import soxr

ROOT = Path(__file__).resolve().parents[2]
RATE = 48_000
STARTS_S = (1.0, 2.3, 3.7, 5.0)
SECONDS = 3
HIGHER = 3 / 2  # in pitch and tempo
SNRS_DB = (0, 5, 10, 15)


def hiss(rng: np.random.Generator, n: int) -> np.ndarray:
    """Noise that falls by 3 dB an octave."""
    spectrum = np.fft.rfft(rng.normal(size=n)) / np.sqrt(np.arange(1, n // 2 + 2))
    return np.fft.irfft(spectrum, n)


def machine(rng: np.random.Generator, n: int) -> np.ndarray:
    """Mains hum with its harmonics, a hiss, and knocks."""
    noise = 2 * _buzz(50 * np.arange(n) / RATE) + 0.3 * rng.normal(size=n)
    for begin in rng.integers(n, size=8):
        knock = 10 * np.exp(-np.arange(2400) / 300)[: n - begin]
        noise[begin : begin + len(knock)] += knock
    return noise


def crowd(rng: np.random.Generator, n: int) -> np.ndarray:
    """Twelve gliding buzzes that come and go: something like many who talk at once."""
    t = np.arange(n) / RATE
    total = np.zeros(n)
    for _ in range(12):
        f0_hz = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * t + rng.uniform(0, 6)))
        shape = np.maximum(np.sin(2 * np.pi * rng.uniform(2, 5) * t + rng.uniform(0, 6)), 0)
        total += shape * _buzz(np.cumsum(f0_hz) / RATE)
    return total


def _buzz(turns: np.ndarray) -> np.ndarray:
    """A sawtooth: every harmonic, the h-th 1/h as strong."""
    return turns % 1 - 0.5


def make(folder: Path) -> Path:
    """Write clean/, noisy/ and manifest.csv; the same files every time."""
    voice, _ = soundfile.read(ROOT / "site" / "page" / "sample-clean.flac")
    higher = np.tile(soxr.resample(voice, RATE, RATE / HIGHER), 2)
    rng = np.random.default_rng(2026)
    for name in ("clean", "noisy"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for i, (noise, start_s, x) in enumerate(product((hiss, machine, crowd), STARTS_S, (voice, higher))):
        clean = x[int(start_s * RATE) :][: SECONDS * RATE]
        added = noise(rng, len(clean))
        snr_db = SNRS_DB[(i // 2 + i) % len(SNRS_DB)]
        added *= np.sqrt((clean**2).mean() / (added**2).mean()) * 10 ** (-snr_db / 20)
        files = {}
        for kind, samples in (("clean", clean), ("noisy", clean + added)):
            files[kind] = f"{kind}/{i:02d}.flac"
            soundfile.write(folder / files[kind], samples, RATE, subtype="PCM_16")
        rows.append({"id": f"{i:02d}-{noise.__name__}"} | files | {"snr": snr_db})
    with open(folder / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


if __name__ == "__main__":
    make(Path(sys.argv[1]))

"""Make site/page/sample.flac: a synthetic voice in synthetic noise, so that the page can be tried without a microphone;
and site/page/sample-clean.flac, the voice alone, for the page that shows what is ideal.

    python site/page/make_sample.py        needs espeak-ng, numpy, scipy, soundfile, soxr

FLAC: every browser decodes it, and a lossy format would add noise of its own. Eight seconds, 48 kHz, mono, 16 bit.
"""

import io
import subprocess
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, sosfilt

RATE = 48_000
SECONDS = 8
TEXT = "Hello. You are listening to a noisy room: a fan, a hum, and somebody typing. Press B to hear the difference."


def voice() -> np.ndarray:
    """The sentence, spoken by espeak-ng, with a silent second before and what is left after; shape (n,), float64."""
    command = ["espeak-ng", "-v", "en-gb", "-s", "150", "-p", "40", "--stdout", TEXT]
    x, rate = soundfile.read(io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout))
    x = soxr.resample(x, rate, RATE)[: (SECONDS - 1) * RATE]
    out = np.zeros(SECONDS * RATE)
    out[RATE : RATE + len(x)] = x
    return out / np.abs(out).max()


def noise(rng: np.random.Generator) -> np.ndarray:
    """Fan, hum and keys; shape (n,), float64."""
    n = SECONDS * RATE
    spectrum = np.fft.rfft(rng.normal(size=n))
    f = np.fft.rfftfreq(n, 1 / RATE)
    fan = np.fft.irfft(spectrum * (np.maximum(f, 60) / 1000) ** -0.6 / (1 + (f / 9000) ** 4), n)
    t = np.arange(n) / RATE
    hum = sum(np.sin(2 * np.pi * 100 * h * t) / h for h in (1, 2, 3, 5))
    keys = np.zeros(n)
    for at in np.cumsum(rng.exponential(0.18, 60) * RATE + 2500).astype(int):
        if at + 2400 < n:
            keys[at : at + 2400] += rng.uniform(0.3, 1) * np.exp(-np.arange(2400) / 200) * rng.normal(size=2400)
    keys = sosfilt(butter(2, [1500, 7000], "band", fs=RATE, output="sos"), keys)
    return fan / fan.std() + 0.4 * hum / hum.std() + 2.5 * keys / np.abs(keys).max()


def main() -> None:
    """Write the files."""
    x = 0.35 * voice()
    y = x + 0.022 * noise(np.random.default_rng(7))
    for name, samples in (("sample.flac", y), ("sample-clean.flac", x)):
        soundfile.write(Path(__file__).with_name(name), np.clip(samples, -1, 1), RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()

"""Signals and places that many tests share."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

os.environ["PYENHANCE_KERNEL"] = "numpy"  # the reference, also where the user has compiled another

if not os.environ.get("PYENHANCE_TORCH"):
    collect_ignore = ["train"]


def pytest_report_header() -> str:
    """Say what is not collected."""
    if os.environ.get("PYENHANCE_TORCH"):
        return "training tests: collected"
    return "training tests: not collected; PYENHANCE_TORCH=1 ./build.sh test installs torch and runs them"


def voiced(seconds: float, f0_hz: float = 140.0, glide_hz: float = 30.0) -> np.ndarray:
    """A gliding harmonic tone with pauses: something like a voice; float32."""
    t = np.arange(int(seconds * 48_000)) / 48_000
    phase = 2 * np.pi * np.cumsum(f0_hz + glide_hz * np.sin(2 * np.pi * 0.8 * t)) / 48_000
    x = sum(np.sin(h * phase) / h for h in range(1, 25)) * (np.sin(2 * np.pi * 1.1 * t) > -0.4)
    return (0.08 * x).astype(np.float32)


def noisy_voice(seconds: float, seed: int = 0, noise: float = 0.02) -> np.ndarray:
    """`voiced` in white noise; float32."""
    x = voiced(seconds)
    return (x + noise * np.random.default_rng(seed).normal(size=len(x))).astype(np.float32)


@pytest.fixture(scope="session")
def site() -> Path:
    """The built site."""
    folder = ROOT / "dist" / "site"
    assert (folder / "manifest.json").exists(), "dist/site is not built: ./build.sh site"
    return folder


@pytest.fixture(scope="session")
def node() -> str:
    """Node, which build.sh installs."""
    path = shutil.which("node")
    assert path, "node is missing: ./build.sh site installs it"
    return path


def av_file(path: Path, codec: str, x: np.ndarray, rate_hz: int = 48_000, **metadata: str) -> Path:
    """A file that only FFmpeg's encoders write; x is one channel."""
    from fractions import Fraction

    import av

    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        context = stream.codec_context
        frame = av.AudioFrame.from_ndarray(x.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        size = context.frame_size or 1024
        pieces = av.AudioResampler(format=context.format.name, layout="mono", rate=rate_hz, frame_size=size)
        for piece in (*pieces.resample(frame), *pieces.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path

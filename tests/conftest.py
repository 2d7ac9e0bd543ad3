"""Signals and places that many tests share."""

import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

PATIENCE_S = 300
"""How long a test waits for what must come: the budget of the slowest machine that does it right. Only failing tests
wait for so long."""

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


def spoken(begin_s: float, seconds: float) -> np.ndarray:
    """The site's own voice, of 8 s, without its noise; float32."""
    rate = 48_000
    x, _ = soundfile.read(ROOT / "site" / "page" / "sample-clean.flac", dtype="float32")
    return x[round(begin_s * rate) : round((begin_s + seconds) * rate)]


def noisy_voice(seconds: float, seed: int = 0, noise: float = 0.02) -> np.ndarray:
    """`voiced` in white noise; float32."""
    return in_noise(voiced(seconds), seed, noise)


def in_noise(x: np.ndarray, seed: int = 0, noise: float = 0.02) -> np.ndarray:
    """A sound in white noise; float32."""
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


def _forget_libraries() -> None:
    """What is known of compiled code belongs to a cache folder."""
    from pyenhance import backend
    from pyenhance.backend import library

    for known in (library.load_library, backend._network_fault, backend._signal_fault):
        known.cache_clear()


@pytest.fixture(scope="session")
def native_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of the tests' own, with the native kernel in it."""
    from pyenhance.backend import compile_native

    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        compile_native()
    return folder


@pytest.fixture(scope="session")
def native_library(native_cache: Path) -> ctypes.CDLL:
    """The native kernel, loaded."""
    from pyenhance.backend.library import load_library

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(native_cache))
        _forget_libraries()
        loaded = load_library("native")
    _forget_libraries()
    assert not isinstance(loaded, str), loaded
    return loaded


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder in which nothing is compiled."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _forget_libraries()
    yield tmp_path / "cache"
    _forget_libraries()


@pytest.fixture
def with_native(native_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Models may be loaded with ``kernel="native"``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(native_cache))
    _forget_libraries()
    yield
    _forget_libraries()


def av_file(path: Path, codec: str, x: np.ndarray, rate_hz: int = 48_000, **metadata: str) -> Path:
    """A file that only FFmpeg's encoders write; x is one channel, (n,), or eight, (n, 8)."""
    from fractions import Fraction

    import av

    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        layout = "mono" if x.ndim == 1 else "7.1"
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        context = stream.codec_context
        frame = av.AudioFrame.from_ndarray(x.astype(np.float32).reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        size = context.frame_size or 1024
        pieces = av.AudioResampler(format=context.format.name, layout=layout, rate=rate_hz, frame_size=size)
        for piece in (*pieces.resample(frame), *pieces.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path

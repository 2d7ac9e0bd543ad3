"""More voices from Debian's archive: recorded speech of free packages, made into a corpus for ``dataset --data``.

Telephone prompts and the recordings behind a speech synthesiser are hours of clean speech under free licences. This
fetches the packages with apt (no root needed), keeps recordings that are clean and long enough, and writes them as FLAC
with a manifest. (The three hours of dialogue of fillets-ng, in Czech and Dutch, are too noisy: DNSMOS BAK 2.9.)
"""

import argparse
import csv
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..samples import active_rms

MIN_SECONDS, MIN_RANGE_DB, LEVEL_DB = 0.4, 35.0, -26.0
"""Accepted: at least so long and with so much between its loudest and its quietest frames; written at this level."""

COLUMNS = ("file", "speaker", "eff_bw", "group", "split", "licence", "language", "source")


@dataclass(frozen=True)
class Package:
    """A Debian package of one speaker's recordings.

    Attributes
    ----------
    name, licence, language : str
    pattern : str
        Glob of its sound files.
    """

    name: str
    licence: str
    language: str
    pattern: str


PACKAGES = (
    Package("festvox-ru", "BSD", "ru", "*.wav"),
    Package("asterisk-core-sounds-en-g722", "CC-BY-SA-3.0", "en", "*.g722"),
    Package("asterisk-core-sounds-es-g722", "CC-BY-SA-3.0", "es", "*.g722"),
    Package("asterisk-core-sounds-fr-g722", "CC-BY-SA-3.0", "fr", "*.g722"),
    Package("asterisk-core-sounds-it-g722", "CC-BY-SA-3.0", "it", "*.g722"),
    Package("asterisk-core-sounds-ru-g722", "CC-BY-SA-3.0", "ru", "*.g722"),
    Package("asterisk-prompt-it-menardi-wav", "CC-BY-SA-3.0-IT", "it", "*.wav"),
)


def fetch(package: Package, folder: Path) -> list[Path]:
    """Download and unpack a package; its sound files.

    Raises
    ------
    ValueError
        apt cannot fetch it.
    """
    done = subprocess.run(["apt-get", "download", "-q", package.name], cwd=folder, capture_output=True, text=True)
    archives = list(folder.glob(f"{package.name}_*.deb"))
    if done.returncode or not archives:
        raise ValueError(f"{package.name}: apt-get download failed: {done.stderr.strip()[-200:]}")
    root = folder / package.name
    subprocess.run(["dpkg", "-x", archives[0], root], check=True)
    return sorted(path for path in root.rglob(package.pattern) if path.is_file() and not path.is_symlink())


def decode(path: Path) -> tuple[np.ndarray, int]:
    """First channel, float32 (n,), and its rate in Hz."""
    import soundfile

    if path.suffix != ".g722":
        x, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return x[:, 0], rate
    import av

    with av.open(path, format="g722") as file:
        pieces = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]
        return np.concatenate(pieces).astype(np.float32) / 32768, file.streams.audio[0].rate


def measure(x: np.ndarray, rate: int) -> tuple[float, float]:
    """Range in dB between loud and quiet frames, and the bandwidth in Hz in which the loud ones stand out."""
    size = rate // 50
    frames = x[: len(x) // size * size].reshape(-1, size)
    power = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2
    level = np.einsum("kn,kn->k", frames, frames) / size + 1e-12
    order = np.argsort(level)
    tenth = max(1, len(order) // 10)
    quiet, loud = power[order[:tenth]].mean(0), power[order[-3 * tenth :]].mean(0)
    heard = (loud > 4 * quiet) & (loud > loud.max() * 1e-7)
    span = 10 * np.log10(np.quantile(level, 0.95) / np.quantile(level, 0.05))
    return float(span), float(np.flatnonzero(heard).max(initial=0) * rate / size)


def _convert(job: tuple[Path, Path]) -> float | None:
    """Write one recording as FLAC; its bandwidth, or None where it is too short, noisy or broken."""
    import soundfile

    source, target = job
    try:
        x, rate = decode(source)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        print(f"skipped {source.name}: {error}")
        return None
    x = x - x.mean() if len(x) else x
    if len(x) < MIN_SECONDS * rate or not active_rms(x):
        return None
    span, bandwidth = measure(x, rate)
    if span < MIN_RANGE_DB or bandwidth < 3000:
        return None
    x *= 10 ** (LEVEL_DB / 20) / active_rms(x)
    x /= max(1.0, float(np.abs(x).max()))
    soundfile.write(target, x, rate, subtype="PCM_16")
    return bandwidth


def rows(package: Package, out: Path, workers: int) -> Iterator[dict[str, str]]:
    """Convert a package's recordings; their rows of the manifest."""
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(workers) as pool:
        sources = fetch(package, Path(folder))
        (out / package.name).mkdir(parents=True, exist_ok=True)
        targets = [out / package.name / f"{i:04d}.flac" for i in range(len(sources))]
        bandwidths = pool.map(_convert, zip(sources, targets, strict=True), chunksize=16)
        for source, target, bandwidth in zip(sources, targets, bandwidths, strict=True):
            if bandwidth is None:
                continue
            yield {
                "file": str(target.relative_to(out)),
                "speaker": package.name,
                "eff_bw": f"{bandwidth:.0f}",
                "group": "permissive",
                "split": "train",
                "licence": package.licence,
                "language": package.language,
                "source": source.name,
            }


def main(argv: list[str] | None = None) -> None:
    """Fetch and convert: ``pyenhance train debian --out DIR``."""
    parser = argparse.ArgumentParser(prog="pyenhance train debian", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the corpus")
    parser.add_argument("--packages", nargs="+", default=[p.name for p in PACKAGES], help="some of them only")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args(argv)
    unknown = set(arguments.packages) - {p.name for p in PACKAGES}
    if unknown:
        raise ValueError(f"packages are {sorted(unknown)}; accepted: {[p.name for p in PACKAGES]}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept: list[dict[str, str]] = []
    for package in (p for p in PACKAGES if p.name in arguments.packages):
        own = list(rows(package, arguments.out, arguments.workers))
        print(f"{package.name}: {len(own)} recordings", flush=True)
        kept += own
    with open(arguments.out / "manifest_speech.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(kept)


if __name__ == "__main__":
    main()

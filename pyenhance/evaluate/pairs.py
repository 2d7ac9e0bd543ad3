"""The clips to be scored: a folder with `clean/` and `noisy/`, and a `manifest.csv` where there is one."""

import csv
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..audio import read_audio
from ..dsp import SAMPLE_RATE
from .groups import BANDWIDTH_EDGES_HZ, SNR_EDGES_DB, bucket

GROUPS = ("snr", "sex", "language", "room", "eff_bw")
"""Manifest columns by which scores are told apart, where they are present."""


@dataclass(frozen=True)
class Pair:
    """One clip: its two files and what is known of it.

    Attributes
    ----------
    name : str
    clean, noisy : Path
    groups : dict of str to str
        Value of each of `GROUPS` that the manifest has; SNRs as buckets, rooms as "room" or "dry", ``eff_bw`` (Hz) as
        "bandwidth" in buckets.
    speaker : str
        Who speaks; empty where the manifest does not say.
    """

    name: str
    clean: Path
    noisy: Path
    groups: dict[str, str]
    speaker: str = ""


def load_pairs(folder: Path) -> list[Pair]:
    """The pairs of a folder.

    Parameters
    ----------
    folder : Path
        With ``manifest.csv`` (columns id, clean, noisy and any of `GROUPS`; paths relative to it), or else with files
        of the same names in ``clean/`` and ``noisy/``.

    Raises
    ------
    ValueError
        There are no pairs, a column is missing, or a file is.
    """
    manifest = folder / "manifest.csv"
    if manifest.exists():
        with open(manifest, newline="") as file:
            rows = list(csv.DictReader(file))
        missing = {"id", "clean", "noisy"}.difference(rows[0] if rows else ())
        if missing:
            raise ValueError(f"{manifest}: no rows, or columns {sorted(missing)} are missing")
        pairs = [
            Pair(
                row["id"],
                folder / row["clean"],
                folder / row["noisy"],
                _groups(row, manifest),
                row.get("speaker") or "",
            )
            for row in rows
        ]
    else:
        noisy = {path.stem: path for path in sorted((folder / "noisy").glob("*")) if path.is_file()}
        clean = {path.stem: path for path in sorted((folder / "clean").glob("*")) if path.is_file()}
        pairs = [Pair(name, clean[name], path, {}) for name, path in noisy.items() if name in clean]
        if not pairs:
            raise ValueError(f"{folder}: accepted: a manifest.csv, or clean/ and noisy/ with files of the same names")
    names = [pair.name for pair in pairs]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{folder}: more than one pair is named {', '.join(twice[:5])}")
    for pair in pairs:
        for path in (pair.clean, pair.noisy):
            if not path.exists():
                raise ValueError(f"{path}, of the pair {pair.name}, is missing")
    return pairs


def read_pair(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy at 48 kHz, mono, of the same length; shape (n,), float32 each."""
    clean, noisy = read_audio(pair.clean), read_audio(pair.noisy)
    n = min(len(clean), len(noisy))
    return clean[:n], noisy[:n]


class Keep(Protocol):
    """Writes a pair: clean and noisy at 48 kHz, shapes (n,), in [-1, 1], and further columns of the manifest."""

    def __call__(self, name: str, clean: np.ndarray, noisy: np.ndarray, **columns: Any) -> None: ...


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder: what is written to the one that is yielded appears at `folder` at the end, or not at all.

    Raises
    ------
    FileExistsError
        There is something of that name.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists; accepted: a folder that is to be made")
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield part
        part.chmod(0o755)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_manifest(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write `manifest.csv`, of rows with the same columns, at least one."""
    with open(folder / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def new_pairs(folder: Path) -> Iterator[Keep]:
    """Make a folder of pairs, which appears once all are written, or not at all.

    Raises
    ------
    FileExistsError
        There is something of that name.
    ValueError
        None was written.
    ImportError
        soundfile is not installed.
    """
    import soundfile

    with new_folder(folder) as part:
        rows: list[dict[str, Any]] = []

        def keep(name: str, clean: np.ndarray, noisy: np.ndarray, **columns: Any) -> None:
            row = {"id": name}
            for side, x in (("clean", clean), ("noisy", noisy)):
                (part / side).mkdir(exist_ok=True)
                row[side] = f"{side}/{name}.flac"
                soundfile.write(part / row[side], x, SAMPLE_RATE, subtype="PCM_16")
            rows.append(row | columns)

        yield keep
        if not rows:
            raise ValueError(f"{folder}: there are no pairs to write; accepted: at least one")
        write_manifest(part, rows)


def _groups(row: dict[str, str], place: Path) -> dict[str, str]:
    groups = {name: row[name] for name in GROUPS if row.get(name)}
    for column, kind, edges, unit in (
        ("snr", "snr", SNR_EDGES_DB, "dB"),
        ("eff_bw", "bandwidth", BANDWIDTH_EDGES_HZ, "Hz"),
    ):
        if column in groups:
            text = groups.pop(column)
            try:
                groups[kind] = bucket(float(text), edges, unit)
            except ValueError as error:
                raise ValueError(f"{place}: {column} of {row['id']} is {text!r}; accepted: a number") from error
    if "room" in row:
        groups["room"] = "room" if row["room"] else "dry"
    return groups

"""Speech, noise and rooms on disk, named by three CSV manifests.

A corpus is one or more directories with ``manifest_speech.csv`` (columns file, speaker, eff_bw, group, split, sex,
...), ``manifest_noise.csv`` and ``manifest_rir.csv`` (file, group, split, ...); `file` is relative to the directory.
"""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..audio import read_audio
from ..dsp import SAMPLE_RATE

GROUPS = ("permissive", "gpl", "restricted")
"""Of licences, as manifests have them."""

KINDS = ("speech", "noise", "rir")
SPLITS = ("train", "valid")


@dataclass(frozen=True)
class Clip:
    """One recording: its place in the memory map and what the manifest says of it."""

    start: int
    length: int
    speaker: str
    bandwidth_hz: float
    sex: str = ""


class Corpus:
    """All recordings of one split, decoded once to 48 kHz int16 and mapped into memory.

    Manifests are read at once; recordings are decoded when the first of them is asked for.

    Parameters
    ----------
    directories : sequence of Path
        Each has at least one manifest; together they have all three.
    split : str
        One of `SPLITS`.
    groups : tuple of str
        Licence groups to use.
    cache : Path
        Where the decoded audio is kept.
    workers : int
        Processes that decode.
    part : (int, int)
        (k, n): the k-th of n parts, from 1. No two parts share a speaker or a noise; rooms are in all of them.

    Attributes
    ----------
    sexes : set of str
        Of all who speak, as far as the manifests tell or guess them.

    Raises
    ------
    ValueError
        A manifest is missing, nothing in it fits, or there is no such part.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        split: str,
        groups: tuple[str, ...],
        cache: Path,
        workers: int = 2,
        part: tuple[int, int] = (1, 1),
    ) -> None:
        self._rows = {kind: _of_part(kind, manifest_rows(directories, kind, split, groups), part) for kind in KINDS}
        self._cache, self._workers = cache, workers
        self._audio: dict[str, np.ndarray] = {}
        self.sexes = {_sex(row) for row in self._rows["speech"]} - {""}

    @cached_property
    def speakers(self) -> dict[str, list[Clip]]:
        """Clips of each speaker."""
        clips: dict[str, list[Clip]] = defaultdict(list)
        for clip in self._clips["speech"]:
            clips[clip.speaker].append(clip)
        return clips

    @property
    def noises(self) -> list[Clip]:
        """Clips of noise."""
        return self._clips["noise"]

    @property
    def rooms(self) -> list[Clip]:
        """Impulse responses."""
        return self._clips["rir"]

    @cached_property
    def _clips(self) -> dict[str, list[Clip]]:
        return {kind: self._load(kind) for kind in KINDS}

    def _load(self, kind: str) -> list[Clip]:
        rows = self._rows[kind]
        key = hashlib.sha256("\n".join(row["file"] for row in rows).encode()).hexdigest()[:16]
        data, index = self._cache / f"{kind}-{key}.int16", self._cache / f"{kind}-{key}.ends.npy"
        if not index.exists():
            self._cache.mkdir(parents=True, exist_ok=True)
            lengths = []
            # One after the other into the file: thirty hours are 10 GB.
            with ProcessPoolExecutor(self._workers) as pool, open(data, "wb") as file:
                for x in pool.map(_decode, [row["path"] for row in rows], chunksize=16):
                    x.tofile(file)
                    lengths.append(len(x))
            np.save(index, np.cumsum(lengths))
        ends = np.load(index)
        self._audio[kind] = np.memmap(data, np.int16, "r") if ends[-1] else np.zeros(0, np.int16)
        starts = np.concatenate(([0], ends[:-1]))
        return [
            Clip(
                int(start),
                int(end - start),
                row.get("speaker", ""),
                float(row.get("eff_bw") or SAMPLE_RATE / 2),
                _sex(row),
            )
            for row, start, end in zip(rows, starts, ends, strict=True)
            if end > start
        ]

    def read(self, kind: str, clip: Clip) -> np.ndarray:
        """Samples of a clip, shape (n,), float32 in [-1, 1]."""
        return self._audio[kind][clip.start : clip.start + clip.length].astype(np.float32) / 32768


def manifest_rows(directories: Sequence[Path], kind: str, split: str, groups: tuple[str, ...]) -> list[dict]:
    """Fitting rows of all manifests of a kind, each with the `path` of its recording."""
    name = f"manifest_{kind}.csv"
    found = [directory for directory in directories if (directory / name).exists()]
    if not found:
        where = ", ".join(map(str, directories))
        raise ValueError(f"{name} is missing in {where}; a corpus has one for each of {KINDS}")
    rows = []
    for directory in found:
        with open(directory / name, newline="") as file:
            fitting = [row for row in csv.DictReader(file) if row["split"] == split and row["group"] in groups]
        rows += [row | {"path": directory / row["file"]} for row in fitting]
    if not rows:
        raise ValueError(f"{name} of {', '.join(map(str, found))} has no rows of split {split!r} in groups {groups}")
    return rows


def _sex(row: dict) -> str:
    """Of who speaks: one that is guessed, such as "F?", counts as if it were told; empty where neither."""
    return (row.get("sex") or "").removesuffix("?")


def _of_part(kind: str, rows: list[dict], part: tuple[int, int]) -> list[dict]:
    """The rows of a part. What stands side by side by name, such as noises of one sort, goes into the same part."""
    k, n = part
    if not 1 <= k <= n:
        raise ValueError(f"part {k} of {n}; accepted: 1 of n to n of n")
    column = {"speech": "speaker", "noise": "file"}.get(kind)
    if column is None:
        return rows
    names = sorted({row[column] for row in rows})
    if len(names) < n:
        raise ValueError(f"{n} parts of {len(names)} ({column} of manifest_{kind}.csv); accepted: at most as many")
    own = set(names[(k - 1) * len(names) // n : k * len(names) // n])
    return [row for row in rows if row[column] in own]


def _decode(path: Path) -> np.ndarray:
    return np.clip(np.rint(read_audio(path) * 32768), -32768, 32767).astype(np.int16)

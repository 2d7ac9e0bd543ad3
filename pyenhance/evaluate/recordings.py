"""Recordings without a clean reference: what DNSMOS says of them, untouched and enhanced."""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import read_audio
from ..dsp import SAMPLE_RATE
from ..files import SUFFIXES
from ..threads import one_thread
from .groups import interval
from .metrics import RATE, Opinion
from .processes import in_processes
from .report import subject_of
from .systems import System, system

OPINIONS = ("sig", "bak", "ovrl")
"""What DNSMOS P.835 says, 1 to 5."""

_systems: dict[str, System]
_opinion: Opinion | None


@dataclass(frozen=True)
class Recording:
    """One recording.

    Attributes
    ----------
    name : str
        Its file's, in the folder.
    path : Path
    facts : dict of str to str
        What the manifest says of it.
    """

    name: str
    path: Path
    facts: dict[str, str] = field(default_factory=dict)


def load_recordings(folder: Path) -> list[Recording]:
    """The recordings of a folder.

    Parameters
    ----------
    folder : Path
        With ``manifest.csv`` (column file, relative to it, and whatever else is known of each recording; ``speaker``
        tells whose recordings are alike), or else the audio files in it, by their names.

    Raises
    ------
    ValueError
        There is none, the column is missing, or a file is.
    """
    manifest = folder / "manifest.csv"
    if manifest.exists():
        with open(manifest, newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows or "file" not in rows[0]:
            raise ValueError(f"{manifest}: no rows, or no column file")
    else:
        paths = sorted(folder.glob("*")) if folder.is_dir() else []
        rows = [{"file": path.name} for path in paths if path.is_file() and path.suffix.lower() in SUFFIXES]
        if not rows:
            raise ValueError(f"{folder}: accepted: a folder with audio files, or with a manifest.csv of them")
    recordings = [
        Recording(row["file"], folder / row["file"], {key: text for key, text in row.items() if key != "file" and text})
        for row in rows
    ]
    for recording in recordings:
        if not recording.path.is_file():
            raise ValueError(f"{recording.path} is missing")
    return recordings


def _start(names: Sequence[str], dnsmos: Path | None) -> None:
    global _systems, _opinion
    _systems = {name: system(name) for name in names}
    _opinion = None if dnsmos is None else Opinion(dnsmos)


def _judge(recording: Recording) -> dict[str, Any]:
    import soxr

    with one_thread():  # the processes are the parallelism
        noisy = read_audio(recording.path)
        scores = {}
        for name, run in _systems.items():
            scores[name] = dict.fromkeys(OPINIONS, math.nan)
            if _opinion:
                scores[name] |= _opinion(soxr.resample(run(noisy, noisy), SAMPLE_RATE, RATE))
    seconds = len(noisy) / SAMPLE_RATE
    return {"name": recording.name, "facts": recording.facts, "seconds": seconds, "scores": scores}


def evaluate_recordings(
    recordings: Sequence[Recording],
    systems: Sequence[str],
    *,
    dnsmos: Path | None = None,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """What DNSMOS says of recordings, by system.

    Parameters
    ----------
    recordings : sequence of Recording
    systems : sequence of str
        See `systems.system`; all but the oracle, which needs a reference.
    dnsmos : Path, optional
        The DNS challenge's ``sig_bak_ovr.onnx``; without it all is NaN.
    workers : int, optional
        Processes; one a core by default.
    on_progress : callable, optional
        Called with recordings done and recordings in all.

    Returns
    -------
    dict
        clips: a list of {name, facts, seconds, scores: {system: {one of `OPINIONS`: value}}};
        means: {system: {opinion: {"mean", "low", "high"}}};
        differences: the same of the first system that is not the untouched recording, less each of the others.
        Low and high bound the middle 95 % of bootstrap means, over speakers where all recordings have one.

    Raises
    ------
    ValueError, ImportError
        An unknown system, a file that cannot be used, or an extra that is not installed.
    """
    start = (systems, dnsmos)
    _start(*start)  # what is wrong shows here, before any process starts
    clips = in_processes(_judge, recordings, _start, start, workers=workers, on_progress=on_progress)
    return {"clips": clips} | compared(clips, systems)


def compared(clips: Sequence[dict[str, Any]], systems: Sequence[str]) -> dict[str, Any]:
    """Means and differences of what was said of clips; see `evaluate_recordings`."""
    table = {
        name: {opinion: np.array([clip["scores"][name][opinion] for clip in clips]) for opinion in OPINIONS}
        for name in systems
    }
    who = [clip["facts"].get("speaker", "") for clip in clips]
    speakers = np.array(who) if all(who) else None
    subject = subject_of(systems)
    return {
        "means": {
            name: {opinion: _mean(values, speakers) for opinion, values in rows.items()} for name, rows in table.items()
        },
        "differences": {
            name: {opinion: _mean(table[subject][opinion] - values, speakers) for opinion, values in rows.items()}
            for name, rows in table.items()
            if name != subject
        },
    }


def _mean(values: np.ndarray, speakers: np.ndarray | None) -> dict[str, float]:
    known = ~np.isnan(values)
    if not known.any():
        return dict.fromkeys(("mean", "low", "high"), math.nan)
    low, high = interval(values[known], None if speakers is None else speakers[known])
    return {"mean": float(values[known].mean()), "low": low, "high": high}

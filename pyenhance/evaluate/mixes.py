"""Pairs made from a corpus to compare groups on: every speaker as often, in as much noise and as many rooms.

At 60 clips the interval of a gap between two groups is wider than any gap that was ever seen, so there are many; their
noise, SNR, room and level are drawn by one seed, and who speaks goes round.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import read_audio
from ..dsp import HOP, SAMPLE_RATE
from ..samples import active_rms
from .pairs import new_pairs

CLIPS = 500
SEED = 2026
SNRS_DB = (-5, 0, 5, 10, 15, 20)

_SECONDS = 6.0
_LEVELS_DBFS = (-32.0, -18.0)
_LOUDEST = 0.97
_ROOM_EVERY = 3


def make_pairs(
    data: Path,
    folder: Path,
    *,
    clips: int = CLIPS,
    seed: int = SEED,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a folder that `pairs.load_pairs` takes, of the corpus's split "valid"; the same arguments, the same files.

    Parameters
    ----------
    data : Path
        A corpus, see `train.corpus`.
    folder : Path
        To be made: whole or not at all.
    clips : int
        How many pairs.
    seed : int
    on_progress : callable, optional
        Called with pairs done and pairs in all.

    Raises
    ------
    ValueError
        Fewer than one pair, or a corpus without such recordings.
    FileExistsError
        The folder exists.
    ImportError
        The extra ``audio`` or scipy is not installed.
    """
    from ..train.corpus import GROUPS, manifest_rows

    if clips < 1:
        raise ValueError(f"{clips} pairs; accepted: 1 or more")
    speech, noises, rooms = (manifest_rows([data], kind, "valid", GROUPS) for kind in ("speech", "noise", "rir"))
    by_speaker: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in speech:
        by_speaker[row["speaker"]].append(row)
    speakers = sorted(by_speaker)
    rng = np.random.default_rng(seed)
    with new_pairs(folder) as keep:
        for i in range(clips):
            turn, speaker = divmod(i, len(speakers))
            own = by_speaker[speakers[speaker]]
            row = own[rng.integers(len(own))]
            room = rooms[rng.integers(len(rooms))] if (turn // 2 + speaker) % _ROOM_EVERY == 0 else None
            snr_db = SNRS_DB[(turn + speaker) % len(SNRS_DB)]  # a speaker meets one after the other, with and without
            clean, noisy, sorts = _mix(rng, row, room, noises, snr_db)
            known = {key: row.get(key, "") for key in ("speaker", "sex", "language", "eff_bw")}
            place = {"room": Path(room["file"]).stem if room else "", "noise": "+".join(sorts)}
            keep(f"{i:04d}", clean, noisy, snr=snr_db, **known, **place)
            if on_progress:
                on_progress(i + 1, clips)


def _mix(
    rng: np.random.Generator,
    row: dict[str, Any],
    room: dict[str, Any] | None,
    noises: list[dict[str, Any]],
    snr_db: int,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Clean, noisy (n,) and the sorts of noise."""
    from ..train.mixing import in_room

    clean = read_audio(row["path"])[: int(_SECONDS * SAMPLE_RATE)]
    n = len(clean) // HOP * HOP
    wet = clean = clean[:n]
    if room:
        h = read_audio(room["path"])
        clean, wet = in_room(clean, h[np.argmax(np.abs(h)) :] / np.abs(h).max())
    noise, sorts = np.zeros(n), []
    for _ in range(rng.integers(1, 3)):
        chosen = noises[rng.integers(len(noises))]
        x = read_audio(chosen["path"])
        x = np.tile(x, n // len(x) + 2)[rng.integers(len(x)) :][:n]
        noise += x / (np.sqrt(np.mean(np.square(x, dtype=np.float64))) + 1e-9) * 10 ** (rng.uniform(-6, 0) / 20)
        sorts.append(chosen.get("category", ""))
    level = active_rms(wet)
    noise *= level / (np.sqrt(np.mean(noise**2)) + 1e-12) * 10 ** (-snr_db / 20)
    noisy = wet + noise
    scale = 10 ** (rng.uniform(*_LEVELS_DBFS) / 20) / max(level, 1e-9)
    scale = min(scale, _LOUDEST / max(np.abs(noisy).max(), np.abs(clean).max(), 1e-9))
    return (clean * scale).astype(np.float32), (noisy * scale).astype(np.float32), sorts

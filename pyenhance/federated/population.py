"""Speakers with places of their own, as what the heads of a frozen network see of them.

The body of the network does not change in federated rounds, so it runs once; what is kept are the directions of the
heads' inputs (`HeadSummary`), of every eighth frame. Hundreds of clients then take minutes.
"""

import io
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..audio import read_audio
from ..dsp import HOP, SAMPLE_RATE
from ..evaluate.pairs import new_pairs
from ..model import load_model
from ..model.diff import weights_bytes, write_whole
from ..model.heads import Examples, mix_examples
from ..model.recordings import make_mixes
from ..model.summary import HEADS, summary_of
from ..threads import one_thread
from ..train.corpus import GROUPS, manifest_rows

FORMAT = "pyenhance-population-1"
FRAME_STEP = 8
"""Of so many frames one is kept: neighbours say nearly the same."""

SNR_RANGE_DB = (-3.0, 17.0)
MAX_SPEAKER_S, TEST_S = 120.0, 16.0
"""Longest audio of a client's speaker, unless told otherwise, and of one that is held out."""

PLACES = 2
"""Noises that a speaker lives with."""

_MIN_CLIP_S, _MAX_CLIP_S = 1.0, 20.0
_MIN_PLACE_S = 2.0


class Population(NamedTuple):
    """Recordings of many speakers in their places.

    Attributes
    ----------
    base : str
        SHA-256 of the weights file whose heads these are.
    heads : dict of str to Examples
        Of all frames N of all clips, one after the other: values (N, k + 1); logit, target, heard (N, bands); float32.
    ends : ndarray, shape (clips,), int64
        Frames up to the end of each clip.
    speaker, place, language : ndarray, shape (clips,), of str
        What is known of each clip; a place is the category of its noise.
    held_out : ndarray, shape (clips,), bool
        Clips of speakers who take no part; their noise is the other half of their place's recordings.
    """

    base: str
    heads: dict[str, Examples]
    ends: np.ndarray
    speaker: np.ndarray
    place: np.ndarray
    language: np.ndarray
    held_out: np.ndarray

    def rows(self, clips: np.ndarray) -> np.ndarray:
        """Indices of the frames of some clips, in their order; shape (n,), int64."""
        starts = np.concatenate(([0], self.ends[:-1]))
        parts = [np.arange(starts[clip], self.ends[clip]) for clip in clips]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def examples(self, clips: np.ndarray) -> dict[str, Examples]:
        """What the heads saw of some clips."""
        rows = self.rows(clips)
        return {name: Examples(*(part[rows] for part in head)) for name, head in self.heads.items()}

    @property
    def frames(self) -> np.ndarray:
        """Frames of each clip; shape (clips,), int64."""
        return np.diff(self.ends, prepend=0)


def prepare(
    data: Path,
    model: str,
    *,
    groups: tuple[str, ...] = GROUPS,
    speakers: int | None = None,
    speaker_s: float = MAX_SPEAKER_S,
    seed: int = 0,
    summary: bytes,
    pairs: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Population:
    """Run a model's body over a corpus: speakers of the split "train" become clients, those of "valid" are held out.

    Noise is of the split "valid", which shipped models have not learnt: of each category the first half of the
    recordings is for the clients, the second for those who are held out.

    Parameters
    ----------
    data : Path
        A corpus, see `train.corpus`.
    model : str
        A shipped model's name or a weights file.
    groups : tuple of str
        Licences.
    speakers : int, optional
        At most so many of each split.
    speaker_s : float
        Longest audio of a speaker who takes part, seconds: the less, the sooner many speakers are prepared.
    seed : int
    summary : bytes
        The model's.
    pairs : Path, optional
        A folder to make, in which the first mix of each speaker who is held out is left as `evaluate.load_pairs` takes
        it.
    on_progress : callable, optional
        Called with speakers done and speakers in all.

    Raises
    ------
    FileExistsError
        There is something in the place of `pairs`.
    ValueError
        The corpus has no such rows, no noise of `_MIN_PLACE_S` twice, the summary is another model's, or `speaker_s`
        is too short for a clip.
    """
    if not speaker_s >= _MIN_CLIP_S:
        raise ValueError(f"speaker_s is {speaker_s}; accepted: {_MIN_CLIP_S:g} s or more")
    base = weights_bytes(model)
    network, public = load_model(model), summary_of(base, summary)
    rng = np.random.default_rng(seed)
    chosen = []
    for held_out, split in enumerate(("train", "valid")):
        by_speaker = defaultdict(list)
        for row in manifest_rows([data], "speech", split, groups):
            by_speaker[row["speaker"]].append(row)
        names = sorted(by_speaker)
        picked = sorted(rng.permutation(len(names))[:speakers].tolist())
        chosen += [(names[i], by_speaker[names[i]], bool(held_out)) for i in picked]
    parts: dict[str, list[Examples]] = {name: [] for name in HEADS}
    facts: list[tuple[str, str, str, bool]] = []
    with one_thread(), new_pairs(pairs) if pairs else nullcontext() as keep:
        places = _places(data, groups)
        for done, (name, rows, held_out) in enumerate(chosen, 1):
            own = [list(places)[i] for i in rng.permutation(len(places))[:PLACES]]
            left = TEST_S if held_out else speaker_s
            for row in rows:
                voice = read_audio(row["path"])[: int(min(left, _MAX_CLIP_S) * SAMPLE_RATE)]
                voice = voice[: len(voice) // HOP * HOP]
                place, snr_db = own[rng.integers(len(own))], rng.uniform(*SNR_RANGE_DB)
                noise = np.roll(places[place][held_out], rng.integers(len(places[place][held_out])))
                if len(voice) < _MIN_CLIP_S * SAMPLE_RATE or not np.any(voice):
                    continue
                (mix,) = make_mixes(voice, noise, (snr_db,))
                if keep and held_out and left == TEST_S:
                    scale = np.float32(min(1.0, 0.99 / max(np.abs(mix.noisy).max(), np.abs(mix.clean).max())))
                    known = {column: row.get(column, "") for column in ("sex", "language", "eff_bw")}
                    keep(name, mix.clean * scale, mix.noisy * scale, snr=f"{snr_db:.1f}", **known)
                left -= len(voice) / SAMPLE_RATE
                found = mix_examples(network, public, mix, slice(0, None, FRAME_STEP))
                within = network.signal.band_centres_hz <= float(row.get("eff_bw") or SAMPLE_RATE / 2)
                for head, examples in found.items():
                    parts[head].append(examples._replace(heard=examples.heard * within))
                facts.append((name, place, row.get("language", ""), held_out))
                if left < _MIN_CLIP_S:
                    break
            if on_progress:
                on_progress(done, len(chosen))
    ends = np.cumsum([len(examples.values) for examples in parts["gain"]])
    heads = {name: Examples(*map(np.concatenate, zip(*own, strict=True))) for name, own in parts.items()}
    columns = [np.array(column) for column in zip(*facts, strict=True)]
    return Population(public.base, heads, ends, *columns)


def _places(data: Path, groups: tuple[str, ...]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Noise of each category, in two halves without a common recording where there are two."""
    recordings: dict[str, list[np.ndarray]] = defaultdict(list)
    for row in manifest_rows([data], "noise", "valid", groups):
        recordings[row["category"]].append(read_audio(row["path"]))
    places = {}
    for category, sounds in sorted(recordings.items()):
        x = np.concatenate(sounds)
        if len(x) >= _MIN_PLACE_S * SAMPLE_RATE:
            places[category] = (x[: len(x) // 2], x[len(x) // 2 :])
    if not places:
        raise ValueError(f"{data}: accepted: a noise category of {_MIN_PLACE_S:g} s or more in the split 'valid'")
    return places


def write_population(population: Population, path: Path, *, force: bool = False) -> None:
    """Write it to an ``.npz`` file, whole or not at all; FileExistsError where there is one and `force` is not set."""
    arrays: dict[str, Any] = {"format": np.array(FORMAT), "base": np.array(population.base)}
    for name, examples in population.heads.items():
        arrays |= {f"{name}.{key}": value.astype(np.float16) for key, value in examples._asdict().items()}
    for key in ("ends", "speaker", "place", "language", "held_out"):
        arrays[key] = getattr(population, key)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_whole(path, buffer.getvalue(), force=force)


@lru_cache(maxsize=1)
def read_population(path: Path) -> Population:
    """Read what `write_population` wrote; ValueError where it is something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = dict(file)
        if str(arrays["format"]) != FORMAT:
            raise ValueError(f"format {arrays['format']}")
        heads = {
            name: Examples(*(arrays[f"{name}.{key}"].astype(np.float32) for key in Examples._fields)) for name in HEADS
        }
        keys = ("ends", "speaker", "place", "language", "held_out")
        return Population(str(arrays["base"]), heads, *(arrays[key] for key in keys))
    except (ValueError, KeyError, EOFError) as error:
        raise ValueError(f"{path}: accepted: a file of pyenhance federated prepare ({error})") from error

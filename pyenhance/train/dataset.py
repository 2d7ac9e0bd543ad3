"""Feature shards: mixes turned into network inputs and targets, on disk, and read back as batches.

A shard is one uncompressed ``.npz``: features (S, T, num_features) float16; gain and strength (S, T, bands) uint8,
255 = 1; vad (S, T) uint8; band_mask (S, bands) uint8. Row t of a target is what the network must answer after rows up
to t of the features. speaker (S,), strings, says who talks; shards of earlier versions do not have it.
"""

import argparse
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from .. import dsp
from ..backend import NUMPY, choose
from ..backend.library import load_library
from ..backend.stream import compiled_analyser
from ..dsp import SignalSpec
from ..samples import active_rms
from .corpus import GROUPS, SPLITS, Corpus
from .counterfactual import check_share
from .mixing import Mixer

SEQUENCES_PER_SHARD = 48
SIGNAL_FILE = "signal.json"
ARRAYS = ("features", "gain", "strength", "vad", "band_mask")
_VOICE_DB, _VOICE_HANGOVER_FRAMES = -40.0, 5


def voice_activity(signal: SignalSpec, clean: np.ndarray) -> np.ndarray:
    """Whether somebody speaks, for each row that `dsp.ideal` answers.

    Parameters
    ----------
    signal : SignalSpec
    clean : ndarray, shape (n,), float32, n a multiple of 480

    Returns
    -------
    ndarray, shape (n / 480,), uint8: 1 within 40 dB of the active level, and for 50 ms after.
    """
    delayed = np.concatenate((np.zeros(signal.latency_samples, np.float32), clean))
    hops = delayed.reshape(-1, dsp.HOP)[: len(clean) // dsp.HOP + 1]
    power = np.einsum("kn,kn->k", hops, hops) / dsp.HOP
    rms = np.sqrt((power[:-1] + power[1:]) / 2)
    active = (rms > active_rms(clean) * 10 ** (_VOICE_DB / 20)) & (rms > 1e-6)
    held = active.copy()
    for shift in range(1, _VOICE_HANGOVER_FRAMES + 1):
        held[shift:] |= active[:-shift]
    return held.astype(np.uint8)


def make_shard(signal: SignalSpec, mixer: Mixer, seed: int, index: int) -> dict[str, np.ndarray]:
    """Shard number `index`, which depends on the seed and the index alone.

    But for rounding: the signal is analysed by compiled code where there is some (`pyenhance compile`), which takes a
    quarter of the time.
    """
    rng = np.random.default_rng([seed, index])
    kernel = choose(spec=signal).signal
    library = "numpy computes" if kernel == NUMPY else load_library(kernel)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ARRAYS}
    speakers = []
    for _ in range(SEQUENCES_PER_SHARD):
        mix = mixer.mix(rng)
        analyser = None if isinstance(library, str) else compiled_analyser(signal, library)
        frames, gain, strength = dsp.ideal(signal, mix.noisy, mix.clean, analyser=analyser)
        rows["features"].append(frames.features.astype(np.float16))
        rows["gain"].append(np.rint(gain * 255).astype(np.uint8))
        rows["strength"].append(np.rint(strength * 255).astype(np.uint8))
        rows["vad"].append(voice_activity(signal, mix.clean))
        rows["band_mask"].append((signal.band_centres_hz <= mix.bandwidth_hz).astype(np.uint8))
        speakers.append(mix.speaker)
    return {name: np.stack(values) for name, values in rows.items()} | {"speaker": np.array(speakers)}


def speakers_heard(directory: Path) -> dict[str, int]:
    """Sequences of each speaker in a folder of shards, as far as its shards say who talks."""
    heard: Counter[str] = Counter()
    for path in directory.glob("shard-*.npz"):
        with np.load(path) as file:
            heard.update(file["speaker"].tolist() if "speaker" in file else ())
    return dict(heard)


_worker: tuple[SignalSpec, Mixer]


def _start_worker(signal: SignalSpec, corpus_arguments: tuple, *mixer_arguments: float) -> None:
    global _worker
    _worker = signal, Mixer(Corpus(*corpus_arguments), *mixer_arguments)


def _write_shard(path: Path, seed: int, index: int) -> Path:
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        np.savez(file, **make_shard(*_worker, seed, index))
    os.replace(part, path)
    return path


def read_shard(path: Path) -> dict[str, np.ndarray]:
    """`ARRAYS` of a shard, as they are stored."""
    with np.load(path) as file:
        return {name: file[name] for name in ARRAYS}


def _values(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Stored arrays as the numbers that they stand for, float32."""
    values = {name: array.astype(np.float32) for name, array in stored.items()}
    return values | {name: values[name] / 255 for name in ("gain", "strength")}


def read_signal(directory: Path) -> SignalSpec:
    """The signal path that a folder of shards was made with; older folders, which do not say, have the default one."""
    path = directory / SIGNAL_FILE
    return SignalSpec.from_json(path.read_text()) if path.exists() else SignalSpec()


class ShardStream:
    """Endless seeded batches from a directory of shards, which may still be growing.

    Parameters
    ----------
    directory : Path
    batch : int
        Sequences a batch.
    seed : int
    max_gb : float
        Shards kept in memory at most; beyond it those with the lowest numbers make room.
    share : (int, int)
        (i, n): use every n-th shard, from the i-th; for n processes that train together.

    Attributes
    ----------
    signal : SignalSpec
        What the shards were made with.
    step : int
        Batches drawn; set it to resume. The same step over the same shards gives the same batch.

    Raises
    ------
    ValueError
        There is no shard.
    """

    def __init__(
        self, directory: Path, batch: int, seed: int = 0, max_gb: float = 8.0, share: tuple[int, int] = (0, 1)
    ) -> None:
        self.directory, self.batch, self.seed, self.max_gb, self.share = directory, batch, seed, max_gb, share
        self.step = 0
        self.signal = read_signal(directory)
        self._shards: dict[Path, dict[str, np.ndarray]] = {}
        self.rescan()
        if not self._shards:
            missing = "no shard-*.npz" if share[1] == 1 else f"too few shard-*.npz for {share[1]} processes"
            raise ValueError(f"{directory} holds {missing}; make some with pyenhance train dataset")

    def rescan(self) -> None:
        """Pick up shards that have appeared; of those that do not fit together, the ones with the highest numbers."""
        kept: list[Path] = []
        size = 0
        first, count = self.share
        paths = [p for p in self.directory.glob("shard-*.npz") if int(p.stem.split("-")[1]) % count == first]
        for path in sorted(paths, reverse=True):
            size += path.stat().st_size
            if kept and size > self.max_gb * 1e9:
                break
            kept.append(path)
        for path in set(self._shards).difference(kept):
            del self._shards[path]
        # In the order of their numbers, whenever they appeared: a resumed run must draw what this one draws.
        self._shards = {path: self._shards.get(path) or read_shard(path) for path in reversed(kept)}

    def sequences(self, most: int) -> list[dict[str, np.ndarray]]:
        """The first sequences of the shards, at most so many; the arrays of one batch, without its first axis."""
        rows = [(shard, row) for shard in self._shards.values() for row in range(len(shard["vad"]))][:most]
        return [_values({name: shard[name][row] for name in ARRAYS}) for shard, row in rows]

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield dicts: features (B, T, F), gain, strength (B, T, bands), vad (B, T), band_mask (B, bands); float32."""
        while True:
            rng = np.random.default_rng([self.seed, self.step])
            if self.step % 100 == 99:
                self.rescan()
            shards = list(self._shards.values())
            picks = [(s := shards[i], rng.integers(len(s["vad"]))) for i in rng.integers(len(shards), size=self.batch)]
            self.step += 1
            yield _values({name: np.stack([shard[name][row] for shard, row in picks]) for name in ARRAYS})


class PoissonStream(ShardStream):
    """Endless batches into which each sequence goes by a coin of its own, so that their sizes differ, and may be 0.

    What differential privacy counts with. The coins are drawn with the seed, which nobody is to know then; the shards
    are those that are there at first.

    Parameters
    ----------
    directory, batch, seed, max_gb
        As of `ShardStream`; `batch` is how many sequences a batch has on average.

    Attributes
    ----------
    rate : float
        Probability of the coins.

    Raises
    ------
    ValueError
        There is no shard, there are fewer sequences than `batch`, or not all shards fit into `max_gb`.
    """

    def __init__(self, directory: Path, batch: int, seed: int = 0, max_gb: float = 8.0) -> None:
        super().__init__(directory, batch, seed, max_gb)
        self._places = [(shard, row) for shard in self._shards.values() for row in range(len(shard["vad"]))]
        if batch > len(self._places):
            raise ValueError(f"batch is {batch}, of {len(self._places)} sequences; accepted: at most as many")
        missing = len(list(directory.glob("shard-*.npz"))) - len(self._shards)
        if missing:
            raise ValueError(f"{missing} shards of {directory} do not fit into {max_gb:g} GB; accepted: all of them")
        self.rate = batch / len(self._places)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """As of `ShardStream`."""
        while True:
            drawn = np.flatnonzero(np.random.default_rng([self.seed, self.step]).random(len(self._places)) < self.rate)
            self.step += 1
            picks = [self._places[i] for i in drawn]
            first = self._places[0][0]
            batch = {n: np.stack([s[n][row] for s, row in picks]) if picks else first[n][:0] for n in ARRAYS}
            yield _values(batch)


def all_sequences(directory: Path, batch: int) -> Iterator[dict[str, np.ndarray]]:
    """Every sequence of a folder of shards once, whole and in order, in batches such as `ShardStream` yields.

    Raises
    ------
    ValueError
        There is no shard.
    """
    paths = sorted(directory.glob("shard-*.npz"))
    if not paths:
        raise ValueError(f"{directory} holds no shard-*.npz; make some with pyenhance train dataset")
    for shard in map(read_shard, paths):
        for first in range(0, len(shard["vad"]), batch):
            yield _values({name: shard[name][first : first + batch] for name in ARRAYS})


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not match or int(match[1]) > int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r}; accepted: K/N with 1 <= K <= N, such as 2/5")
    return int(match[1]), int(match[2])


def main(argv: list[str] | None = None) -> None:
    """Write shards: ``pyenhance train dataset --data DIR --out DIR --hours H``."""
    parser = argparse.ArgumentParser(prog="pyenhance train dataset", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="corpus: folders with the three manifests")
    parser.add_argument("--out", type=Path, required=True, help="folder of shards; those already there are kept")
    parser.add_argument("--hours", type=float, default=40, help="of mixed audio")
    parser.add_argument("--seconds", type=float, default=10, help="length of one sequence")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), help="licences")
    parser.add_argument("--split", choices=SPLITS, default="train", help="of the recordings")
    parser.add_argument(
        "--part", type=_part, default=(1, 1), metavar="K/N", help="the K-th of N parts, which share no speaker or noise"
    )
    parser.add_argument(
        "--counterfactual",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the talkers of known sex who speak with pitch and formants of the other one",
    )
    parser.add_argument(
        "--no-floor", action="store_true", help="take the steady noise of the recordings of speech off the targets"
    )
    parser.add_argument("--num-bands", type=int, default=SignalSpec.num_bands)
    parser.add_argument("--lookahead-frames", type=int, default=SignalSpec.lookahead_frames)
    parser.add_argument(
        "--fine-bins", type=int, default=SignalSpec.fine_bins, help="lowest bins that the network sees one by one"
    )
    parser.add_argument("--cache", type=Path, help="decoded audio (default: OUT/audio)")
    arguments = parser.parse_args(argv)
    try:
        signal = SignalSpec(arguments.num_bands, arguments.lookahead_frames, arguments.fine_bins)
        check_share(arguments.counterfactual)
        if any(arguments.out.glob("shard-*.npz")) and read_signal(arguments.out) != signal:
            raise ValueError(f"{arguments.out} holds shards of {read_signal(arguments.out)}; asked for: {signal}")
    except ValueError as error:
        parser.error(str(error))
    cache = arguments.cache or arguments.out / "audio"
    corpus_arguments = (
        arguments.data,
        arguments.split,
        tuple(arguments.groups),
        cache,
        arguments.workers,
        arguments.part,
    )
    mixer_arguments = (arguments.seconds, arguments.counterfactual, not arguments.no_floor)
    Mixer(Corpus(*corpus_arguments), *mixer_arguments)  # decode once, before the workers share it; errors show here
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / SIGNAL_FILE).write_text(signal.to_json())
    count = max(1, round(arguments.hours * 3600 / arguments.seconds / SEQUENCES_PER_SHARD))
    missing = [i for i in range(count) if not (arguments.out / f"shard-{i:05d}.npz").exists()]
    begin, hours = time.monotonic(), SEQUENCES_PER_SHARD * arguments.seconds / 3600
    start = (signal, corpus_arguments, *mixer_arguments)
    with ProcessPoolExecutor(arguments.workers, None, _start_worker, start) as pool:
        jobs = [pool.submit(_write_shard, arguments.out / f"shard-{i:05d}.npz", arguments.seed, i) for i in missing]
        for done, job in enumerate(as_completed(jobs), 1):
            speed = done * hours / ((time.monotonic() - begin) / 3600)
            print(f"{job.result().name}  {done}/{len(missing)}  {speed:.0f} times real time", flush=True)
    heard = speakers_heard(arguments.out)
    print(f"{sum(heard.values())} sequences of {len(heard)} speakers")


if __name__ == "__main__":
    main()

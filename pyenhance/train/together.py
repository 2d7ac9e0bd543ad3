"""Train several networks at once on one GPU; on a CPU the same, one after the other, to try a plan.

    python -m pyenhance.train.together PLAN.json --shards SHARDS... --valid VALID --out DIR --minutes 9

The plan says for each network, by its name, what `Entry` lists:

    {"wide": {"shape": "banded", "over": 1.75, "under": 0.1},
     "near": {"start": "default", "rate": 0.0005, "old": ["default"]}}

A step of a recurrent network is thousands of small kernels, one after the other, that leave a GPU idle. So each whole
step (batch drawn on the device, forward, backward, optimisers) is recorded once as a CUDA graph and replayed on a
stream of its own, beside those of the other networks. Shards lie in the device's memory, and those that appear while it
trains are taken up. int8 is simulated from the first step.

Launches bound a step, not arithmetic: batches of 8 to 16 should cost nearly what larger ones do, and each network more
at once takes steps from the others. Where time is short, few networks and small batches get the most steps; what seven
at once with 48 sequences each came to is in EXPERIMENTS.md.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..dsp import SignalSpec
from ..dsp.features import ENERGY_FLOOR
from ..model import SHAPES, load_model
from . import export, fit
from .dataset import all_sequences, read_shard, read_signal
from .loss import OVER, percepnet_loss

_QUEUED = 2  # steps of a network that wait on the device: one runs, one is next
_MEAN_OF = 20  # steps, about, of the reported losses
_RESCAN_S, _TELL_S, _SAVE_S = 1.0, 30.0, 120.0
_VALID_BATCH = 48
_KNOTS = 7  # of an equaliser's curve, over all bands
_FLOOR = 0.5 * math.log10(ENERGY_FLOOR) + 1.5  # of an energy as a feature


@dataclass(frozen=True)
class Entry:
    """A network of the plan.

    Attributes
    ----------
    shape : str
        Of a fresh network, one of `model.SHAPES`.
    start : str
        A model from whose weights to begin instead.
    rate, warm_up, over, under, high, alpha, beta, seed
        See `fit.TrainOptions`.
    batch, frames : int
        Sequences a step, and frames of each.
    old : sequence of str
        Models near which it stays.
    equaliser_db : float
        Of `Equaliser`; 0: none.
    lookahead : int
        Frames of look-ahead: it is trained on those shards that have as many.

    Raises
    ------
    ValueError
        A value that is not accepted.
    """

    shape: str = ""
    start: str = ""
    rate: float = 2e-3
    warm_up: int = 100
    batch: int = 16
    frames: int = 250
    over: float = OVER
    under: float = 0.0
    high: float = 1.0
    old: Sequence[str] = ()
    alpha: float = 1.0
    beta: float = 5.0
    equaliser_db: float = 0.0
    lookahead: int = SignalSpec.lookahead_frames
    seed: int = 0

    def __post_init__(self) -> None:
        if bool(self.shape) == bool(self.start):
            raise ValueError(f"shape is {self.shape!r} and start {self.start!r}; accepted: one of the two")
        if self.shape and self.shape not in SHAPES:
            raise ValueError(f"shape is {self.shape!r}; accepted: {', '.join(SHAPES)}")
        for name in ("rate", "batch", "frames", "warm_up"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted: above 0")


def read_plan(path: Path) -> dict[str, Entry]:
    """Entries by name, from a JSON file.

    Raises
    ------
    ValueError
        What the file says is no plan.
    """
    try:
        plan = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(plan, dict) or not plan:
        raise ValueError(f"{path} holds {plan!r}; accepted: an object of entries, by name")
    entries = {}
    for name, given in plan.items():
        try:
            if name != Path(name).name:
                raise ValueError("it names files; accepted: names without a folder")
            values = _of_entry(given)
            entries[name] = Entry(**values)
        except ValueError as error:
            raise ValueError(f"{path}, {name!r}: {error}") from error
    return entries


def _of_entry(given: Any) -> dict[str, Any]:
    """What JSON says of an entry's fields, checked by the type of their defaults."""
    defaults = {field.name: field.default for field in fields(Entry)}
    if not isinstance(given, dict) or not set(given) <= set(defaults):
        raise ValueError(f"{given!r}; accepted: an object of {', '.join(defaults)}")
    for name, value in given.items():
        default = defaults[name]
        if isinstance(default, float):
            fits = type(value) in (int, float) and math.isfinite(value)
        elif isinstance(default, tuple):
            fits = isinstance(value, list) and all(type(item) is str for item in value)
        else:
            fits = type(value) is type(default)
        if not fits:
            raise ValueError(f"{name} is {value!r}; accepted: such as {json.dumps(default)}")
    return dict(given)


def _on(stream: torch.cuda.Stream | None) -> AbstractContextManager[Any]:
    return torch.cuda.stream(stream) if stream else nullcontext()


class DeviceShards:
    """Sequences of shards in a device's memory, at places that do not move, as graphs need it.

    Parameters
    ----------
    folders : sequence of Path
        Of one signal path; they may still be growing.
    device : torch.device
    max_gb : float
        Memory to be set aside; shards for which there is no room are left out.

    Attributes
    ----------
    signal : SignalSpec
    sequences : int

    Raises
    ------
    ValueError
        There is no shard, or one is of another length than the first.
    """

    def __init__(self, folders: Sequence[Path], device: torch.device, max_gb: float) -> None:
        self.signal = read_signal(folders[0])
        self.sequences = 0
        self._folders, self._device = folders, device
        self._equaliser = Equaliser(self.signal, device)
        self._seen: set[Path] = set()
        self._waiting: list[Path] = []
        self._next_scan = 0.0
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._rescan()
        if not self._waiting:
            raise ValueError(f"{folders[0]} holds no shard-*.npz; make some with pyenhance train dataset")
        first = read_shard(self._waiting[0])
        count = len(first["vad"])
        capacity = max(count, int(max_gb * 1e9 / sum(array.nbytes for array in first.values()) * count))
        self._arrays = {
            name: torch.empty((capacity, *array.shape[1:]), dtype=torch.from_numpy(array).dtype, device=device)
            for name, array in first.items()
        }
        self._count = torch.zeros((), dtype=torch.int64, device=device)
        while self.load_next():
            pass

    def _rescan(self) -> None:
        found = {path for folder in self._folders for path in folder.glob("shard-*.npz")}
        self._waiting += sorted(found - self._seen)
        self._seen |= found
        self._next_scan = time.monotonic() + _RESCAN_S

    def load_next(self) -> bool:
        """Take up one shard, if there is a new one and room for it."""
        if not self._waiting and time.monotonic() >= self._next_scan:
            self._rescan()
        if not self._waiting:
            return False
        path = self._waiting.pop(0)
        shard = read_shard(path)
        begin, end = self.sequences, self.sequences + len(shard["vad"])
        if end > len(self._arrays["vad"]):
            print(f"no room for {path}", file=sys.stderr)
            return True
        with _on(self._stream):
            for name, array in shard.items():
                place = self._arrays[name][begin:end]
                if place.shape != array.shape:
                    raise ValueError(f"{path} has {name} of shape {array.shape}; accepted: {tuple(place.shape)}")
                place.copy_(torch.from_numpy(array))
            self._count.fill_(end)  # only now may they be drawn
        self.sequences = end
        return True

    def draw(self, batch: int, frames: int, equaliser_db: float = 0.0) -> dict[str, Tensor]:
        """Random stretches of random sequences, as `ShardStream` yields them, drawn and put together on the device.

        Each as another microphone would have heard it, if `equaliser_db` is not 0: see `Equaliser`.
        """
        length = self._arrays["vad"].shape[1]
        frames = min(frames, length)
        which, where, beginning = torch.rand(3, batch, device=self._device)
        row = (which * self._count).long().minimum(self._count - 1)
        last = length - frames
        start = (where * (last + 1)).long().clamp_max(last) * (beginning >= fit.BEGINNINGS)
        step = start[:, None] + torch.arange(frames, device=self._device)
        values = {
            name: (array[row] if name == "band_mask" else array[row[:, None], step]).float()
            for name, array in self._arrays.items()
        }
        values |= {name: values[name] / 255 for name in ("gain", "strength")}
        if equaliser_db:
            values["features"] = self._equaliser(values["features"], equaliser_db)
        return values


class Equaliser:
    """Random smooth frequency responses for features: speech and noise as another microphone would have heard them.

    Both change alike, so gains, strengths, coherences and pitch do not; energies do, by the same number of dB in all
    frames, and the level that they are relative to does, here by that of the whole stretch.

    Parameters
    ----------
    signal : SignalSpec
    device : torch.device
    """

    def __init__(self, signal: SignalSpec, device: torch.device) -> None:
        bands, fine = signal.num_bands, signal.fine_bins
        bins = np.arange(1, fine + 1)
        columns = [*range(bands), *range(signal.num_features - fine, signal.num_features)]
        place = np.concatenate((np.arange(bands), np.interp(bins, signal.band_centres, np.arange(bands))))
        knots = np.linspace(0, bands - 1, _KNOTS)
        curves = np.stack([np.interp(place, knots, one) for one in np.eye(_KNOTS)])
        spread = np.zeros((_KNOTS, signal.num_features), np.float32)
        spread[:, columns] = curves
        self._bands = bands
        self._curves, self._energies = (
            torch.from_numpy(array).to(device) for array in (spread, np.abs(spread).sum(0) > 0)
        )

    def __call__(self, features: Tensor, most_db: float) -> Tensor:
        """As heard through a response of each sequence's own.

        Parameters
        ----------
        features : Tensor, shape (B, T, num_features), float32
        most_db : float
            Of a response, up or down; of each sequence a share of it.
        """
        batch, bands = len(features), self._bands
        up = torch.rand(batch, _KNOTS + 1, device=features.device)
        knots = (2 * up[:, :_KNOTS] - 1) * up[:, _KNOTS:] * (most_db / 20)  # a feature is 20 dB
        heard = features + (knots @ self._curves)[:, None]
        power, before = ((10 ** (2 * x[..., :bands])).sum((1, 2), keepdim=True) for x in (heard, features))
        heard = (heard + 0.5 * torch.log10(before / power)).clamp_min(_FLOOR)
        return torch.where(self._energies, heard, features)


@dataclass
class Place:
    """Where a network is in its data: what `Trainer` must know of it."""

    signal: SignalSpec
    batch: int
    step: int = 0


def _trainer(entry: Entry, signal: SignalSpec, device: torch.device) -> fit.Trainer:
    own = {field.name for field in fields(fit.TrainOptions)}
    given = {field.name: getattr(entry, field.name) for field in fields(Entry) if field.name in own}
    options = fit.TrainOptions(**given, quantise_from=0.0, device=str(device))
    place = Place(signal, entry.batch)
    network = fit.starting_network(signal, entry.shape, entry.start or None, entry.seed)
    return fit.Trainer(network, place, options, [load_model(name) for name in entry.old])


class Lane:
    """A network in training, on a stream of its own.

    Parameters
    ----------
    name : str
    entry : Entry
    shards : DeviceShards
    device : torch.device
    checkpoint : Path
        Gone on from, if it is there.

    Attributes
    ----------
    trainer : Trainer

    Raises
    ------
    ValueError
        A start or an old model that does not fit the shards, or a checkpoint of another network.
    """

    def __init__(self, name: str, entry: Entry, shards: DeviceShards, device: torch.device, checkpoint: Path) -> None:
        self.name, self.entry = name, entry
        self._shards, self._checkpoint = shards, checkpoint
        self.trainer = _trainer(entry, shards.signal, device)
        if checkpoint.exists():
            self.trainer.load(checkpoint)
        self.trainer.average.module.quantise = True
        self._spent_before = self.trainer.spent
        self._names: list[str] = []
        self._mean: Tensor | None = None
        self._queue: list[torch.cuda.Event] = []
        self._stream = self._graph = None
        if device.type == "cuda":
            self._stream, self._graph = torch.cuda.Stream(device), torch.cuda.CUDAGraph()
            self._record()

    def _work(self) -> None:
        """One step, all of it on the device: it waits for no number."""
        loss, parts = self.trainer.losses(
            self._shards.draw(self.entry.batch, self.entry.frames, self.entry.equaliser_db)
        )
        self.trainer.descend(loss)
        self._names = ["loss", *parts]
        now = torch.stack([loss.detach(), *parts.values()])
        if self._mean is None:
            self._mean = now.clone()
        self._mean.lerp_(now, 1 / _MEAN_OF)

    def _record(self) -> None:
        self.trainer.schedule()
        self.trainer.set_rate(0.0)
        torch.cuda.synchronize()
        with self.on_stream():  # what is made at the first step must be there before; at a rate of 0 nothing is learnt
            for _ in range(2):
                self._work()
        torch.cuda.synchronize()
        self.trainer.network.zero_grad()
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._work()
        torch.cuda.synchronize()

    def on_stream(self) -> AbstractContextManager[Any]:
        """In which what is asked of the device comes after this network's steps."""
        return _on(self._stream)

    def ready(self) -> bool:
        """Whether the device wants another step of this network."""
        self._queue = [event for event in self._queue if not event.query()]
        return len(self._queue) < _QUEUED

    def step(self, elapsed: float, length: fit.Length) -> None:
        """Take a step, or put it into the device's queue, so many seconds after the beginning."""
        trainer = self.trainer
        with self.on_stream():
            trainer.stream.step += 1
            trainer.schedule()
            if self._graph:
                self._graph.replay()
            else:
                self._work()
            if trainer.step % fit.SYNC_STEPS == 0:
                self._average()
            if self._stream:
                self._queue.append(self._stream.record_event())
        trainer.spent = trainer.step if length.steps else self._spent_before + elapsed
        trainer.progress = trainer.spent / length.budget

    def _average(self) -> None:
        """As `Trainer.synchronise`, but the times are counted here: to ask the device for them would be to wait."""
        average, times = self.trainer.average, self.trainer.step // fit.SYNC_STEPS
        weights = [parameter.detach() for parameter in self.trainer.network.parameters()]
        fit.move_average(list(average.module.parameters()), weights, times)
        average.n_averaged.fill_(times)

    def losses(self) -> dict[str, float]:
        """Means of the loss and its parts over the last steps."""
        with self.on_stream():
            return dict(zip(self._names, self._mean.tolist(), strict=True)) if self._mean is not None else {}

    @torch.no_grad()
    def valid(self, batches: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
        """Mean parts of the loss of the moving average, gains that are too high weighing `OVER`."""
        sums: dict[str, float] = {}
        count = 0
        with self.on_stream():
            for batch in batches:
                size = len(batch["vad"])
                _, parts = percepnet_loss(*self.trainer.average.module(batch["features"]), batch)
                sums = {name: sums.get(name, 0.0) + size * float(part) for name, part in parts.items()}
                count += size
        return {name: value / count for name, value in sums.items()}

    def save(self, weights: Path, data: str) -> None:
        """Write checkpoint and weights file."""
        facts = export.training_facts(data) | {"training_steps": str(self.trainer.step)}
        with self.on_stream():
            self.trainer.save(self._checkpoint)
            weights.write_bytes(export.weights_bytes(self._shards.signal, self.trainer.average.module, facts))


def train(
    lanes: Sequence[Lane],
    shards: Sequence[DeviceShards],
    length: fit.Length,
    out: Path,
    valid: Mapping[SignalSpec, Sequence[Mapping[str, Tensor]]],
    data: str = "",
) -> None:
    """Train until each is over; one whose loss is no number any more is left as it was saved last.

    Parameters
    ----------
    lanes : sequence of Lane
    shards : sequence of DeviceShards
    length : Length
        All of each network's run, what its checkpoint says included.
    out : Path
        Folder of checkpoints and weights, written every two minutes and at the end.
    valid : mapping
        Batches on the device on which networks of a signal path are judged when they are saved.
    data : str
        What they are trained on, for the metadata.
    """
    begin = time.monotonic()
    told = saved = begin
    running = [lane for lane in lanes if lane.trainer.spent < length.budget]
    while running:
        ready = [lane for lane in running if lane.ready()]
        for lane in ready:
            lane.step(time.monotonic() - begin, length)
        if not any([memory.load_next() for memory in shards]) and not ready:
            time.sleep(0.0005)
        ended = {lane.name for lane in running if lane.trainer.progress >= 1}
        now = time.monotonic()
        if not ended and now - told < _TELL_S:
            continue
        told = now
        saving = now - saved > _SAVE_S
        saved = now if saving else saved
        for lane in running:
            losses = lane.losses()
            _tell(lane.name, f"step {lane.trainer.step}", losses)
            if not math.isfinite(losses["loss"]):
                ended.add(lane.name)
                print(f"{lane.name}: stopped, its loss is {losses['loss']}", file=sys.stderr)
            elif saving or lane.name in ended:
                lane.save(out / f"{lane.name}.safetensors", data)
                if batches := valid.get(lane.trainer.stream.signal):
                    _tell(lane.name, "valid", lane.valid(batches))
        running = [lane for lane in running if lane.name not in ended]


def _tell(name: str, what: str, losses: Mapping[str, float]) -> None:
    text = " ".join(f"{part} {value:.4f}" for part, value in losses.items())
    print(f"{name} {what} {text}", file=sys.stderr, flush=True)


def by_signal(folders: Iterable[Path]) -> dict[SignalSpec, list[Path]]:
    """Folders of shards of each signal path."""
    found: dict[SignalSpec, list[Path]] = {}
    for folder in folders:
        found.setdefault(read_signal(folder), []).append(folder)
    return found


def main(argv: list[str] | None = None) -> None:
    """Train what a plan says."""
    parser = argparse.ArgumentParser(
        prog="python -m pyenhance.train.together",
        description=__doc__,
        epilog=f"An entry's fields: {', '.join(field.name for field in fields(Entry))}. Batches are of {Entry.batch}: "
        "a network that has few minutes wants many steps, not large ones.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("plan", type=Path, metavar="PLAN.json")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="folders, of one or more look-aheads")
    parser.add_argument("--valid", type=Path, nargs="+", default=[], help="folders of shards to judge by")
    parser.add_argument("--out", type=Path, required=True, help="folder: NAME.pt, resumed, and NAME.safetensors")
    parser.add_argument("--minutes", type=float, default=9, help="length of the run, from the first step")
    parser.add_argument("--steps", type=int, default=0, help="its length in steps of each network instead")
    parser.add_argument("--max-gb", type=float, default=12, help="of shards on the device")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--data", default="", help="what it was trained on, for the metadata")
    arguments = parser.parse_args(argv)
    device = torch.device(arguments.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, which holds all that int8 does
    try:
        plan = read_plan(arguments.plan)
        folders = by_signal(arguments.shards)
        ahead = {signal.lookahead_frames: signal for signal in folders}
        if len(ahead) < len(folders):
            raise ValueError(f"shards of {', '.join(map(str, folders))}; accepted: one for each look-ahead")
        for name, entry in plan.items():
            if entry.lookahead not in ahead:
                raise ValueError(f"{name!r}: lookahead is {entry.lookahead}; the shards have {sorted(ahead)}")
        wanted = {entry.lookahead for entry in plan.values()}
        memory = {
            look: DeviceShards(folders[ahead[look]], device, arguments.max_gb / len(wanted)) for look in sorted(wanted)
        }
        arguments.out.mkdir(parents=True, exist_ok=True)
        lanes = []
        for name, entry in plan.items():
            begin = time.monotonic()
            lanes.append(Lane(name, entry, memory[entry.lookahead], device, arguments.out / f"{name}.pt"))
            print(f"{name}: ready after {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)
        valid = {
            signal: [
                {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
                for folder in found
                for batch in all_sequences(folder, _VALID_BATCH)
            ]
            for signal, found in by_signal(arguments.valid).items()
        }
    except (ValueError, OSError) as error:
        parser.error(str(error))
    torch.manual_seed(sum(lane.trainer.step for lane in lanes))  # a run that is resumed draws on, not again
    length = fit.Length(arguments.minutes, arguments.steps)
    train(lanes, list(memory.values()), length, arguments.out, valid, arguments.data)


if __name__ == "__main__":
    main()

"""Train a lean and a full stack, and the arbitrator that chooses one for each frame; or tell what they are worth.

    python -m pyenhance.train.amortize --start tiny --shards SHARDS --out RUN.pt -o lean.safetensors
    python -m pyenhance.train.amortize --report lean.safetensors --shards VALID --pairs MIXES

After "Amortized neural networks for low-latency speech recognition" (Macoskey et al., Interspeech 2021). The two stacks
share all layers and their state (`model.with_lean_part`): a frame's step of the units that lean frames hold is weighted
by the arbitrator's probability, whose logit is multiplied by a temperature that rises until the choice is a choice. The
loss is the task's, a charge for the mean cost, and one for lean frames while no sound waits. What waits is simulated:
devices of 0.3 to 4 times the speed that the full stack needs, with stalls, run by the arbitrator as it is so far. A
quarter of the sequences of a batch is all full and a quarter all lean, so that either stack can do without the other.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..align import padded, trimmed
from ..dsp import HOP, SAMPLE_RATE
from ..enhancer import Enhancer
from ..measure import gain_loss
from ..model import Model, load_model, with_lean_part
from ..nn import ARBITRATOR
from . import export, fit
from .dataset import ShardStream, all_sequences
from .network import Network, backlog_shares, load_int8

SPEEDS = (0.3, 4.0)
"""Of simulated devices: the slowest and the fastest, in units of what the full stack needs."""

MACHINES = (0.4, 0.7, 1.0, 2.0)
"""Speeds of the devices of the report."""

_STALLS, _STALL_HOPS = 0.002, (5, 40)  # how many of the hops, and for how long
_WAITING_FIRST = 30  # hops, at most, with which half of the training sequences begin
_TEMPERATURES = (1.0, 40.0)
_WATCH = "watch"  # the arbitrator's own GRU
_MS_PER_HOP = 1000 * HOP / SAMPLE_RATE


@dataclass(frozen=True)
class AmortizePlan:
    """What is wanted.

    Attributes
    ----------
    lean : float
        Share of each GRU's units that lean frames update.
    cost : float
        Weight of the mean cost of a frame, in units of a full one, as far as it is above the budget.
    budget : float
    backlog : float
        Weight of the share of frames that are lean while less than a hop waits.
    """

    lean: float = 0.125
    cost: float = 0.3
    budget: float = 0.7
    backlog: float = 0.05


class Devices:
    """Simulated devices, each with a stream of hops to enhance, one after the other.

    Parameters
    ----------
    speed : Tensor, shape (B,)
        In units of what the full stack needs.
    stalls : Tensor, shape (T, B), optional
        For how many hops each stands still after each of T hops; see `drawn_stalls`.
    waiting : Tensor, shape (B,), optional
        Hops' worth of work that each begins with.

    Attributes
    ----------
    wait : Tensor, shape (B,)
        How long the next hop will have waited when its turn comes, in hops: as many wait behind it.
    """

    def __init__(self, speed: Tensor, stalls: Tensor | None = None, waiting: Tensor | None = None) -> None:
        self._speed = speed
        self._stalls: Iterator[Tensor | float] = repeat(0.0) if stalls is None else iter(stalls)
        self.wait = torch.zeros_like(speed) if waiting is None else waiting

    def run(self, cost: Tensor | float) -> None:
        """Enhance it, at costs of shape (B,), in units of a full frame's; the next hop comes."""
        self.wait = (self.wait + cost / self._speed + next(self._stalls) - 1).clamp_min(0)


def drawn_stalls(steps: int, count: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Hops for which devices stand still after each hop, hardly ever any; shape (steps, count)."""
    chance, length = torch.rand(2, steps, count, device=device, generator=generator)
    shortest, longest = _STALL_HOPS
    return (chance < _STALLS) * (shortest + (longest - shortest) * length)


def drawn_devices(steps: int, count: int, device: torch.device, generator: torch.Generator | None = None) -> Devices:
    """Devices of any of `SPEEDS`, half of which begin with some work, for so many hops."""
    fast, waiting, idle = torch.rand(3, count, device=device, generator=generator)
    low, high = map(math.log, SPEEDS)
    stalls = drawn_stalls(steps, count, device, generator)
    return Devices(torch.exp(low + (high - low) * fast), stalls, _WAITING_FIRST * waiting * (idle < 0.5))


def lean_cost(spec: Any) -> float:
    """Multiply-adds of a lean frame, in units of a full one's."""
    return spec.lean_multiply_adds / spec.multiply_adds


class AmortizeTrainer(fit.Trainer):
    """Trains both stacks and the arbitrator together.

    Parameters
    ----------
    network : Network
        With lean parts, as `with_lean_part` makes them.
    stream : ShardStream
    plan : AmortizePlan
    options : TrainOptions
    """

    def __init__(self, network: Network, stream: ShardStream, plan: AmortizePlan, options: fit.TrainOptions) -> None:
        super().__init__(network, stream, options)
        self.plan = plan
        self._temperature = torch.tensor(_TEMPERATURES[0], device=self.device)

    def schedule(self) -> None:
        """As of `Trainer`, and the temperature."""
        super().schedule()
        first, last = _TEMPERATURES
        self._temperature.fill_(first * (last / first) ** min(self.progress, 1.0))

    def _shape(self) -> dict[str, str]:
        return super()._shape() | {name: str(value) for name, value in asdict(self.plan).items()}

    def _run(self, target: dict[str, Tensor]) -> dict[str, Tensor]:
        features = target["features"]
        count, steps = features.shape[:2]
        generator = None  # a GPU's own, from which graphs draw anew each time
        if self.device.type == "cpu":
            generator = torch.Generator().manual_seed((self.options.seed << 32) + self.step)
        waiting = simulated_backlog(self.network, features, drawn_devices(steps, count, self.device, generator))
        free = max(count // 2, 1)  # these the arbitrator chooses for; then all full, and all lean
        lean_from = free + (count - free + 1) // 2

        def choose(logit: Tensor) -> Tensor:
            share = torch.sigmoid(self._temperature * logit[:, :free])
            self._share, self._alone = share, (waiting[:free].T < 1).float()
            forced = share.new_zeros(len(logit), count - free)
            forced[:, : lean_from - free] = 1
            return torch.cat((share, forced), 1)

        return self.network.run(features, waiting, choose)

    def _charges(self) -> dict[str, Tensor]:
        lean = lean_cost(self.network.spec)
        cost = lean + (1 - lean) * self._share.mean()
        charges = {"cost": self.plan.cost * torch.relu(cost - self.plan.budget)}
        return charges | {"backlog": self.plan.backlog * ((1 - self._share) * self._alone).mean()}

    def _facts(self) -> dict[str, Tensor]:
        decided = (self._share - 0.5).abs() > 0.499
        return {"full": self._share.detach().mean(), "decided": decided.float().mean()}


@torch.no_grad()
def simulated_backlog(network: Network, features: Tensor, devices: Devices) -> Tensor:
    """Hops that wait behind each, where the arbitrator as it is chooses for devices.

    Parameters
    ----------
    network : Network
    features : Tensor, shape (B, T, inputs)
    devices : Devices
        B of them.

    Returns
    -------
    Tensor, shape (B, T), whole numbers
    """
    watch, head = network.get_submodule(_WATCH), network.get_submodule(ARBITRATOR)
    seen = network.run(features, until=_WATCH)[watch.spec.sources[0]]
    width, units = seen.shape[-1], watch.spec.units
    of_backlog, of_hidden = watch.weight_ih[:, width:].T.contiguous(), watch.weight_hh.T.contiguous()
    projected = F.linear(seen.float(), watch.weight_ih[:, :width], watch.bias_ih)
    lean = lean_cost(network.spec)
    h = watch.begun(network.quantise).expand(len(features), -1)
    waiting = []
    for own in projected:
        waiting.append(torch.floor(devices.wait).to(h.dtype))
        shares = backlog_shares(waiting[-1])
        gates, hidden = torch.addmm(own, shares, of_backlog), torch.addmm(watch.bias_hh, h, of_hidden)
        rz = torch.sigmoid(gates[:, : 2 * units] + hidden[:, : 2 * units])
        n = torch.tanh(gates[:, 2 * units :] + rz[:, :units] * hidden[:, 2 * units :])
        h = torch.lerp(n, h, rz[:, units:])
        logit = F.linear(torch.cat((h, shares), 1), head.weight, head.bias)[:, 0]
        devices.run(torch.where(logit > 0, 1.0, lean))
    return torch.stack(waiting, 1)


def starting_network(model: Model, plan: AmortizePlan, seed: int) -> Network:
    """A model's weights with lean parts, and an arbitrator that has learnt nothing."""
    given = load_int8(model)
    torch.manual_seed(seed)
    return fit.widened(given, with_lean_part(given.spec, plan.lean))


# What they are worth


class Policy(NamedTuple):
    """Who chooses. `choose`: (hop number, voice activity of the hop before) -> full; None: the arbitrator does."""

    name: str
    model: Model
    choose: Callable[[int, float], bool] | None


def policies(models: Sequence[Model], full_share: float) -> list[Policy]:
    """Those of the table; the first model's stacks are those that others choose from.

    Parameters
    ----------
    models : sequence of Model
        With lean parts.
    full_share : float
        Of the frames of the random choice.
    """
    first = models[0]
    draws = np.random.default_rng(0).random(1 << 16) < full_share
    fixed = [
        Policy("full alone", first, lambda k, voice: True),
        Policy("lean alone", first, lambda k, voice: False),
        Policy("random", first, lambda k, voice: bool(draws[k % len(draws)])),
        Policy("voice activity", first, lambda k, voice: voice > 0.5),
    ]
    return fixed + [Policy(f"arbitrator of {model.name}", model, None) for model in models]


class Walk(NamedTuple):
    """A policy's way through a sequence: the share of full frames, waits in hops, shape (T,), and gains (T, bands)."""

    full_share: float
    waits: np.ndarray
    gain: np.ndarray


def walk(policy: Policy, features: np.ndarray, devices: Devices) -> Walk:
    """Frame by frame, as a live stream is enhanced on one device.

    Parameters
    ----------
    policy : Policy
    features : ndarray, shape (T, num_features), float32
    devices : Devices
        One.
    """
    model, memory = policy.model, policy.model.network.new_memory()
    lean, voice, full = lean_cost(model.network.spec), 0.0, 0
    waits = np.zeros(len(features))
    gains = np.zeros((len(features), model.signal.num_bands), np.float32)
    names = ("gain", "vad", ARBITRATOR)
    for k in range(len(features)):
        waits[k] = float(devices.wait)
        effort = "auto" if policy.choose is None else "full" if policy.choose(k, voice) else "lean"
        found = model.runner.layers(features[k : k + 1], memory, names, float(np.floor(waits[k])), effort)
        gains[k], voice = found["gain"], float(found["vad"][0, 0])
        chosen = bool(found[ARBITRATOR][0, 0] > 0.5)
        full += chosen
        devices.run(1 if chosen else lean)
    return Walk(full / len(features), waits, gains)


def worth(policy: Policy, sequences: Sequence[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Share of full frames, multiply-adds and gain loss where nothing waits; and how long hops wait on each machine.

    Parameters
    ----------
    policy : Policy
    sequences : sequence of dict
        Whole sequences, as `ShardStream.sequences` returns them.
    """
    spec = policy.model.network.spec
    free = [walk(policy, row["features"], Devices(torch.tensor([math.inf]))) for row in sequences]
    losses = [
        gain_loss(way.gain, row["gain"], np.broadcast_to(row["band_mask"] > 0, way.gain.shape))
        for way, row in zip(free, sequences, strict=True)
    ]
    share = float(np.mean([way.full_share for way in free]))
    facts: dict[str, Any] = {"full": share, "gain_loss": float(np.mean(losses))}
    facts["multiply_adds"] = spec.lean_multiply_adds + share * (spec.multiply_adds - spec.lean_multiply_adds)
    for speed in MACHINES:
        ways = []
        for k, row in enumerate(sequences):
            stalls = drawn_stalls(len(row["features"]), 1, torch.device("cpu"), torch.Generator().manual_seed(k))
            ways.append(walk(policy, row["features"], Devices(torch.tensor([speed]), stalls)))
        waits = _MS_PER_HOP * np.concatenate([way.waits for way in ways])
        full = float(np.mean([way.full_share for way in ways]))
        facts[f"machine {speed:g}"] = (float(waits.mean()), float(np.percentile(waits, 99)), full)
    return facts


def enhanced(policy: Policy, noisy: np.ndarray) -> np.ndarray:
    """A clip as a policy's choices have it where nothing waits, shape (n,), aligned."""
    enhancer = Enhancer(policy.model)
    latency = enhancer.latency_samples
    out = []
    for k, hop in enumerate(padded(noisy, latency, HOP).reshape(-1, 1, HOP)):
        if policy.choose is None:
            out.append(enhancer.process_hops(hop, backlog=0))
        else:
            out.append(enhancer.process_hops(hop, lean=not policy.choose(k, enhancer.last_hop.voice)))
    return trimmed(np.concatenate(out), len(noisy), latency)


def report(models: Sequence[Model], shards: Path, most: int, pairs: Path | None, every: int) -> str:
    """The table, in Markdown.

    Parameters
    ----------
    models : sequence of Model
        With lean parts.
    shards : Path
        Folder of shards that they were not trained on.
    most : int
        Sequences of these, at most.
    pairs : Path, optional
        Mixes to be scored, of which every `every`-th is; see `evaluate.pairs`.
    """
    sequences = [row for batch in all_sequences(shards, 1) for row in _rows(batch)][:most]
    arbitrated = worth(Policy("", models[0], None), sequences)
    machines = [f"wait at {speed:g}: mean, p99 (ms), full" for speed in MACHINES]
    heads = ["choice", "full frames", "multiply-adds a hop", "gain loss", "PESQ-WB", "SI-SDR, dB", *machines]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join(["---"] * len(heads)) + " |"]
    for policy in policies(models, arbitrated["full"]):
        facts = worth(policy, sequences)
        scores = _scores(policy, pairs, every) if pairs else {}
        cells = [policy.name, f"{facts['full']:.0%}", f"{facts['multiply_adds']:,.0f}", f"{facts['gain_loss']:.4f}"]
        cells += [f"{scores[name]:{form}}" if scores else "" for name, form in (("pesq_wb", ".3f"), ("si_sdr", ".2f"))]
        for speed in MACHINES:
            mean, late, full = facts[f"machine {speed:g}"]
            cells.append(f"{mean:.1f}, {late:.0f}, {full:.0%}")
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines) + "\n"


def _rows(batch: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    return [{name: array[k] for name, array in batch.items()} for k in range(len(batch["vad"]))]


def _scores(policy: Policy, folder: Path, every: int) -> dict[str, float]:
    from ..evaluate.metrics import Scorer
    from ..evaluate.pairs import load_pairs, read_pair

    scorer, found = Scorer(), []
    for pair in load_pairs(folder)[::every]:
        clean, noisy = read_pair(pair)
        found.append(scorer(clean, enhanced(policy, noisy)))
    return {name: float(np.nanmean([score[name] for score in found])) for name in ("pesq_wb", "si_sdr")}


def main(argv: list[str] | None = None) -> None:
    """Train, or report."""
    parser = argparse.ArgumentParser(prog="python -m pyenhance.train.amortize", description=__doc__.splitlines()[0])
    fit.add_arguments(parser)
    parser.add_argument("--shards", type=Path, required=True, help="folder written by pyenhance.train.dataset")
    parser.add_argument("--start", default="tiny", metavar="MODEL", help="whose weights the full stack begins with")
    for name, text in (
        ("lean", "share of each GRU's units that lean frames update"),
        ("cost", "weight of a frame's mean cost above the budget"),
        ("budget", "of that cost, in units of a full frame's"),
        ("backlog", "weight of lean frames while no sound waits"),
    ):
        parser.add_argument(f"--{name}", type=float, default=getattr(AmortizePlan, name), help=text)
    parser.add_argument("--out", type=Path, help="checkpoint; resumed when it is there")
    parser.add_argument("-o", "--output", type=Path, help="weights file, of the moving average")
    parser.add_argument("--data", default="", help="what it was trained on, for the metadata")
    parser.add_argument("--report", nargs="+", metavar="MODEL", help="print the table of these models instead")
    parser.add_argument("--sequences", type=int, default=16, help="of the shards, for the table")
    parser.add_argument("--pairs", type=Path, help="mixes to be scored for the table")
    parser.add_argument("--every", type=int, default=4, help="score every so many of them")
    arguments = parser.parse_args(argv)
    if arguments.report:
        models = [load_model(name) for name in arguments.report]
        for model in models:
            if not model.network.spec.has_lean:
                parser.error(f"model {model.name!r} has no lean part; accepted: models that have one")
        print(report(models, arguments.shards, arguments.sequences, arguments.pairs, arguments.every), end="")
        return
    if arguments.out is None or arguments.output is None:
        parser.error("--out and -o are needed, or --report")
    stream = fit.open_stream(arguments, 0, 1)
    plan = AmortizePlan(**{name: getattr(arguments, name) for name in asdict(AmortizePlan())})
    options = replace(fit.options_of(arguments), quantise_from=0.0)
    try:
        start = load_model(arguments.start)
        if start.signal != stream.signal:
            raise ValueError(f"model {arguments.start!r} has {start.signal}; the shards have {stream.signal}")
        trainer = AmortizeTrainer(starting_network(start, plan, arguments.seed), stream, plan, options)
    except ValueError as error:
        parser.error(str(error))
    fit.run(trainer, arguments.out, fit.length_of(arguments))
    network = trainer.average.module
    arguments.output.write_bytes(export.weights_bytes(stream.signal, network, export.training_facts(arguments.data)))


if __name__ == "__main__":
    main()

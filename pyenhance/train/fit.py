"""Train a network on feature shards; CPU or GPU, resumable.

Several processes, started by torchrun, train together on shares of the shards: each takes steps of its own, and every
`SYNC_STEPS` steps they go on from the mean of their weights (local SGD, arXiv 1805.09767). On a CPU that beats one
process with many threads, because the recurrent layers' small products do not use more than one core well:

    torchrun --nproc-per-node 4 -m -- pyenhance.train.fit --shards DIR --out CHECKPOINT --threads 1

(Without the ``--`` torchrun takes ``--start`` for an abbreviation of an option of its own.)
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.nn import functional as F

from ..dsp import HOP, SAMPLE_RATE, SignalSpec
from ..federated.privacy import Budget
from ..model import SHAPES, Model, load_model, named_shape, with_backward_part
from ..nn import NetworkSpec
from .dataset import PoissonStream, ShardStream
from .loss import GOOD_WITHIN, OVER, band_weights, congruence_loss, percepnet_loss
from .muon import Muon
from .network import Network, answers, load_int8
from .old import OldModels
from .precision import fastest_dtype
from .private import per_example_losses, set_private_gradients

SYNC_STEPS = 10
_AVERAGE_DECAY = 0.98  # each SYNC_STEPS steps, once there are enough of them
BEGINNINGS = 0.3
"""Share of the batches that start where their sequences do: often, for there the level follower knows nothing yet."""


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes
    ----------
    rate : float
        Highest learning rate.
    warm_up : int
        Steps until it is reached.
    quantise_from : float
        Share of the run before int8 is simulated.
    over : float
        Weight of gains that are too high (`loss.OVER`).
    under : float
        Weight of the term against over-suppressed speech; see `percepnet_loss`.
    high : float
        What bands above `loss.HIGH_HZ` count, against 1 below.
    dtype : torch.dtype
        Number type of the large products.
    device : str
    seed : int
    alpha, beta, good_within : float
        See `congruence_loss`; where there are old models.
    old_heads : float
        Weight of the loss of the old models' heads on the new body.
    """

    rate: float = 2e-3
    warm_up: int = 100
    quantise_from: float = 0.6
    over: float = OVER
    under: float = 0.0
    high: float = 1.0
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    seed: int = 0
    alpha: float = 1.0
    beta: float = 5.0
    good_within: float = GOOD_WITHIN
    old_heads: float = 0.0


class Trainer:
    """A network, its moving average, optimisers and place in the data.

    Parameters
    ----------
    network : Network
        Fresh, or one to begin from (see `load_int8`).
    stream : ShardStream
        Or what else has its signal, batch and step.
    options : TrainOptions
    old : sequence of Model
        Models near which the new one stays; see `OldModels`.
    budget : Budget, optional
        Of differential privacy, of a sequence, over all steps: gradients are then clipped sequence by sequence, and
        noise is added (DP-SGD, see `private`). Its rate is the stream's.

    Raises
    ------
    ValueError
        An old model of another signal path than the shards', heads that do not fit the network, or a budget with old
        models or with batches that are not drawn as it counts.
    """

    def __init__(
        self,
        network: Network,
        stream: ShardStream,
        options: TrainOptions | None = None,
        old: Sequence[Model] = (),
        budget: Budget | None = None,
    ) -> None:
        if budget and (old or not isinstance(stream, PoissonStream) or stream.rate != budget.rate):
            raise ValueError("a privacy budget with old models or other batches; accepted: a PoissonStream of its rate")
        self.budget = budget
        self.options = options = options or TrainOptions()
        self.device = torch.device(options.device)
        if budget:
            self._noise = torch.Generator(self.device)
            self._noise.seed()  # by the system: noise that can be foretold hides nothing
        self.network = network.to(self.device)
        self.average = torch.optim.swa_utils.AveragedModel(self.network, multi_avg_fn=move_average)
        self.old = OldModels(old, stream.signal, network.spec if options.old_heads else None).to(self.device)
        self.optimisers = _optimisers(self.network, options)
        self.stream = stream
        weights = band_weights(stream.signal.band_centres_hz, options.high).to(self.device)
        self.loss = partial(percepnet_loss, over=options.over, under=options.under, band_weight=weights)
        self.progress = 0.0  # share of the run that is done, by time or by steps
        self.spent = 0.0  # of the run's budget

    @property
    def step(self) -> int:
        """Batches trained on."""
        return self.stream.step

    def train_step(self, batch: dict[str, Any]) -> dict[str, float]:
        """One optimisation step; returns the loss and its parts."""
        target = {name: torch.from_numpy(array).to(self.device, non_blocking=True) for name, array in batch.items()}
        self.schedule()
        if self.budget:
            return self._private_step(target, self.budget)
        loss, parts = self.losses(target)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss is {loss.item()} at step {self.step}")
        self.descend(loss)
        return {"loss": loss.item()} | {name: part.item() for name, part in parts.items()}

    def losses(self, target: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a batch, and its parts and what else to report, detached; all on the device."""
        options = self.options
        with torch.autocast(self.device.type, options.dtype, enabled=options.dtype != torch.float32):
            outputs = self.network.run(target["features"])
            gain, strength, vad = answers(outputs)
            old_gain = self.old.gain(target["features"])
            on_body = self.old.heads_on(outputs) if options.old_heads else []
        loss, parts = self.loss(gain, strength, vad, target)
        if old_gain is not None:
            congruence, good = congruence_loss(gain, old_gain, target, options.alpha, options.beta, options.good_within)
            loss = loss + congruence
            parts |= {"congruence": congruence.detach(), "good": good}
        if on_body:
            losses, heads = zip(*(self.loss(*given, target) for given in on_body), strict=True)
            loss = loss + options.old_heads * torch.stack(losses).mean()
            parts["old_heads"] = torch.stack([own["gain"] for own in heads]).mean()
        return loss, parts

    def descend(self, loss: torch.Tensor) -> None:
        """One step of the optimisers down a loss."""
        self.network.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.network.limit_weights()

    def schedule(self) -> None:
        """Set what depends on the steps and on the progress so far: rates, and whether int8 is simulated."""
        options = self.options
        warm = min(1.0, self.step / options.warm_up)
        decay = 0.5 * (1 + math.cos(math.pi * min(self.progress, 1.0)))
        self.set_rate(options.rate * warm * (0.02 + 0.98 * decay))
        self.network.quantise = self.progress >= options.quantise_from

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next step."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                if isinstance(group["lr"], torch.Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def _private_step(self, target: dict[str, torch.Tensor], budget: Budget) -> dict[str, float]:
        """As `train_step`, but no loss is told: it would tell of the data, and is not counted."""
        set_private_gradients(
            self.network,
            target["features"],
            lambda *logits: per_example_losses(logits, target, self.loss),
            clip=budget.clip,
            noise_multiplier=budget.noise_multiplier,
            expected=float(self.stream.batch),
            generator=self._noise,
        )
        for optimiser in self.optimisers:
            optimiser.step()
        self.network.limit_weights()
        return {}

    def synchronise(self, budget: float) -> None:
        """Agree with the other processes on weights and progress, and go into the moving average.

        Parameters
        ----------
        budget : float
            Length of the run in the units of `spent`: see `Length`.
        """
        self.agree(budget)
        self.average.update_parameters(self.network)

    @torch.no_grad()
    def agree(self, budget: float) -> None:
        """Take the mean of all processes' weights and progress."""
        if distributed.is_initialized():
            flat = torch.nn.utils.parameters_to_vector([*self.network.parameters(), torch.tensor([self.spent])])
            distributed.all_reduce(flat)
            flat /= distributed.get_world_size()
            torch.nn.utils.vector_to_parameters(flat[:-1], self.network.parameters())
            self.spent = float(flat[-1])
        self.progress = self.spent / budget

    def save(self, path: Path) -> None:
        """Write a checkpoint from which `load` resumes exactly."""
        part = path.with_suffix(".part")
        torch.save(
            {
                **self._shape(),
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "step": self.step,
                "progress": self.progress,
                "spent": self.spent,
                "epsilon": self.budget.spent(self.step) if self.budget and self.step else 0.0,
            },
            part,
        )
        os.replace(part, path)

    def _shape(self) -> dict[str, str]:
        facts = {"signal": self.stream.signal.to_json(), "layers": self.network.spec.to_json()}
        return facts | {"old": " ".join(self.old.sums), "privacy": _in_words(self.budget)}

    def load(self, path: Path) -> None:
        """Resume from a checkpoint of the same network and signal path."""
        saved = torch.load(path, map_location=self.device, weights_only=True)
        for name, value in self._shape().items():
            found = saved.get(name, "")  # a checkpoint that does not say was made without
            if found != value:
                raise ValueError(f"{path} holds {name} {found or '(none)'}; this run has {value or '(none)'}")
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            own = optimiser.state_dict()["param_groups"]  # rates and the like are this run's, and its device's
            optimiser.load_state_dict({"state": state["state"], "param_groups": own})
        self.stream.step, self.progress, self.spent = saved["step"], saved["progress"], saved["spent"]


def _in_words(budget: Budget | None) -> str:
    """What a checkpoint says of a budget: all that its epsilon follows from, but for the steps."""
    if budget is None:
        return ""
    noise = f"clip {budget.clip:g}, noise multiplier {budget.noise_multiplier:.4g}, rate {budget.rate:.4g}"
    return f"delta {budget.delta:g}, of a sequence; {noise}"


def _optimisers(network: Network, options: TrainOptions) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for biases and heads.

    After six minutes on one core Muon had reached a gain loss a tenth lower than AdamW alone. On a GPU rates lie in its
    memory, so that a graph of a step reads them anew each time.
    """
    gpu = torch.device(options.device).type == "cuda"
    rate = torch.tensor(options.rate, device=options.device) if gpu else options.rate
    heads = ("gain.", "strength.", "vad.")
    hidden = {n for n, p in network.named_parameters() if p.ndim == 2 and not n.startswith(heads)}
    matrices = [p for n, p in network.named_parameters() if n in hidden]
    others = [p for n, p in network.named_parameters() if n not in hidden]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), capturable=gpu)]
    if matrices:
        optimisers.insert(0, Muon(matrices, rate, options.dtype))
    return optimisers


@torch.no_grad()
def move_average(averages: list[torch.Tensor], weights: list[torch.Tensor], count: torch.Tensor | int) -> None:
    """A moving average that is short while little was averaged, so that a short run is not held at its start."""
    decay = min(_AVERAGE_DECAY, (1 + int(count)) / (10 + int(count)))
    torch._foreach_lerp_(averages, weights, 1 - decay)


def averaged_network(path: Path) -> tuple[SignalSpec, Network]:
    """The moving average of a checkpoint's weights, ready for evaluation with simulated int8, and its signal path."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if "base" in saved:
        raise ValueError(f"{path} is the checkpoint of a diff, which train diff writes itself")
    signal = SignalSpec.from_json(saved["signal"])
    network = Network(NetworkSpec.from_json(saved["layers"], signal.num_features))
    prefix = "module."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in saved["average"].items() if k.startswith(prefix)})
    network.quantise = True
    return signal, network.eval()


def starting_network(signal: SignalSpec, shape: str, model: str | None, seed: int, backward: int = 0) -> Network:
    """A fresh network of a named shape, or a model's; with a part that goes backward of so many units, if any.

    To begin with the heads ignore that part, and the first layer fine bins that the model does not know, so that a
    model's network computes what it did. Its lean frames are left out: they are made of the weights that are to change
    (`amortize` makes them of the new ones).

    Raises
    ------
    ValueError
        The model is unknown, or was made for another number of bands or for more fine bins.
    """
    torch.manual_seed(seed)
    if model is None:
        spec = named_shape(shape, signal)
        return Network(with_backward_part(spec, backward) if backward else spec)
    given = load_model(model)
    if given.signal.num_bands != signal.num_bands:
        raise ValueError(f"model {model!r} has {given.signal.num_bands} bands; the shards have {signal.num_bands}")
    if given.signal.fine_bins > signal.fine_bins:
        raise ValueError(f"model {model!r} has {given.signal.fine_bins} fine bins; the shards have {signal.fine_bins}")
    spec = replace(given.network.spec.with_lean({}), inputs=signal.num_features)
    return widened(load_int8(given), with_backward_part(spec, backward) if backward else spec)


def widened(network: Network, spec: NetworkSpec) -> Network:
    """A network of a list with more layers, which the others see last, if at all, and ignore: it computes the same.

    The weights of layers that are new are drawn; matrices that the list does not have, those of lean frames, are left.
    """
    wider, known, state = Network(spec), network.state_dict(), {}
    for name, value in wider.state_dict().items():
        found = known.get(name, value)
        state[name] = F.pad(found, (0, value.shape[-1] - found.shape[-1]))
    wider.load_state_dict(state)
    return wider


def _crop(batch: dict[str, Any], frames: int, step: int) -> dict[str, Any]:
    """The same random stretch of every sequence of the batch."""
    length = batch["vad"].shape[1]
    if frames >= length:
        return batch
    rng = np.random.default_rng(step)
    start = 0 if rng.random() < BEGINNINGS else int(rng.integers(length - frames + 1))
    return {k: v if k == "band_mask" else v[:, start : start + frames] for k, v in batch.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every command that trains."""
    parser.add_argument("--minutes", type=float, default=60, help="length of the run; the schedule follows it")
    parser.add_argument("--steps", type=int, default=0, help="its length in steps instead: the same on any machine")
    parser.add_argument("--batch", type=int, default=8, help="sequences a step and process")
    parser.add_argument("--frames", type=int, default=250, help="frames of each sequence a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--warm-up", type=int, default=100, help="steps")
    parser.add_argument("--over", type=float, default=OVER, help="weight of gains that are too high")
    parser.add_argument("--under", type=float, default=0.0, help="weight of a term against over-suppressed speech")
    parser.add_argument("--high", type=float, default=1.0, help="what bands above 5 kHz count, against 1 below")
    parser.add_argument("--old", nargs="+", default=[], metavar="MODEL", help="stay near it; several: near their mean")
    parser.add_argument("--alpha", type=float, default=1.0, help="how near everywhere")
    parser.add_argument("--beta", type=float, default=5.0, help="how much nearer where the old gain is good")
    parser.add_argument(
        "--good-within", type=float, default=GOOD_WITHIN, help="largest error of a good gain, as loudness"
    )
    parser.add_argument("--old-heads", type=float, default=0.0, help="weight of the old heads' loss on the new body")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU (0: torch's choice)")
    parser.add_argument("--max-gb", type=float, default=12, help="of shards in memory, all processes together")
    parser.add_argument("--log", type=Path, help="folder for TensorBoard")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of products (default: the faster one here)")
    parser.add_argument("--seed", type=int, default=0)


def options_of(arguments: argparse.Namespace) -> TrainOptions:
    """What the options of `add_arguments`, and others of the same names, say."""
    given = {field.name: getattr(arguments, field.name) for field in fields(TrainOptions) if field.name in arguments}
    name = arguments.dtype
    return TrainOptions(**given | {"dtype": getattr(torch, name) if name else fastest_dtype(arguments.device)})


@dataclass(frozen=True)
class Length:
    """How long a run is, and its sequences.

    Attributes
    ----------
    minutes : float
    steps : int
        In the place of minutes, unless it is 0.
    frames : int
        Of each sequence a step.
    """

    minutes: float = 60
    steps: int = 0
    frames: int = 250

    @property
    def budget(self) -> float:
        """Seconds, or steps."""
        return self.steps or 60 * self.minutes

    def left(self, spent: float) -> str:
        """What is left of the budget, in words."""
        left = max(self.budget - spent, 0)
        return f"{left:.0f} steps" if self.steps else f"{left / 60:.1f} min"


def length_of(arguments: argparse.Namespace) -> Length:
    """What the options of `add_arguments` say of the length of the run."""
    return Length(arguments.minutes, arguments.steps, arguments.frames)


@contextmanager
def processes() -> Iterator[tuple[int, int]]:
    """The number of this process and of all that torchrun started, which can talk to one another inside."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        distributed.init_process_group("gloo")
    yield rank, world
    if world > 1:
        distributed.destroy_process_group()


def open_stream(arguments: argparse.Namespace, rank: int, world: int) -> ShardStream:
    """This process' share of the shards."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return ShardStream(arguments.shards, arguments.batch, arguments.seed, arguments.max_gb / world, (rank, world))


def main(argv: list[str] | None = None) -> None:
    """Train: ``pyenhance train fit --shards DIR --out CHECKPOINT``."""
    parser = argparse.ArgumentParser(prog="pyenhance train fit", description=__doc__)
    add_arguments(parser)
    parser.add_argument("--shards", type=Path, required=True, help="folder written by pyenhance.train.dataset")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint; resumed when it is there")
    parser.add_argument("--shape", choices=SHAPES, default="default", help="of a fresh network")
    parser.add_argument("--start", metavar="MODEL", help="begin from the weights of a model instead")
    parser.add_argument(
        "--backward", type=int, default=0, metavar="UNITS", help="add a part that goes backward, for whole recordings"
    )
    parser.add_argument("--quantise-from", type=float, default=0.6, help="share of the run before int8 is simulated")
    parser.add_argument("--dp-epsilon", type=float, help="budget of a sequence's differential privacy over all --steps")
    parser.add_argument("--dp-delta", type=float, default=1e-5, help="of the budget")
    parser.add_argument("--dp-noise", type=float, help="noise multiplier, in the place of the least for all --steps")
    parser.add_argument("--clip", type=float, help="largest norm of a sequence's gradient, with a budget")
    arguments = parser.parse_args(argv)
    with processes() as (rank, world):
        length = length_of(arguments)
        try:
            stream, budget = open_stream(arguments, rank, world), None
            if arguments.dp_epsilon is not None:
                stream, budget = _private(arguments, world)
                length = replace(length, steps=budget.rounds_within())
            network = starting_network(
                stream.signal, arguments.shape, arguments.start, arguments.seed, arguments.backward
            )
            old = [load_model(name) for name in arguments.old]
            trainer = Trainer(network, stream, options_of(arguments), old, budget)
        except ValueError as error:
            parser.error(str(error))
        run(trainer, arguments.out, length, report=rank == 0, log=arguments.log)


def _private(arguments: argparse.Namespace, world: int) -> tuple[PoissonStream, Budget]:
    """Batches and budget of private training; ValueError where it could not be counted."""
    if not arguments.steps or world > 1 or arguments.clip is None:
        raise ValueError(
            "--dp-epsilon counts the steps of one process; accepted: with --steps and --clip, without torchrun"
        )
    seed = int.from_bytes(os.urandom(6), "big")
    stream = PoissonStream(arguments.shards, arguments.batch, seed, arguments.max_gb)
    noise = math.nan if arguments.dp_noise is None else arguments.dp_noise
    budget = Budget(arguments.dp_epsilon, arguments.dp_delta, arguments.clip, stream.rate, arguments.steps, noise)
    return stream, budget


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("--log needs tensorboard: pip install 'pyenhance[train]'") from error
    return SummaryWriter(folder)


def run(trainer: Trainer, checkpoint: Path, length: Length, *, report: bool = True, log: Path | None = None) -> None:
    """Train until the run is over, from where the checkpoint stands if there is one.

    Parameters
    ----------
    trainer : Trainer
    checkpoint : Path
        Written every two minutes and at the end.
    length : Length
    report : bool
        Tell progress on standard error, and save: one process of several does.
    log : Path, optional
        Folder for TensorBoard.
    """
    budget = length.budget
    if checkpoint.exists():
        trainer.load(checkpoint)
        print(f"resumed at step {trainer.step}", file=sys.stderr)
        if trainer.spent >= budget:
            return
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    begin = last = saved = time.monotonic()
    first = trainer.step
    mean: dict[str, float] = {}
    board = _tensorboard(log) if report and log else None
    waited, asked = 0.0, begin
    for batch in trainer.stream:
        waited += time.monotonic() - asked
        losses = trainer.train_step(_crop(batch, length.frames, trainer.step))
        now = time.monotonic()
        trainer.spent += 1 if length.steps else now - last
        last = now
        asked = now
        mean = {k: 0.99 * mean.get(k, v) + 0.01 * v for k, v in losses.items()}
        ended = trainer.budget is not None and trainer.spent >= budget  # not a step more than was counted
        if trainer.step % SYNC_STEPS and not ended:
            continue
        trainer.synchronise(budget)
        over = trainer.progress >= 1
        if report and trainer.step % (10 * SYNC_STEPS) == 0:
            text = " ".join(f"{k} {v:.4f}" for k, v in mean.items())
            speed = (trainer.step - first) / (now - begin)
            hours = speed * trainer.stream.batch * length.frames * HOP / SAMPLE_RATE  # of audio, an hour
            print(
                f"step {trainer.step} {text} int8 {trainer.network.quantise} "
                f"{speed:.2f} steps/s, {hours:.1f} h of audio an hour, "
                f"{waited / (now - begin):.1%} of the time waiting for data, {length.left(trainer.spent)} left",
                file=sys.stderr,
                flush=True,
            )
            for name, value in mean.items() if board else ():
                board.add_scalar(name, value, trainer.step)
        if report and (over or now - saved > 120):
            trainer.save(checkpoint)
            saved = now
        if over:
            break
        asked = time.monotonic()


if __name__ == "__main__":
    main()

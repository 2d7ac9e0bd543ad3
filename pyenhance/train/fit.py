"""Train a network on feature shards; CPU or GPU, resumable.

Several processes, started by torchrun, train together on shares of the shards: each takes steps of its own, and every
`SYNC_STEPS` steps they go on from the mean of their weights (local SGD, arXiv 1805.09767). On a CPU that beats one
process with many threads, because the recurrent layers' small products do not use more than one core well:

    torchrun --nproc-per-node 4 -m pyenhance.train.fit --shards DIR --out CHECKPOINT --threads 1
"""

import argparse
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

from ..model.topology import TOPOLOGIES, Topology
from .dataset import ShardStream
from .loss import percepnet_loss
from .muon import Muon
from .network import PercepNet
from .precision import fastest_dtype

SYNC_STEPS = 10
_AVERAGE_DECAY = 0.98  # each SYNC_STEPS steps
_BEGINNINGS = 0.3  # share of the batches that start where their sequences do


class Trainer:
    """A network, its moving average, optimisers and place in the data.

    Parameters
    ----------
    topology : Topology
    stream : ShardStream
    arguments : argparse.Namespace
        As parsed by `main`.
    """

    def __init__(self, topology: Topology, stream: ShardStream, arguments: argparse.Namespace) -> None:
        torch.manual_seed(arguments.seed)
        self.arguments = arguments
        self.device = torch.device(arguments.device)
        self.network = PercepNet(topology).to(self.device)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(_AVERAGE_DECAY)
        )
        self.dtype = torch.float32 if arguments.float32 else fastest_dtype(arguments.device)
        self.optimisers = _optimisers(self.network, arguments.rate, self.dtype)
        self.stream = stream
        self.progress = 0.0  # share of the run that is done, by time or by steps
        self.spent = 0.0

    @property
    def step(self) -> int:
        """Batches trained on."""
        return self.stream.step

    def train_step(self, batch: dict[str, Any]) -> dict[str, float]:
        """One optimisation step; returns the loss and its parts."""
        arguments = self.arguments
        target = {name: torch.from_numpy(array).to(self.device, non_blocking=True) for name, array in batch.items()}
        warm = min(1.0, self.step / arguments.warm_up)
        decay = 0.5 * (1 + math.cos(math.pi * min(self.progress, 1.0)))
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = arguments.rate * warm * (0.02 + 0.98 * decay)
        self.network.quantise = self.progress >= arguments.quantise_from
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16):
            outputs = self.network(target["features"])
        loss, parts = percepnet_loss(*outputs, target)
        self.network.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss is {loss.item()} at step {self.step}")
        for optimiser in self.optimisers:
            optimiser.step()
        self.network.limit_weights()
        return {"loss": loss.item()} | {name: part.item() for name, part in parts.items()}

    @torch.no_grad()
    def synchronise(self, budget: float) -> None:
        """Agree with the other processes on weights and progress, and go into the moving average.

        Parameters
        ----------
        budget : float
            Length of the run in seconds.
        """
        if distributed.is_initialized():
            flat = torch.nn.utils.parameters_to_vector([*self.network.parameters(), torch.tensor([self.spent])])
            distributed.all_reduce(flat)
            flat /= distributed.get_world_size()
            torch.nn.utils.vector_to_parameters(flat[:-1], self.network.parameters())
            self.spent = float(flat[-1])
        self.progress = self.spent / budget
        self.average.update_parameters(self.network)

    def save(self, path: Path) -> None:
        """Write a checkpoint from which `load` resumes exactly."""
        part = path.with_suffix(".part")
        torch.save(
            {
                "topology": self.network.topology.to_json(),
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "step": self.step,
                "progress": self.progress,
                "spent": self.spent,
            },
            part,
        )
        os.replace(part, path)

    def load(self, path: Path) -> None:
        """Resume from a checkpoint of the same topology."""
        saved = torch.load(path, map_location=self.device, weights_only=True)
        if saved["topology"] != self.network.topology.to_json():
            raise ValueError(f"{path} holds {saved['topology']}; this run is {self.network.topology.to_json()}")
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.stream.step, self.progress, self.spent = saved["step"], saved["progress"], saved["spent"]


def _optimisers(network: PercepNet, rate: float, dtype: torch.dtype) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for biases and heads.

    After six minutes on one core Muon had reached a gain loss a tenth lower than AdamW alone.
    """
    heads = ("gain.", "strength.", "vad.")
    hidden = {n for n, p in network.named_parameters() if p.ndim == 2 and not n.startswith(heads)}
    matrices = [p for n, p in network.named_parameters() if n in hidden]
    others = [p for n, p in network.named_parameters() if n not in hidden]
    return [
        Muon(matrices, rate, dtype),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98)),
    ]


def averaged_network(path: Path) -> PercepNet:
    """The moving average of a checkpoint's weights, ready for evaluation with simulated int8."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    network = PercepNet(Topology.from_json(saved["topology"]))
    prefix = "module."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in saved["average"].items() if k.startswith(prefix)})
    network.quantise = True
    return network.eval()


def _crop(batch: dict[str, Any], frames: int, step: int) -> dict[str, Any]:
    """The same random stretch of every sequence of the batch."""
    length = batch["vad"].shape[1]
    if frames >= length:
        return batch
    rng = np.random.default_rng(step)
    # Often the very beginning: there the level follower knows nothing yet, and every stream begins.
    start = 0 if rng.random() < _BEGINNINGS else int(rng.integers(length - frames + 1))
    return {k: v if k == "band_mask" else v[:, start : start + frames] for k, v in batch.items()}


def main(argv: list[str] | None = None) -> None:
    """Train: ``pyenhance train fit --shards DIR --out CHECKPOINT``."""
    parser = argparse.ArgumentParser(prog="pyenhance train fit", description=__doc__)
    parser.add_argument("--shards", type=Path, required=True, help="folder written by pyenhance.train.dataset")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint; resumed when it is there")
    parser.add_argument("--topology", choices=TOPOLOGIES, default="default")
    parser.add_argument("--minutes", type=float, default=60, help="length of the run; the schedule follows it")
    parser.add_argument("--batch", type=int, default=8, help="sequences a step and process")
    parser.add_argument("--frames", type=int, default=250, help="frames of each sequence a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--warm-up", type=int, default=100, help="steps")
    parser.add_argument("--quantise-from", type=float, default=0.6, help="share of the run before int8 is simulated")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU (0: torch's choice)")
    parser.add_argument("--max-gb", type=float, default=12, help="of shards in memory, all processes together")
    parser.add_argument("--log", type=Path, help="folder for TensorBoard")
    parser.add_argument("--float32", action="store_true", help="no bfloat16, also where it is faster")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        distributed.init_process_group("gloo")
    stream = ShardStream(arguments.shards, arguments.batch, arguments.seed, arguments.max_gb / world, (rank, world))
    trainer = Trainer(TOPOLOGIES[arguments.topology], stream, arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    if arguments.out.exists():
        trainer.load(arguments.out)
        print(f"resumed at step {trainer.step}", file=sys.stderr)
    _run(trainer, arguments, report=rank == 0)
    if world > 1:
        distributed.destroy_process_group()


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("--log needs tensorboard: pip install 'pyenhance[train]'") from error
    return SummaryWriter(folder)


def _run(trainer: Trainer, arguments: argparse.Namespace, report: bool) -> None:
    """Train until the time is over; the process that reports also saves."""
    budget = arguments.minutes * 60
    begin = last = saved = time.monotonic()
    first = trainer.step
    mean: dict[str, float] = {}
    log = _tensorboard(arguments.log) if report and arguments.log else None
    waited, asked = 0.0, begin
    for batch in trainer.stream:
        waited += time.monotonic() - asked
        losses = trainer.train_step(_crop(batch, arguments.frames, trainer.step))
        now = time.monotonic()
        trainer.spent += now - last
        last = now
        asked = now
        mean = {k: 0.99 * mean.get(k, v) + 0.01 * v for k, v in losses.items()}
        if trainer.step % SYNC_STEPS:
            continue
        trainer.synchronise(budget)
        over = trainer.progress >= 1
        if report and trainer.step % (10 * SYNC_STEPS) == 0:
            text = " ".join(f"{k} {v:.4f}" for k, v in mean.items())
            speed = (trainer.step - first) / (now - begin)
            left = max(budget - trainer.spent, 0) / 60
            print(
                f"step {trainer.step} {text} int8 {trainer.network.quantise} {speed:.2f} steps/s, "
                f"{waited / (now - begin):.1%} of the time waiting for data, {left:.1f} min left",
                file=sys.stderr,
                flush=True,
            )
            for name, value in mean.items() if log else ():
                log.add_scalar(name, value, trainer.step)
        if report and (over or now - saved > 120):
            trainer.save(arguments.out)
            saved = now
        if over:
            break
        asked = time.monotonic()


if __name__ == "__main__":
    main()

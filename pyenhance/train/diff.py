"""Train a diff: an update of a model that is a few percent of its size.

Not the weights are trained but a second set D, zero at the start: new = base + D ("Learning a neural diff for speech
models", Macoskey et al., Interspeech 2021). The base's row scales stay, so that the result is whole int8 steps from the
base and `model.make_diff` holds it exactly.

- *sparse*: D is pruned while it trains, under a threshold that rises until the wanted share of entries is left;
- *hashed*: entries share the steps of B buckets (`model.diff.bucket_of`), which are what is trained.

Biases change sparsely in both.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from ..model import Model, load_model, make_diff, read_header
from ..model.diff import KINDS, bucket_of, changed_share, weights_bytes, write_whole
from ..nn import LEAN_MATRICES
from . import export, fit
from .dataset import ShardStream
from .network import WEIGHT_LEVELS, Network, load_int8

PRUNED_BY = 0.6
"""Share of the run after which nothing more is pruned: what is left makes up for what went."""


@dataclass(frozen=True)
class DiffPlan:
    """What a diff is to be.

    Attributes
    ----------
    kind : str, of `model.diff.KINDS`
    share : float
        Of the base's entries: those that may change (sparse), or the number of buckets (hashed).
    seed : int
        Of the hash.

    Raises
    ------
    ValueError
        An unknown kind, a share outside (0, 1] or a seed that is no whole number of 32 bits.
    """

    kind: str = "sparse"
    share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; accepted: {', '.join(KINDS)}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; accepted: above 0, up to 1 (0.1 is 10 %)")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; accepted: 0 to {2**32 - 1}")


class SparseChange(nn.Module):
    """base + D where D was not pruned; elsewhere the base to the bit.

    Parameters
    ----------
    base : Tensor, any shape

    Attributes
    ----------
    change : Parameter, shape of the base
        D, in the base's units.
    kept : Tensor, shape of the base, bool
    """

    def __init__(self, base: Tensor) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.zeros_like(base))
        self.register_buffer("kept", torch.ones_like(base, dtype=torch.bool))

    def forward(self, base: Tensor) -> Tensor:
        """The new weights."""
        return torch.where(self.kept, base + self.change, base)


class HashedChange(nn.Module):
    """Each entry of a matrix moved by its bucket's whole steps.

    Parameters
    ----------
    steps : Parameter, shape (B,)
        In units of `unit`; the matrices of a network share it.
    unit : float
        Size of a step in which `steps` is held: so that it learns at the rate at which weights do.
    scale : Tensor, shape (outputs,)
        Of the matrix's rows.
    buckets : Tensor, shape (outputs * inputs,), int32
        See `model.diff.bucket_of`.
    """

    def __init__(self, steps: nn.Parameter, unit: float, scale: Tensor, buckets: Tensor) -> None:
        super().__init__()
        self.steps, self.unit = steps, unit
        self.register_buffer("scale", scale)
        self.register_buffer("buckets", buckets, persistent=False)

    def forward(self, base: Tensor) -> Tensor:
        """The new weights, shape (outputs, inputs)."""
        steps = self.steps / self.unit
        # Rounded here, before it meets entries that stand apart by rounding errors: a bucket has one step.
        whole = torch.round(steps).clamp(-WEIGHT_LEVELS, WEIGHT_LEVELS)
        steps = steps + (whole - steps).detach()
        return base + steps.index_select(0, self.buckets).view_as(base) * self.scale[:, None]


def changing_network(base: Model, plan: DiffPlan) -> Network:
    """The network of a model whose weights are the model's, which stay, and a change, which can be trained.

    Parameters
    ----------
    base : Model
    plan : DiffPlan

    Returns
    -------
    Network
        Computes what the base does until it is trained. Matrices of lean frames stay as they are.
    """
    network = load_int8(base, freeze_scales=True)
    matrices = [name for name, (kind, _) in base.network.spec.tensors.items() if kind == "I8"]
    buckets = bucket_count(base, plan)
    steps = nn.Parameter(torch.zeros(buckets))
    unit = float(np.concatenate([base.tensors[f"{name}_scale"] for name in matrices]).mean())
    for name, weight in list(network.named_parameters()):
        layer_name, own = name.split(".")
        layer = getattr(network, layer_name)
        delattr(layer, own)
        layer.register_buffer(own, weight.detach())  # no parameter: nothing trains, averages or limits it
        if own in LEAN_MATRICES:
            continue
        change: nn.Module = SparseChange(weight.detach())
        if plan.kind == "hashed" and name in matrices:
            places = torch.from_numpy(bucket_of(name, weight.numel(), buckets, plan.seed)).to(torch.int32)
            change = HashedChange(steps, unit, getattr(layer, f"{own}_scale"), places)
        register_parametrization(layer, own, change)
    return network


def bucket_count(base: Model, plan: DiffPlan) -> int:
    """Buckets of a hashed diff: as many as a sparse one of the same share has entries."""
    return max(1, round(plan.share * base.network.spec.with_lean({}).weights))


def share_kept(progress: float, share: float) -> float:
    """Share of the entries that are left, from 1 to `share` (M. Zhu and S. Gupta, 2017, equation 1)."""
    left = max(0.0, 1 - progress / PRUNED_BY)
    return share + (1 - share) * left**3


@torch.no_grad()
def prune(network: Network, share: float) -> None:
    """Take back the smallest changes until no more than a share is left, of matrices and of biases alike.

    Parameters
    ----------
    network : Network
        Of `changing_network`.
    share : float, in (0, 1]
    """
    changes = [module for module in network.modules() if isinstance(module, SparseChange)]
    for group in ([c for c in changes if c.change.ndim == 2], [c for c in changes if c.change.ndim == 1]):
        _keep_largest(group, share)


def _keep_largest(changes: Sequence[SparseChange], share: float) -> None:
    if not changes:
        return
    sizes = torch.cat([(c.change.abs() * c.kept).flatten() for c in changes])
    pruned = len(sizes) - int(share * len(sizes))
    if not pruned:
        return
    threshold = sizes.kthvalue(pruned).values
    for c in changes:
        c.kept &= c.change.abs() > threshold
        c.change *= c.kept


class DiffTrainer(fit.Trainer):
    """Trains a diff.

    Parameters
    ----------
    base : bytes
        Weights file.
    stream : ShardStream
    plan : DiffPlan
    options : TrainOptions, optional
        `quantise_from` is 0 whatever it says: steps are whole from the start.
    old : sequence of Model
        As for `Trainer`.

    Raises
    ------
    ValueError
        The base is no weights file, or was made for another signal path than the shards; and as `Trainer`.
    """

    def __init__(
        self,
        base: bytes,
        stream: ShardStream,
        plan: DiffPlan,
        options: fit.TrainOptions | None = None,
        old: Sequence[Model] = (),
    ) -> None:
        model = load_model(base)
        if model.signal != stream.signal:
            raise ValueError(f"the base has {model.signal}; the shards have {stream.signal}")
        self.base, self.plan = base, plan
        self.buckets = bucket_count(model, plan)
        options = replace(options or fit.TrainOptions(), quantise_from=0)
        super().__init__(changing_network(model, plan), stream, options, old)

    def _shape(self) -> dict[str, str]:
        base = hashlib.sha256(self.base).hexdigest()
        return super()._shape() | {"base": base} | {name: str(value) for name, value in asdict(self.plan).items()}

    def agree(self, budget: float) -> None:
        """As `Trainer.agree`; then, with weights that all processes share, prune."""
        super().agree(budget)
        prune(self.network, share_kept(self.progress, self.plan.share))

    def result(self, metadata: Mapping[str, str] | None = None) -> tuple[bytes, bytes]:
        """The new weights file, of the moving average, and the diff that leads to it from the base."""
        new = export.weights_bytes(self.stream.signal, self.average.module, dict(metadata or {}))
        return new, make_diff(self.base, new, kind=self.plan.kind, buckets=self.buckets, seed=self.plan.seed)


def main(argv: list[str] | None = None) -> None:
    """Train a diff: ``pyenhance train diff --base MODEL --shards DIR -o UPDATE.diff``."""
    parser = argparse.ArgumentParser(prog="pyenhance train diff", description=__doc__)
    fit.add_arguments(parser)
    parser.add_argument("--shards", type=Path, required=True, help="folder written by pyenhance.train.dataset")
    parser.add_argument("--base", required=True, metavar="MODEL", help="a shipped model's name or a weights file")
    parser.add_argument("--kind", choices=KINDS, default=DiffPlan.kind)
    parser.add_argument(
        "--share", type=float, default=DiffPlan.share, help="of the weights that may change, or of buckets for them"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIFF")
    parser.add_argument("--checkpoint", type=Path, help="resumed when it is there (default: OUTPUT with .pt)")
    parser.add_argument("--data", default="", help="what it was trained on, for the metadata")
    parser.add_argument("--force", action="store_true", help="overwrite")
    arguments = parser.parse_args(argv)
    if arguments.output.exists() and not arguments.force:
        raise FileExistsError(f"{arguments.output} exists; --force overwrites it")
    checkpoint = arguments.checkpoint or arguments.output.with_suffix(".pt")
    with fit.processes() as (rank, world):
        stream = fit.open_stream(arguments, rank, world)
        try:
            plan = DiffPlan(arguments.kind, arguments.share, arguments.seed)
            old = [load_model(name) for name in arguments.old]
            trainer = DiffTrainer(weights_bytes(arguments.base), stream, plan, fit.options_of(arguments), old)
        except ValueError as error:
            parser.error(str(error))
        fit.run(trainer, checkpoint, fit.length_of(arguments), report=rank == 0, log=arguments.log)
        if rank == 0:
            new, diff = trainer.result(export.training_facts(arguments.data))
            write_whole(arguments.output, diff, force=arguments.force)
            facts = {"bytes": len(diff), "share": changed_share(trainer.base, new)}
            print(json.dumps(facts | asdict(read_header(diff))))


if __name__ == "__main__":
    main()

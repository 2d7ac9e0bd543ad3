"""An experiment: updates in a row, each for new speakers and noises, as diffs and as models that are retrained fully.

    python -m pyenhance.train.updates --base default --shards PART... --tests TEST... --steps 300 -o RUNS

Each folder of shards is an update, and has a folder of other mixes of its recordings to be tested on: `pyenhance train
dataset --part K/N` makes both, of speakers and noises that no two parts share. An update's folder may hold, as links,
the shards of those before it as well; without them the model forgets. A chain of full models and a chain of diffs for
each kind and share go through all of them, each update from the int8 model that the one before it left. The table tells
each chain's gain loss, int8, the mean over the tests of the updates so far, and how much more that is than the full
chain's. What was done is kept in RUNS and not done again: a run can be cut off.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..model import load_model
from ..model.diff import KINDS, changed_share, weights_bytes, write_whole
from . import export, fit
from .dataset import ShardStream, all_sequences
from .diff import DiffPlan, DiffTrainer
from .loss import percepnet_loss
from .network import Network, load_int8

FULL = "full"
SHARES = (0.1, 0.02, 0.014)
_FREE = ("output", "kinds", "shares", "device", "threads", "max_gb", "log")  # these leave a chain's figures as they are
_BATCH = 16  # sequences that are tested at once


@dataclass(frozen=True)
class Chain:
    """Updates of one sort, one after the other.

    Attributes
    ----------
    plan : DiffPlan or None
        None: the whole model is retrained.
    """

    plan: DiffPlan | None

    @property
    def name(self) -> str:
        """Also of its folder."""
        return f"{self.plan.kind}-{self.plan.share:g}" if self.plan else FULL


def shards_loss(network: Network, shards: Path, over: float) -> dict[str, float]:
    """Loss of simulated int8 over whole sequences of all shards, as `percepnet_loss` has it; its parts as well.

    Parameters
    ----------
    network : Network
    shards : Path
        Folder.
    over : float
        See `percepnet_loss`.
    """
    network.quantise = True
    sums: dict[str, float] = {}
    count = 0
    with torch.no_grad():
        for batch in all_sequences(shards, _BATCH):
            target = {name: torch.from_numpy(array) for name, array in batch.items()}
            loss, parts = percepnet_loss(*network(target["features"]), target, over=over)
            size = len(target["vad"])
            for name, value in ({"loss": loss} | parts).items():
                sums[name] = sums.get(name, 0.0) + size * value.item()
            count += size
    return {name: value / count for name, value in sums.items()}


def run_chain(chain: Chain, base: bytes, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All updates of a chain that are not done yet.

    Parameters
    ----------
    chain : Chain
    base : bytes
        Weights file that it begins with.
    arguments : Namespace
        Of `main`.

    Returns
    -------
    list of dict
        Of each update: gain, the gain loss on the tests so far, their mean; bytes; share of the weights that changed.
    """
    folder = arguments.output / chain.name
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, shards in enumerate(arguments.shards, 1):
        facts, weights, checkpoint = (folder / f"{number}.{kind}" for kind in ("json", "safetensors", "pt"))
        if not facts.exists():
            stream = ShardStream(shards, arguments.batch, arguments.seed + number, arguments.max_gb)
            trainer = _trainer(chain, base, stream, arguments)
            fit.run(trainer, checkpoint, fit.length_of(arguments))
            if isinstance(trainer, DiffTrainer):
                new, update = trainer.result()
                write_whole(folder / f"{number}.diff", update, force=True)
            else:
                new = update = export.weights_bytes(stream.signal, trainer.average.module, {})
            write_whole(weights, new, force=True)
            row = {"gain": gain_loss(new, arguments.tests[:number], arguments.over)}
            row |= {"bytes": len(update), "share": changed_share(base, new)}
            write_whole(facts, json.dumps(row).encode())
            checkpoint.unlink(missing_ok=True)
            print(f"{chain.name} {number}: {json.dumps(row)}", file=sys.stderr, flush=True)
        base = weights.read_bytes()
        rows.append(json.loads(facts.read_text()))
    return rows


def _trainer(chain: Chain, base: bytes, stream: ShardStream, arguments: argparse.Namespace) -> fit.Trainer:
    options, old = fit.options_of(arguments), [load_model(name) for name in arguments.old]
    if chain.plan:
        return DiffTrainer(base, stream, chain.plan, options, old)
    options = replace(options, quantise_from=0, rate=arguments.full_rate or options.rate)
    model = load_model(base)
    return fit.Trainer(fit.widened(load_int8(model), model.network.spec.with_lean({})), stream, options, old)


def gain_loss(weights: bytes, tests: Sequence[Path], over: float) -> float:
    """Gain loss of a weights file, int8, the mean over folders of shards; see `shards_loss`."""
    network = load_int8(load_model(weights), freeze_scales=True)
    return float(np.mean([shards_loss(network, shards, over)["gain"] for shards in tests]))


def table(before: Sequence[float], chains: dict[str, Sequence[dict[str, Any]]]) -> str:
    """Markdown: the gain loss of each chain after each update, and how far it is from the full one's.

    Parameters
    ----------
    before : sequence of float
        Gain loss of the base on the tests of the first update, of the first two, and so on.
    chains : dict of str to sequence of dict
        What `run_chain` returns, by the chain's name; `FULL` among them.
    """
    full = [row["gain"] for row in chains[FULL]]
    heads = ["chain", *map(str, range(1, len(full) + 1)), "bytes an update", "weights changed"]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join(["---"] * len(heads)) + " |"]
    lines.append("| " + " | ".join(["base", *(f"{loss:.4f}" for loss in before), "", ""]) + " |")
    for name, rows in chains.items():
        cells = [name]
        for row, reference in zip(rows, full, strict=True):
            relative = "" if name == FULL else f" ({row['gain'] / reference - 1:+.1%})"
            cells.append(f"{row['gain']:.4f}{relative}")
        cells += [
            f"{np.mean([row[key] for row in rows]):{form}}" for key, form in (("bytes", ",.0f"), ("share", ".1%"))
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    """Run the experiment, or what is left of it, and print its table."""
    parser = argparse.ArgumentParser(prog="python -m pyenhance.train.updates", description=__doc__.splitlines()[0])
    fit.add_arguments(parser)
    parser.add_argument(
        "--shards", type=Path, nargs="+", required=True, help="a folder for each update, in their order"
    )
    parser.add_argument("--base", default="default", metavar="MODEL", help="a shipped model's name or a weights file")
    parser.add_argument("--tests", type=Path, nargs="+", required=True, help="a folder for each update, not trained on")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--full-rate", type=float, help="highest learning rate of the full chain (default: --rate)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of what was done")
    arguments = parser.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    base = weights_bytes(arguments.base)
    if len(arguments.tests) != len(arguments.shards):
        parser.error(f"{len(arguments.tests)} tests of {len(arguments.shards)} updates; accepted: one of each")
    try:
        plans = [DiffPlan(kind, share, arguments.seed) for kind in arguments.kinds for share in arguments.shares]
        arguments.output.mkdir(parents=True, exist_ok=True)
        _keep_settings(arguments.output / "settings.json", base, arguments)
    except ValueError as error:
        parser.error(str(error))
    alone = [gain_loss(base, [shards], arguments.over) for shards in arguments.tests]
    before = [float(np.mean(alone[:number])) for number in range(1, len(alone) + 1)]
    chains = {chain.name: run_chain(chain, base, arguments) for chain in (Chain(None), *map(Chain, plans))}
    print(table(before, chains), end="")


def _keep_settings(path: Path, base: bytes, arguments: argparse.Namespace) -> None:
    """What all chains of a folder have in common; ValueError where it holds what was done with other settings."""
    settings = {name: str(value) for name, value in vars(arguments).items() if name not in _FREE}
    settings["base"] = hashlib.sha256(base).hexdigest()
    if not path.exists():
        write_whole(path, json.dumps(settings).encode())
        return
    for name, value in json.loads(path.read_text()).items():
        if settings[name] != value:
            raise ValueError(f"{path.parent} holds updates with {name} {value}; asked for: {settings[name]}")


if __name__ == "__main__":
    main()

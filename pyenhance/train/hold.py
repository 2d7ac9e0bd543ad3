"""Have a model's layers hold what has hardly changed; or tell what that saves, and what it costs.

    python -m pyenhance.train.hold default --steps 6 -o held.safetensors
    python -m pyenhance.train.hold held.safetensors --shards VALID --pairs MIXES --every 5

The weights stay as they are, and nothing is trained: with all effort the result is the model's, bit for bit.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..align import padded, trimmed
from ..dsp import HOP, SAMPLE_RATE
from ..enhancer import Enhancer
from ..measure import gain_loss
from ..model import Model, load_model, with_hold, write_weights
from ..model.diff import write_whole
from ..nn import BACKLOG, INPUT, KINDS, LayerSpec, NetworkSpec
from .amortize import MACHINES, Devices, drawn_stalls
from .dataset import ShardStream
from .initial import KEPT

_MS_PER_HOP = 1000 * HOP / SAMPLE_RATE
_CHOICES = ("full", "auto", "lean")


def held_model(model: Model, steps: int) -> bytes:
    """A weights file of the model's weights, whose layers hold."""
    facts = {key: model.metadata[key] for key in KEPT if key in model.metadata}
    return write_weights(model.signal, with_hold(model.network.spec, steps), model.tensors, facts)


def _changes(outputs: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """How many of a layer's outputs are not what they were a frame ago, shape (K,)."""
    return (np.diff(outputs[name], axis=0, prepend=before[name][None]) != 0).sum(1)


def multiply_adds(
    spec: NetworkSpec, outputs: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray] | None = None
) -> np.ndarray:
    """Multiply-adds of each frame, if inputs that are as they were a frame ago cost none.

    Features and the backlog count as changed, and so does all that layers see which work band by band. A convolution's
    sum over several frames, and a GRU's over its own state, have their changes when these are new: over many frames
    that is the same.

    Parameters
    ----------
    spec : NetworkSpec
    outputs : mapping of str to ndarray, shape (K, units)
        Of all layers.
    before : mapping of str to ndarray, shape (units,), optional
        Those of the frame before; zeros by default.

    Returns
    -------
    ndarray, shape (K,), float64
    """
    count = len(outputs[spec.layers[0].name])
    first = before or {layer.name: np.zeros(layer.units, np.float32) for layer in spec.layers}
    changed = {layer.name: _changes(outputs, first, layer.name) for layer in spec.layers}
    changed |= {name: np.full(count, spec.widths[name]) for name in (INPUT, BACKLOG)}
    total = np.zeros(count)
    for layer in spec.layers:
        total += _of_layer(spec, layer, changed)
    return total


def _of_layer(spec: NetworkSpec, layer: LayerSpec, changed: Mapping[str, np.ndarray]) -> np.ndarray:
    inputs = spec.inputs_of(layer)
    matrices = KINDS[layer.kind].matrices(layer, inputs)
    if layer.bands > 1:
        return np.array(layer.bands * sum(rows * columns for rows, columns in matrices.values()), float)
    seen = sum(changed[source] for source in layer.sources)
    return sum(
        (rows * (changed[layer.name] if name == "weight_hh" else seen * (columns // inputs)).astype(float))
        for name, (rows, columns) in matrices.items()
    )


def walk(
    model: Model, features: np.ndarray, devices: Devices, effort: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame by frame, as a live stream is enhanced on one device.

    Parameters
    ----------
    model : Model
    features : ndarray, shape (K, num_features), float32
    devices : Devices
        One, whose time goes by the multiply-adds of each frame.
    effort : str

    Returns
    -------
    gain : ndarray, shape (K, bands)
    cost : ndarray, shape (K,)
        Multiply-adds.
    waits : ndarray, shape (K,), hops
    """
    spec, memory, names = model.network.spec, model.network.new_memory(), tuple(model.network.layers)
    before = {layer.name: np.zeros(layer.units, np.float32) for layer in spec.layers}
    gain, cost, waits = np.zeros((len(features), model.signal.num_bands)), np.zeros(len(features)), []
    for k in range(len(features)):
        waits.append(float(devices.wait))
        found = model.runner.layers(features[k : k + 1], memory, names, math.floor(waits[-1]), effort)
        whole = effort == "full" or not spec.passed_on
        cost[k] = spec.multiply_adds if whole else multiply_adds(spec, found, before)[0]
        before = {name: values[0] for name, values in found.items()}
        gain[k] = before["gain"]
        devices.run(cost[k] / spec.multiply_adds)
    return gain, cost, np.array(waits)


def worth(model: Model, effort: str, sequences: Sequence[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Multiply-adds a hop and gain loss where nothing waits; and how long hops wait on each machine: mean, p99, ms."""
    costs, losses = [], []
    for row in sequences:
        gain, cost, _ = walk(model, row["features"], Devices(torch.tensor([math.inf])), effort)
        costs.append(cost.mean())
        losses.append(gain_loss(gain, row["gain"], np.broadcast_to(row["band_mask"] > 0, gain.shape)))
    facts: dict[str, Any] = {"multiply_adds": float(np.mean(costs)), "gain_loss": float(np.mean(losses))}
    for speed in MACHINES:
        waits = []
        for k, row in enumerate(sequences):
            stalls = drawn_stalls(len(row["features"]), 1, torch.device("cpu"), torch.Generator().manual_seed(k))
            waits.append(walk(model, row["features"], Devices(torch.tensor([speed]), stalls), effort)[2])
        joined = _MS_PER_HOP * np.concatenate(waits)
        facts[f"machine {speed:g}"] = (float(joined.mean()), float(np.percentile(joined, 99)))
    return facts


def enhanced(model: Model, noisy: np.ndarray, effort: str) -> np.ndarray:
    """A clip as live sound has it where nothing waits, shape (n,), aligned."""
    enhancer = Enhancer(model, effort="full" if effort == "full" else "auto")
    latency = enhancer.latency_samples
    hops = padded(noisy, latency, HOP).reshape(-1, 1, HOP)
    out = np.concatenate([enhancer.process_hops(hop, lean=effort == "lean") for hop in hops])
    return trimmed(out, len(noisy), latency)


def report(model: Model, sequences: Sequence[dict[str, np.ndarray]], pairs: Path | None, every: int) -> str:
    """The table, in Markdown.

    Parameters
    ----------
    model : Model
    sequences : sequence of dict
        Whole sequences, as `ShardStream.sequences` returns them, which it was not trained on.
    pairs : Path, optional
        Mixes to be scored, of which every `every`-th is; see `evaluate.pairs`.
    """
    machines = [f"wait at {speed:g}: mean, p99 (ms)" for speed in MACHINES]
    heads = ["effort", "multiply-adds a hop", "of all", "gain loss", "PESQ-WB", "STOI", "SI-SDR, dB", *machines]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join(["---"] * len(heads)) + " |"]
    for effort in _CHOICES:
        facts = worth(model, effort, sequences)
        scores = _scores(model, effort, pairs, every) if pairs else {}
        done = facts["multiply_adds"]
        cells = [effort, f"{done:,.0f}", f"{done / model.network.spec.multiply_adds:.0%}", f"{facts['gain_loss']:.4f}"]
        for name, form in (("pesq_wb", ".3f"), ("stoi", ".4f"), ("si_sdr", ".2f")):
            cells.append(f"{scores[name]:{form}}" if scores else "")
        cells += ["{:.1f}, {:.0f}".format(*facts[f"machine {speed:g}"]) for speed in MACHINES]
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines) + "\n"


def _scores(model: Model, effort: str, folder: Path, every: int) -> dict[str, float]:
    from ..evaluate.metrics import Scorer
    from ..evaluate.pairs import load_pairs, read_pair

    scorer, found = Scorer(), []
    for pair in load_pairs(folder)[::every]:
        clean, noisy = read_pair(pair)
        found.append(scorer(clean, enhanced(model, noisy, effort)))
    return {name: float(np.nanmean([score[name] for score in found])) for name in ("pesq_wb", "stoi", "si_sdr")}


def main(argv: list[str] | None = None) -> None:
    """Write a model, or print the table of one."""
    parser = argparse.ArgumentParser(prog="python -m pyenhance.train.hold", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a shipped model's name or a weights file")
    parser.add_argument("--steps", type=int, help="of int8, by which outputs may be off")
    parser.add_argument("-o", "--output", type=Path, help="weights file")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument("--shards", type=Path, help="folder of pyenhance.train.dataset: print the table instead")
    parser.add_argument("--sequences", type=int, default=12, help="of the shards")
    parser.add_argument("--pairs", type=Path, help="mixes to be scored for the table")
    parser.add_argument("--every", type=int, default=5, help="score every so many of them")
    arguments = parser.parse_args(argv)
    try:
        model = load_model(arguments.model)
        if arguments.shards:
            rows = ShardStream(arguments.shards, 1).sequences(arguments.sequences)
            print(report(model, rows, arguments.pairs, arguments.every), end="")
            return
        if arguments.steps is None or arguments.output is None:
            raise ValueError("--steps and -o are needed, or --shards")
        write_whole(arguments.output, held_model(model, arguments.steps), force=arguments.force)
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

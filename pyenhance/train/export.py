"""From a checkpoint to what ships: int8 weights file and golden vectors."""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
import torch

from ..dsp import SignalSpec
from ..model import Model, load_model, write_weights
from ..model.compatible import HEADS
from ..nn import quantize_weight, weight_levels
from .fit import averaged_network, widened
from .network import ACTIVATION_LEVELS, Network, int8_steps, load_int8

GOLDEN_FRAMES = 120


@torch.no_grad()
def int8_tensors(network: Network) -> dict[str, np.ndarray]:
    """Tensors of a weights file, named as `NetworkSpec.tensors` and `initial` say, from a torch network."""
    tensors: dict[str, np.ndarray] = {}
    for name, (kind, _) in network.spec.tensors.items():
        if name in tensors:  # a scale, which came with its matrix
            continue
        layer_name, own = name.split(".")
        layer = getattr(network, layer_name)
        values = getattr(layer, own).float().cpu()
        if kind != "I8":
            tensors[name] = values.numpy()
            continue
        scale = getattr(layer, f"{own}_scale")
        if scale is None:
            tensors[name], tensors[f"{name}_scale"] = quantize_weight(values.numpy(), weight_levels(own))
        else:
            scale = scale.cpu()
            tensors[name], tensors[f"{name}_scale"] = int8_steps(values, scale).to(torch.int8).numpy(), scale.numpy()
    for name in network.spec.initial:
        steps = torch.round(network.get_submodule(name.split(".")[0]).initial.cpu() * ACTIVATION_LEVELS)
        if steps.any():  # zeros are left out
            tensors[name] = steps.to(torch.int8).numpy()
    return tensors


def weights_bytes(signal: SignalSpec, network: Network, metadata: dict[str, str]) -> bytes:
    """A weights file of a network that was trained with this signal path."""
    return write_weights(signal, network.spec, int8_tensors(network), metadata)


@torch.no_grad()
def golden_vectors(network: Network, seed: int = 0, full: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Features and the output of each layer of the simulated int8 network.

    Parameters
    ----------
    network : Network
    seed : int
        Of the features.
    full : ndarray, shape (GOLDEN_FRAMES,), bool, optional
        Of networks with lean frames, see `Network.run`.

    Returns
    -------
    dict: features (T, inputs) float32; hidden layers (T, units) int8; gain, strength (T, bands) and vad (T,) float32.
    """
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 0.3, (GOLDEN_FRAMES, network.spec.inputs)), axis=0)
    features = np.clip(np.sin(walk) * 1.5, -2, 2).astype(np.float32)
    network.quantise = True
    run = network.eval().run(torch.from_numpy(features)[None], None if full is None else torch.from_numpy(full))
    outputs = {name: x[:, 0] for name, x in run.items()}
    golden = {"features": features}
    for layer in network.spec.layers:
        x = outputs[layer.name]
        golden[layer.name] = (
            torch.sigmoid(x).numpy() if layer.name in HEADS else np.rint(x.numpy() * 127).astype(np.int8)
        )
    golden["vad"] = golden["vad"][:, 0]
    return golden


def training_facts(data: str) -> dict[str, str]:
    """What a weights file says of its making: the commit, and the data as they are described."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {"training_commit": commit, "training_data": data}


def privacy_of(checkpoint: Path) -> str:
    """The budget that training has spent, as model cards state it; empty where there was none."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return f"epsilon {saved['epsilon']:.3g}, {saved['privacy']}" if saved.get("privacy") else ""


def between(start: Model, network: Network, share: float) -> Network:
    """Weights so far of the way from the model where a training began to what it became.

    Such weights are often better than either (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
    Layers that the model does not have are those of the network.

    Parameters
    ----------
    start : Model
    network : Network
        Its layers are the model's, or those and more beside them; see `fit.widened`.
    share : float, in (0, 1]

    Raises
    ------
    ValueError
        `share` is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share:g}; accepted: above 0, at most 1")
    begun, state = widened(load_int8(start), network.spec).state_dict(), network.state_dict()
    known = {layer.name for layer in start.network.spec.layers}
    for name, value in state.items():
        if name.split(".")[0] in known:
            state[name] = begun[name].lerp(value, share)
    network.load_state_dict(state)
    return network


def main(argv: list[str] | None = None) -> None:
    """Export: ``pyenhance train export CHECKPOINT -o WEIGHTS.safetensors --golden VECTORS.npz``."""
    parser = argparse.ArgumentParser(prog="pyenhance train export", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="weights file")
    parser.add_argument("--golden", type=Path, help="golden vectors of this network (.npz)")
    parser.add_argument("--data", default="", help="what it was trained on, for the metadata")
    parser.add_argument("--start", metavar="MODEL", help="where the training began, for --share")
    parser.add_argument("--share", type=float, default=1.0, help="go back: take weights so far of the way from there")
    arguments = parser.parse_args(argv)
    signal, network = averaged_network(arguments.checkpoint)
    if arguments.start:
        try:
            network = between(load_model(arguments.start), network, arguments.share)
        except ValueError as error:
            parser.error(str(error))
    facts = [text for text in (arguments.data, privacy_of(arguments.checkpoint)) if text]
    data = weights_bytes(signal, network, training_facts("; ".join(facts)))
    arguments.output.write_bytes(data)
    if arguments.golden:
        np.savez_compressed(arguments.golden, **golden_vectors(network))
    print(json.dumps({"weights": network.spec.weights, "bytes": len(data)}))


if __name__ == "__main__":
    main()

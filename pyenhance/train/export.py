"""From a checkpoint to what ships: int8 weights file and golden vectors."""

import argparse
import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import torch

from ..dsp import HOP, NUM_FEATURES, SAMPLE_RATE
from ..model.weights import FORMAT
from ..nn import quantize_weight
from .fit import averaged_network
from .network import PercepNet

GOLDEN_FRAMES = 120


def int8_tensors(network: PercepNet) -> dict[str, np.ndarray]:
    """Tensors of a weights file, named as `Topology.tensors` says, from a torch network."""
    tensors: dict[str, np.ndarray] = {}
    for name, parameter in network.named_parameters():
        values = parameter.detach().float().numpy()
        if values.ndim == 2:
            tensors[name], tensors[f"{name}_scale"] = quantize_weight(values)
        else:
            tensors[name] = values
    return {name: np.ascontiguousarray(tensors[name]) for name in network.topology.tensors()}


def weights_bytes(network: PercepNet, metadata: dict[str, str]) -> bytes:
    """A weights file: the int8 tensors of a network with format, topology, rates and the sha256 of the payload."""
    from safetensors.numpy import save

    facts = {"format": FORMAT, "topology": network.topology.to_json(), "sample_rate": str(SAMPLE_RATE), "hop": str(HOP)}
    tensors = int8_tensors(network)
    plain = save(tensors, metadata=facts | metadata)
    payload = plain[8 + int.from_bytes(plain[:8], "little") :]
    return save(tensors, metadata=facts | metadata | {"sha256": hashlib.sha256(payload).hexdigest()})


@torch.no_grad()
def golden_vectors(network: PercepNet, seed: int = 0) -> dict[str, np.ndarray]:
    """Features and the output of each layer of the simulated int8 network.

    Returns
    -------
    dict: features (T, 70) float32; hidden layers (T, units) int8; gain, strength (T, 34) and vad (T,) float32.
    """
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 0.3, (GOLDEN_FRAMES, NUM_FEATURES)), axis=0)
    features = np.clip(np.sin(walk) * 1.5, -2, 2).astype(np.float32)
    trace: dict[str, torch.Tensor] = {}
    network.quantise = True
    gain, strength, vad = network.eval()(torch.from_numpy(features)[None], trace)
    golden = {name: np.rint(x[:, 0].numpy() * 127).astype(np.int8) for name, x in trace.items()}
    outputs = {"gain": gain, "strength": strength, "vad": vad}
    return {"features": features} | golden | {name: torch.sigmoid(x)[0].numpy() for name, x in outputs.items()}


def main(argv: list[str] | None = None) -> None:
    """Export: ``pyenhance train export CHECKPOINT -o WEIGHTS.safetensors --golden VECTORS.npz``."""
    parser = argparse.ArgumentParser(prog="pyenhance train export", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="weights file")
    parser.add_argument("--golden", type=Path, help="golden vectors of this network (.npz)")
    parser.add_argument("--data", default="", help="what it was trained on, for the metadata")
    arguments = parser.parse_args(argv)
    network = averaged_network(arguments.checkpoint)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    data = weights_bytes(network, {"training_commit": commit, "training_data": arguments.data})
    arguments.output.write_bytes(data)
    if arguments.golden:
        np.savez_compressed(arguments.golden, **golden_vectors(network))
    print(json.dumps({"weights": network.topology.weights, "bytes": len(data)}))


if __name__ == "__main__":
    main()

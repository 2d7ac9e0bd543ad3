"""One network of several: their layers side by side, and heads that answer the mean of what theirs would.

    python -m pyenhance.train.merge default other.safetensors studio.safetensors -o merged.safetensors

Networks that were trained apart err apart, so their mean errs less, and a list of layers can hold them all: a dense
head on all of their layers, its weights an n-th of theirs, gives the mean of their logits. What comes of it is a
network as any other, which may be trained on (``train fit --start``).
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional as F

from ..dsp import SignalSpec
from ..model import Model, load_model
from ..model.compatible import HEADS
from ..model.diff import write_whole
from ..nn import INPUT, LayerSpec, NetworkSpec
from . import export
from .network import Network, load_int8


def merged_signal(models: Sequence[Model]) -> SignalSpec:
    """The signal path that serves all models: the first one's, with the most fine bins.

    Raises
    ------
    ValueError
        There are fewer than two, or one has other bands or look-ahead than the first.
    """
    if len(models) < 2:
        raise ValueError(f"{len(models)} models; accepted: two or more")
    signal = replace(models[0].signal, fine_bins=max(model.signal.fine_bins for model in models))
    for model in models:
        if replace(model.signal, fine_bins=signal.fine_bins) != signal:
            raise ValueError(f"{model.name} has {model.signal}; accepted beside {models[0].name}: {models[0].signal}")
    return signal


def merged(models: Sequence[Model]) -> Network:
    """The network of several: layer `x` of the k-th is `x_k`, counted from 1; lean frames are left out.

    Parameters
    ----------
    models : sequence of Model
        Of one signal path but for fine bins, which those that do not know them ignore. Their heads are dense.

    Returns
    -------
    Network
        Its logits are the means of theirs, but for the int8 steps of its heads, whose rows have one scale for all.

    Raises
    ------
    ValueError
        See `merged_signal`; or a head that is no dense layer.
    """
    signal = merged_signal(models)
    networks = [load_int8(model) for model in models]
    layers: list[LayerSpec] = []
    sources: dict[str, list[str]] = {head: [] for head in HEADS}
    heads: dict[str, LayerSpec] = {}
    for number, network in enumerate(networks, 1):
        names = {layer.name: f"{layer.name}_{number}" for layer in network.spec.layers} | {INPUT: INPUT}
        for layer in network.spec.layers:
            seen = tuple(names[source] for source in layer.sources)
            if layer.name not in HEADS:
                layers.append(replace(layer, name=names[layer.name], sources=seen, lean=0))
                continue
            if layer.kind != "dense":
                raise ValueError(f"{models[number - 1].name}: {layer.name} is of kind {layer.kind}; accepted: dense")
            sources[layer.name] += seen
            heads[layer.name] = layer
    layers += [replace(heads[head], sources=tuple(sources[head])) for head in HEADS]
    whole = Network(NetworkSpec(signal.num_features, tuple(layers)))
    state = whole.state_dict()
    for number, network in enumerate(networks, 1):
        for name, value in network.state_dict().items():
            layer, own = name.split(".")
            if (place := f"{layer}_{number}.{own}") in state:  # heads are below; of lean frames there is nothing left
                state[place] = F.pad(value, (0, state[place].shape[-1] - value.shape[-1]))
    for head in HEADS:
        own = [getattr(network, head) for network in networks]
        state[f"{head}.weight"] = torch.cat([layer.weight for layer in own], 1) / len(own)
        state[f"{head}.bias"] = torch.stack([layer.bias for layer in own]).mean(0)
    whole.load_state_dict(state)
    return whole


def main(argv: list[str] | None = None) -> None:
    """Merge models: ``python -m pyenhance.train.merge MODEL MODEL... -o WEIGHTS.safetensors``."""
    parser = argparse.ArgumentParser(
        prog="python -m pyenhance.train.merge",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="shipped models' names or weights files")
    parser.add_argument("-o", "--output", type=Path, required=True, help="weights file")
    parser.add_argument("--data", default="", help="what they were trained on, for the metadata")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    arguments = parser.parse_args(argv)
    try:
        models = [load_model(name) for name in arguments.models]
        network = merged(models)
        data = export.weights_bytes(merged_signal(models), network, export.training_facts(arguments.data))
        write_whole(arguments.output, data, force=arguments.force)
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    print(f"{arguments.output}: {network.spec.weights:,} weights, {network.spec.multiply_adds:,} multiply-adds a frame")


if __name__ == "__main__":
    main()

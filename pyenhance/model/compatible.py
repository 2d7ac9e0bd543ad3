"""The heads of one model on the body of another: whether a new network still means what an old one meant.

A new body on which the old heads work is a backward-compatible representation (Shen et al., CVPR 2020): heads that were
refitted for a user, or an update of heads alone, hold on both sides of an update.
"""

from collections.abc import Mapping

import numpy as np

from ..nn import KINDS, Network, NetworkSpec

HEADS = ("gain", "strength", "vad")
"""The layers that answer. All before them is the body."""


def check_heads(old: NetworkSpec, new: NetworkSpec) -> None:
    """ValueError, which names the layer, unless the old network's heads can see the new one's body.

    A head must remember nothing, and what it sees must be in the new network: as wide, and with the same activation.
    """
    old_layers, new_layers = ({layer.name: layer for layer in spec.layers} for spec in (old, new))
    for head in (old_layers[name] for name in HEADS):
        if KINDS[head.kind].memory(head, old.inputs_of(head)) != (0,):
            raise ValueError(f"head {head.name!r} is a {head.kind}, which remembers; accepted: dense")
        for source in head.sources:
            wanted, found = (
                f"{layer.units} units, {layer.activation}" if layer else "no such layer"
                for layer in (old_layers.get(source), new_layers.get(source))
            )
            if source in HEADS or wanted != found:
                raise ValueError(f"head {head.name!r} sees {source!r}: {wanted}; the other body has {found}")


def heads_on(old: Network, body: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a network's heads answer to another's layers.

    Parameters
    ----------
    old : Network
    body : mapping of str to ndarray, shape (K, units), float32
        Outputs of the layers of a network that fits (`check_heads`); hidden ones as whole numbers in [-127, 127].

    Returns
    -------
    gain, strength : ndarray, shape (K, bands), float32, in [0, 1]
    vad : ndarray, shape (K,), float32, in [0, 1]
    """
    nothing = np.zeros(0, np.float32)
    gain, strength, vad = (
        old.layers[head](np.concatenate([body[source] for source in old.layers[head].spec.sources], 1), nothing)
        for head in HEADS
    )
    return gain, strength, vad[:, 0]

"""PercepNet's network as a list of layers, by a few widths (PercepNet, figure 3)."""

from dataclasses import replace

from ..dsp import SignalSpec
from ..nn import INPUT, LayerSpec, NetworkSpec


def percepnet(
    signal: SignalSpec, *, dense: int, conv1: int, conv2: int, gru: int, gain_gru: int, strength_gru: int
) -> NetworkSpec:
    """dense -> two convolutions -> three GRUs -> a GRU for the gains, and one for strengths and voice activity.

    Parameters
    ----------
    signal : SignalSpec
    dense, conv1, conv2, gru, gain_gru, strength_gru : int, units

    Raises
    ------
    ValueError
        A width that is not accepted.
    """
    layers = (
        LayerSpec("dense", "dense", (INPUT,), dense, "clamp"),
        LayerSpec("conv1", "conv", ("dense",), conv1, "clamp", frames=5),
        LayerSpec("conv2", "conv", ("conv1",), conv2, "tanh", frames=3),
        LayerSpec("gru1", "gru", ("conv2",), gru, "tanh"),
        LayerSpec("gru2", "gru", ("gru1",), gru, "tanh"),
        LayerSpec("gru3", "gru", ("gru2",), gru, "tanh"),
        LayerSpec("gain_gru", "gru", ("gru3",), gain_gru, "tanh"),
        LayerSpec("gain", "dense", ("conv2", "gru1", "gru2", "gru3", "gain_gru"), signal.num_bands, "sigmoid"),
        LayerSpec("strength_gru", "gru", ("gru3", "conv2"), strength_gru, "tanh"),
        LayerSpec("strength", "dense", ("strength_gru",), signal.num_bands, "sigmoid"),
        LayerSpec("vad", "dense", ("strength_gru",), 1, "sigmoid"),
    )
    return NetworkSpec(signal.num_features, layers)


def with_backward_part(spec: NetworkSpec, units: int) -> NetworkSpec:
    """The same layers, and beside them a GRU that goes backward: for whole recordings, which have a future.

    What both directions know is joined by a dense layer; the heads of gains and strengths see both, after all that they
    saw before, so that trained heads can go on from where they were.

    Parameters
    ----------
    spec : NetworkSpec
        Of `percepnet`.
    units : int
        Of the GRU and of the dense layer.

    Raises
    ------
    ValueError
        Layers go backward already, or others than `percepnet`'s.
    """
    names = [layer.name for layer in spec.layers]
    if spec.whole_recordings or not {"conv2", "gru3", "gain_gru"} <= set(names):
        raise ValueError(f"layers are {', '.join(names)}; accepted: those of percepnet(), all of them forward")
    place = names.index("gain")
    added = (
        LayerSpec("back", "gru", ("gru3", "conv2"), units, "tanh", backward=True),
        LayerSpec("both", "dense", ("back", "gain_gru", "gru3"), units, "tanh"),
    )
    sees_more = {"gain": ("both", "back"), "strength": ("both",)}
    later = tuple(
        replace(layer, sources=layer.sources + sees_more.get(layer.name, ())) for layer in spec.layers[place:]
    )
    return replace(spec, layers=spec.layers[:place] + added + later)

"""A small model that hears whole recordings, with weights that have learnt nothing."""

import functools

import numpy as np

from pyenhance.dsp import SignalSpec
from pyenhance.model import write_weights
from pyenhance.nn import INPUT, LayerSpec, NetworkSpec

from .networks import random_tensors

CHANNELS = 3


def whole_spec(signal: SignalSpec) -> NetworkSpec:
    """Band by band and over all bands, forward and backward, each direction above both of the ones below."""
    bands = signal.num_bands
    layers = (
        LayerSpec("dense", "dense", (INPUT,), 2 * bands, "clamp"),
        LayerSpec("near", "band_conv", ("dense",), CHANNELS * bands, "tanh", frames=2, bands=bands, reach=1),
        LayerSpec("time", "band_gru", ("near",), CHANNELS * bands, "tanh", bands=bands),
        LayerSpec("back", "band_gru", ("near",), CHANNELS * bands, "tanh", bands=bands, backward=True),
        LayerSpec("squeeze", "band_conv", ("time", "back"), bands, "tanh", bands=bands),
        LayerSpec("whole", "gru", ("squeeze",), 9, "tanh"),
        LayerSpec("whole_back", "gru", ("squeeze",), 9, "tanh", backward=True),
        LayerSpec("gain", "dense", ("squeeze", "whole", "whole_back"), bands, "sigmoid"),
        LayerSpec("strength", "dense", ("squeeze", "whole", "whole_back"), bands, "sigmoid"),
        LayerSpec("vad", "dense", ("whole", "whole_back"), 1, "sigmoid"),
    )
    return NetworkSpec(signal.num_features, layers)


@functools.cache
def whole_weights(seed: int = 0) -> bytes:
    """Its weights file."""
    signal = SignalSpec()
    spec = whole_spec(signal)
    return write_weights(signal, spec, random_tensors(spec, np.random.default_rng(seed)), {})

"""A small model that hears whole recordings, with weights that have learnt nothing."""

import functools

import numpy as np

from pyenhance.dsp import SignalSpec
from pyenhance.model import write_weights
from pyenhance.model.banded import banded
from pyenhance.nn import NetworkSpec

from .networks import random_tensors


def whole_spec(signal: SignalSpec) -> NetworkSpec:
    """Band by band and over all bands, forward and backward, each direction above both of the ones below."""
    return banded(signal, first=2, channels=3, blocks=1, squeeze=1, whole=9, out=1, both_ways=True)


@functools.cache
def whole_weights(seed: int = 0) -> bytes:
    """Its weights file."""
    signal = SignalSpec()
    spec = whole_spec(signal)
    return write_weights(signal, spec, random_tensors(spec, np.random.default_rng(seed)), {})

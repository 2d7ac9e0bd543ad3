"""Networks by name, before they have learnt anything."""

from collections.abc import Callable
from functools import partial

from ..dsp import SignalSpec
from ..nn import NetworkSpec
from .banded import banded
from .percepnet import percepnet

SHAPES: dict[str, Callable[[SignalSpec], NetworkSpec]] = {
    "tiny": partial(percepnet, dense=64, conv1=64, conv2=64, gru=64, gain_gru=64, strength_gru=48),
    "default": partial(percepnet, dense=128, conv1=256, conv2=256, gru=256, gain_gru=256, strength_gru=128),
    "large": partial(percepnet, dense=128, conv1=512, conv2=512, gru=512, gain_gru=512, strength_gru=128),
    "banded": partial(banded, first=16, channels=32, blocks=2, squeeze=4, whole=128, out=8),
    "banded-tiny": partial(banded, first=8, channels=16, blocks=2, squeeze=2, whole=64, out=4),
    "banded-wide": partial(banded, first=16, channels=48, blocks=2, squeeze=4, whole=128, out=8),
    "banded-studio": partial(banded, first=16, channels=48, blocks=3, squeeze=4, whole=128, out=8, both_ways=True),
}
"""What builds each, for a signal path. PercepNet's layers: about 0.2, 2.2 and 8 million weights; "large" is the
article's. Weights that the bands share: 0.3, 0.1, 0.4 and 0.9 million; "banded-studio" hears whole recordings."""


def named_shape(name: str, signal: SignalSpec) -> NetworkSpec:
    """The network of one of `SHAPES`."""
    return SHAPES[name](signal)

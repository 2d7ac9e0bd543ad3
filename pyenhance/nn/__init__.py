"""Int8 inference in numpy: a list of layers that reduce to exact integer matrix products. Knows no audio."""

from .layers import GRU, LAYERS, Affine, Conv, Dense, Layer, multiply
from .network import Network, backlog_values, check_effort, initial_tensors
from .quantize import ACTIVATION_LEVELS, quantize_activation, quantize_weight
from .spec import (
    ACTIVATIONS,
    ARBITRATOR,
    BACKLOG,
    BACKLOG_WIDTH,
    EFFORTS,
    INITIAL,
    INPUT,
    KINDS,
    LayerSpec,
    NetworkSpec,
)

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_LEVELS",
    "ARBITRATOR",
    "BACKLOG",
    "BACKLOG_WIDTH",
    "EFFORTS",
    "GRU",
    "INITIAL",
    "INPUT",
    "KINDS",
    "LAYERS",
    "Affine",
    "Conv",
    "Dense",
    "Layer",
    "LayerSpec",
    "Network",
    "NetworkSpec",
    "backlog_values",
    "check_effort",
    "initial_tensors",
    "multiply",
    "quantize_activation",
    "quantize_weight",
]

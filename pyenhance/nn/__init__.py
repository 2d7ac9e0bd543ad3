"""Int8 inference in numpy: a list of layers that reduce to exact integer matrix products. Knows no audio."""

from .layers import GRU, LAYERS, Affine, Conv, Dense, Layer, multiply
from .network import Network, check_effort, choose, initial_tensors
from .quantize import ACTIVATION_LEVELS, WEIGHT_LEVELS, quantize_activation, quantize_weight, weight_levels
from .spec import (
    ACTIVATIONS,
    EFFORTS,
    FULL_EVERY,
    INITIAL,
    INPUT,
    KINDS,
    LEAN_IN,
    LEAN_MATRICES,
    LEAN_OUT,
    LayerSpec,
    NetworkSpec,
)

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_LEVELS",
    "EFFORTS",
    "FULL_EVERY",
    "GRU",
    "INITIAL",
    "INPUT",
    "KINDS",
    "LAYERS",
    "LEAN_IN",
    "LEAN_MATRICES",
    "LEAN_OUT",
    "WEIGHT_LEVELS",
    "Affine",
    "Conv",
    "Dense",
    "Layer",
    "LayerSpec",
    "Network",
    "NetworkSpec",
    "check_effort",
    "choose",
    "initial_tensors",
    "multiply",
    "quantize_activation",
    "quantize_weight",
    "weight_levels",
]

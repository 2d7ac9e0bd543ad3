"""Int8 inference in numpy: a list of layers that reduce to exact integer matrix products. Knows no audio."""

from .layers import GRU, LAYERS, Affine, Conv, Dense, Layer, multiply
from .network import Network
from .quantize import ACTIVATION_LEVELS, quantize_activation, quantize_weight
from .spec import ACTIVATIONS, INPUT, KINDS, LayerSpec, NetworkSpec

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_LEVELS",
    "GRU",
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
    "multiply",
    "quantize_activation",
    "quantize_weight",
]

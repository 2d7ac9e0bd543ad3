"""Int8 inference: three layers that reduce to one exact matrix product, and their compiled twin. Knows no audio."""

from .kernels import Layer, Program, available_kernels, choose_kernel
from .layers import GRU, Conv1d, Linear
from .quantize import ACTIVATION_LEVELS, quantize_activation, quantize_weight

__all__ = [
    "ACTIVATION_LEVELS",
    "GRU",
    "Conv1d",
    "Layer",
    "Linear",
    "Program",
    "available_kernels",
    "choose_kernel",
    "quantize_activation",
    "quantize_weight",
]

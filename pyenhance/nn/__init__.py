"""Int8 inference in numpy: the integer matrix product, and the three layers that reduce to it. Knows no audio."""

from .kernels import available_kernels, choose_kernel
from .layers import GRU, Conv1d, Linear
from .quantize import ACTIVATION_LEVELS, quantize_activation, quantize_weight

__all__ = [
    "ACTIVATION_LEVELS",
    "GRU",
    "Conv1d",
    "Linear",
    "available_kernels",
    "choose_kernel",
    "quantize_activation",
    "quantize_weight",
]

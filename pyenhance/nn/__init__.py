"""Int8 inference in numpy: the integer matrix product, and the three layers that reduce to it. Knows no audio."""

from .kernels import KERNEL
from .layers import GRU, Conv1d, Linear
from .quantize import ACTIVATION_LEVELS, quantize_activation, quantize_weight

__all__ = ["ACTIVATION_LEVELS", "GRU", "KERNEL", "Conv1d", "Linear", "quantize_activation", "quantize_weight"]

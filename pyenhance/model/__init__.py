"""What a model is: layers, signal path, weights file; and those that ship. Joins `dsp`, `nn` and `backend`."""

from .diff import apply_diffs, make_diff, read_header
from .percepnet import percepnet, with_backward_part
from .registry import Model, available_models, check_streams, forget_model, load_model, stream_models
from .shapes import SHAPES, named_shape
from .stream import HopFacts, ModelStream
from .weights import Weights, read_weights, write_weights
from .whole import RUN_UP_FRAMES, STRETCH_FRAMES, WholeStream

__all__ = [
    "RUN_UP_FRAMES",
    "SHAPES",
    "STRETCH_FRAMES",
    "HopFacts",
    "Model",
    "ModelStream",
    "Weights",
    "WholeStream",
    "apply_diffs",
    "available_models",
    "check_streams",
    "forget_model",
    "load_model",
    "make_diff",
    "named_shape",
    "percepnet",
    "read_header",
    "read_weights",
    "stream_models",
    "with_backward_part",
    "write_weights",
]

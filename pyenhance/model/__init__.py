"""What a network is: its shape, its weights file, its layers joined, and the models that ship. Joins `dsp` and `nn`."""

from .diff import apply_diffs, make_diff, read_header
from .network import Network, NetworkState
from .registry import Model, available_models, load_model
from .topology import TOPOLOGIES, Topology
from .weights import read_weights

__all__ = [
    "TOPOLOGIES",
    "Model",
    "Network",
    "NetworkState",
    "Topology",
    "apply_diffs",
    "available_models",
    "load_model",
    "make_diff",
    "read_header",
    "read_weights",
]

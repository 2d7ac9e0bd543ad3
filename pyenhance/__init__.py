"""Real-time speech enhancement in pure numpy: an open PercepNet that runs in a browser tab."""

from .channels import enhance
from .enhancer import Enhancer
from .model import load_model

__version__ = "0.1.0"
__all__ = ["Enhancer", "__version__", "enhance", "load_model"]

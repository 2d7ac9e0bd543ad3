"""Real-time speech enhancement in pure numpy: an open PercepNet that runs in a browser tab."""

__version__ = "0.1.0"

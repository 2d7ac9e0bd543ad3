"""How good an enhancer is: metrics on pairs of noisy and clean recordings, against peers and the oracle."""

from .metrics import METRICS, Scorer
from .pairs import Pair, load_pairs
from .run import evaluate

__all__ = ["METRICS", "Pair", "Scorer", "evaluate", "load_pairs"]

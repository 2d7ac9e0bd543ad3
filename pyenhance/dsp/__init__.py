"""Signal processing in numpy alone: windows, ERB bands, pitch, comb filter, features, post-filter. Knows no network."""

from .constants import HOP, LOUDEST, NUM_BINS, SAMPLE_RATE, WINDOW
from .features import Frames, analyse, analyse_lean, ideal
from .spec import SignalSpec
from .state import SignalState
from .synthesis import synthesise

__all__ = [
    "HOP",
    "LOUDEST",
    "NUM_BINS",
    "SAMPLE_RATE",
    "WINDOW",
    "Frames",
    "SignalSpec",
    "SignalState",
    "analyse",
    "analyse_lean",
    "ideal",
    "synthesise",
]

"""Signal processing in numpy alone: windows, ERB bands, pitch, comb filter, features, post-filter. Knows no network."""

from .bands import BAND_CENTRES_HZ
from .constants import (
    HOP,
    LATENCY_SAMPLES,
    LOOKAHEAD_FRAMES,
    NUM_BANDS,
    NUM_BINS,
    NUM_FEATURES,
    SAMPLE_RATE,
    WINDOW,
)
from .features import AnalysisState, Frames, analyse, analyse_lean, ideal
from .kernels import signal_kernel
from .synthesis import SynthesisState, synthesise

__all__ = [
    "BAND_CENTRES_HZ",
    "HOP",
    "LATENCY_SAMPLES",
    "LOOKAHEAD_FRAMES",
    "NUM_BANDS",
    "NUM_BINS",
    "NUM_FEATURES",
    "SAMPLE_RATE",
    "WINDOW",
    "AnalysisState",
    "Frames",
    "SynthesisState",
    "analyse",
    "analyse_lean",
    "ideal",
    "signal_kernel",
    "synthesise",
]

"""What no model changes: the clock of the signal path. All else about it is a model's own (`SignalSpec`)."""

SAMPLE_RATE = 48_000
"""Sample rate of the whole signal path, in Hz."""

HOP = 480
"""Samples in one hop (10 ms)."""

WINDOW = 2 * HOP
"""Samples in one analysis window (20 ms)."""

NUM_BINS = WINDOW // 2 + 1
"""Bins of one spectrum, 50 Hz apart."""

LOUDEST = 1e7
"""Of samples, where full scale is 1. From 2e7 on the product of two bands' energies leaves float32's range."""

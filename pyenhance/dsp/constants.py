"""What no model changes: the clock of the signal path. All else about it is a model's own (`SignalSpec`)."""

SAMPLE_RATE = 48_000
"""Sample rate of the whole signal path, in Hz."""

HOP = 480
"""Samples in one hop (10 ms)."""

WINDOW = 2 * HOP
"""Samples in one analysis window (20 ms)."""

NUM_BINS = WINDOW // 2 + 1
"""Bins of one spectrum, 50 Hz apart."""

LOUDEST = 1e12
"""Of samples, where full scale is 1. From 1e17 on the sums of squares leave float32's range, and NaN would come out."""

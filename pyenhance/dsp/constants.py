"""The fixed numbers of the signal path; every trim, delay and table derives from these."""

SAMPLE_RATE = 48_000
"""Sample rate of the whole signal path, in Hz."""

HOP = 480
"""Samples in one hop (10 ms)."""

WINDOW = 2 * HOP
"""Samples in one analysis window (20 ms)."""

NUM_BINS = WINDOW // 2 + 1
"""Bins of one spectrum, 50 Hz apart."""

NUM_BANDS = 34
"""ERB bands between 0 and 20 kHz."""

NUM_FEATURES = 2 * NUM_BANDS + 2
"""Network inputs a hop: band energies, band coherences, pitch period, pitch correlation."""

LOOKAHEAD_FRAMES = 2
"""Hops that the enhancer has heard beyond the frame it is answering for."""

LATENCY_SAMPLES = HOP * (1 + LOOKAHEAD_FRAMES)
"""Delay of the enhancer: one hop of window overlap and the look-ahead (1440 samples, 30 ms)."""

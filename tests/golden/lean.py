"""Makes ``lean.npz``: a small network with lean frames, and what torch's simulated int8 of it answers to choices.

    python -m tests.golden.lean

Of each of `CHOICES`, the outputs of all layers, as ``CHOICE.LAYER``; beside them the features, which frames are full in
"mixed", and the weights file.
"""

from pathlib import Path

import numpy as np

from pyenhance.dsp import SignalSpec

GOLDEN = Path(__file__).with_suffix(".npz")
CHOICES = ("full", "lean", "mixed", "auto")


def make() -> dict[str, np.ndarray]:
    """The arrays of the file."""
    from pyenhance.model import load_model
    from pyenhance.nn import choose
    from pyenhance.train.export import golden_vectors
    from pyenhance.train.network import load_int8

    from ..networks import small_weights

    weights = small_weights(SignalSpec(8), lean=True)
    network = load_int8(load_model(weights), freeze_scales=True)  # random rows do not reach the grid's edge
    made = {"weights": np.frombuffer(weights, np.uint8)}
    frames = len(golden_vectors(network)["features"])
    mixed = np.random.default_rng(1).random(frames) < 0.5
    for choice in CHOICES:
        full = mixed if choice == "mixed" else choose(0, frames, 0, choice)
        vectors = golden_vectors(network, full=full)
        made["features"] = vectors.pop("features")
        made |= {f"{choice}.{name}": values for name, values in vectors.items()}
    return made | {"mixed": mixed}


if __name__ == "__main__":
    np.savez_compressed(GOLDEN, **make())

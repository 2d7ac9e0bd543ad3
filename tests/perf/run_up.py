"""How far gains are from those of a recording in one piece, by the frames with which a stretch's backward layers begin.

python -m tests.perf.run_up --model studio RECORDING...   (48 kHz; they are heard one after the other)

Of a model that runs streams it tells the same of its forward layers: how long they remember what came before.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pyenhance import dsp, load_model
from pyenhance.audio import read_audio
from pyenhance.dsp import HOP, SignalState
from pyenhance.model import Model

RUN_UPS = (0, 50, 100, 200, 400, 800)


def run_up_rows(
    model: Model, features: np.ndarray, run_ups: Sequence[int], stretch: int, compared: int = 100
) -> list[dict[str, float]]:
    """Differences of the gains, over the frames next to where a stretch ends; their largest and their mean.

    Parameters
    ----------
    model : Model
    features : ndarray, shape (K, num_features), float32
        Of more frames than a stretch and the longest run-up.
    run_ups : sequence of int, frames
    stretch, compared : int, frames
        Of a stretch, and of those that are compared in each: the nearest to the run-up.
    """
    network, rows = model.network, []
    once = network(features, network.new_memory(), names=("gain",))["gain"]
    longest = max(run_ups)
    ends = range(max(stretch, longest), len(features) - longest + 1, stretch)
    for run_up in run_ups:
        apart, begin, memory = [], 0, network.new_memory()
        for end in ends:
            if model.whole_recordings:
                gain = network(features[begin : end + run_up], memory, ahead=run_up, names=("gain",))["gain"]
                near, begin = slice(max(begin, end - compared), end), end
                gain = gain[: len(gain) - run_up][-(near.stop - near.start) :]
            else:
                near = slice(end, min(end + compared, len(features)))
                begun = features[end - run_up : near.stop]
                gain = network(begun, network.new_memory(), names=("gain",))["gain"][run_up:]
            apart.append(np.abs(gain - once[near]))
        difference = np.concatenate(apart)
        rows.append({"run_up": run_up, "largest": float(difference.max()), "mean": float(difference.mean())})
    return rows


def features_of(model: Model, sound: np.ndarray) -> np.ndarray:
    """What the network sees of a sound, shape (n,); (K, num_features)."""
    hops = sound[: len(sound) // HOP * HOP].reshape(-1, HOP)
    return dsp.analyse(model.signal, SignalState(model.signal), hops).features


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--stretch", type=int, default=500, help="frames; the shorter, the more ends are compared")
    arguments = parser.parse_args()
    model = load_model(arguments.model, "numpy")
    features = features_of(model, np.concatenate([read_audio(path) for path in arguments.recordings]))
    for row in run_up_rows(model, features, RUN_UPS, arguments.stretch):
        print(f"{row['run_up']:>5} frames: largest {row['largest']:.4f}, mean {row['mean']:.6f}")


if __name__ == "__main__":
    main()

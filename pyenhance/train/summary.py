"""Summaries of public data, on which `pyenhance adapt` anchors a model: see `pyenhance.model.summary`."""

import argparse
import hashlib
from pathlib import Path

import numpy as np

from ..dsp import SignalSpec
from ..model import Model, load_model
from ..model.diff import weights_bytes
from ..model.heads import head_inputs, head_logit
from ..model.summary import HEADS, SUFFIX, HeadSummary, Summary, write_summary
from .dataset import ShardStream, read_signal

DIMENSIONS = {"gain": 104, "strength": 64}
KEPT_FRAMES = 288
KEPT_SHARE = 4
"""Of so many sequences one keeps frames and takes no part in the Gram matrices."""


def summarise(model: Model, base: str, sequences: list[dict[str, np.ndarray]]) -> Summary:
    """The summary of a model over mixes.

    Parameters
    ----------
    model : Model
    base : str
        SHA-256 of its weights file.
    sequences : list of dict
        Rows of shards: features (T, num_features), gain, strength (T, bands) in [0, 1], band_mask (bands,).

    Returns
    -------
    Summary
    """
    runs = [head_inputs(model, np.asarray(sequence["features"], np.float32)) for sequence in sequences]
    kept = range(0, len(sequences), KEPT_SHARE)
    each = -(-KEPT_FRAMES // len(kept))
    frames = [(i, t) for i in kept for t in np.linspace(0, len(sequences[i]["gain"]) - 1, each + 2)[1:-1].astype(int)]
    frames = frames[:KEPT_FRAMES]
    heads = {}
    for name in HEADS:
        inputs = [run[name] for run in runs]
        others = [x for i, x in enumerate(inputs) if i not in kept]
        projection = _directions(others, DIMENSIONS[name])
        own = HeadSummary(projection, np.zeros((0, 0)), *[np.zeros((0, 0), np.float32)] * 3)
        gram = np.zeros((projection.shape[1] + 1,) * 2)
        for x in others:
            y = own.directions(x).astype(np.float64)
            gram += y.T @ y / sum(map(len, others))
        x = np.stack([inputs[i][t] for i, t in frames])
        target = np.stack([sequences[i][name][t] for i, t in frames])
        heads[name] = HeadSummary(projection, gram, own.directions(x), head_logit(model.tensors, name, x), target)
    heard = np.stack([sequences[i]["band_mask"] for i, _ in frames]).astype(bool)
    return Summary(base, heads, heard)


def _directions(inputs: list[np.ndarray], count: int) -> np.ndarray:
    """The strongest directions of inputs, each scaled to a mean square of one; rounded as the file rounds them."""
    second = sum(x.T.astype(np.float64) @ x for x in inputs) / sum(map(len, inputs))
    values, vectors = np.linalg.eigh(second)
    strongest = slice(-1, -1 - min(count, len(values)), -1)
    scaled = vectors[:, strongest] / np.sqrt(np.maximum(values[strongest], 1e-8))
    step = np.abs(scaled).max(0) / 127
    return (np.rint(scaled / step) * step).astype(np.float32)


def main(argv: list[str] | None = None) -> None:
    """Summarise: ``pyenhance train summary --shards SHARDS --model NAME -o FILE.summary``."""
    parser = argparse.ArgumentParser(prog="pyenhance train summary", description=__doc__)
    parser.add_argument("--shards", type=Path, required=True, help="of the model's own signal path")
    parser.add_argument("--model", default="default", help="a shipped model's name or a weights file")
    parser.add_argument("--sequences", type=int, default=160, help="that are read at most")
    parser.add_argument("-o", "--output", type=Path, required=True, help=f"summary file (*{SUFFIX})")
    arguments = parser.parse_args(argv)
    model = load_model(arguments.model)
    signal: SignalSpec = read_signal(arguments.shards)
    if signal != model.signal:
        parser.error(f"{arguments.shards} holds shards of {signal}; accepted for {model.name}: {model.signal}")
    stream = ShardStream(arguments.shards, 1)
    sequences = stream.sequences(arguments.sequences)
    base = hashlib.sha256(weights_bytes(arguments.model)).hexdigest()
    data = write_summary(summarise(model, base, sequences))
    arguments.output.write_bytes(data)
    print(f"{arguments.output}: {len(data):,} bytes")


if __name__ == "__main__":
    main()

"""The states from which a model's layers begin: what they remember, on the average, while somebody speaks.

A network that begins from zeros has to find out that it hears speech and noise at all, and does worst in its first
second. What it would remember in the middle of a stream tells it so from the first hop on, and costs nothing.
"""

import argparse
from pathlib import Path

import numpy as np

from ..backend import HEADS
from ..model import Model, load_model, write_weights
from ..model.diff import write_whole
from ..nn import initial_tensors
from .dataset import ShardStream, read_signal

_SETTLED, _EACH = 250, 50  # frames: states are taken after so many, and every so many
_KEPT = ("training_commit", "training_data")


def speaking_memory(model: Model, sequences: list[dict[str, np.ndarray]]) -> np.ndarray:
    """What a network remembers on the average of the frames in which somebody speaks, shape (n,), float32.

    Parameters
    ----------
    model : Model
    sequences : list of dict
        Rows of shards: features (T, num_features), vad (T,) in [0, 1].

    Raises
    ------
    ValueError
        Nobody speaks where a state would be taken, after 2.5 s and every half a second.
    """
    total, count = np.zeros(model.network.spec.memory_size), 0
    for row in sequences:
        memory, features = model.network.new_memory(), np.asarray(row["features"], np.float32)
        for end in range(_SETTLED, len(features) + 1, _EACH):
            model.runner.layers(features[0 if end == _SETTLED else end - _EACH : end], memory, HEADS)
            if row["vad"][end - 1] > 0.5:
                total += memory
                count += 1
    if not count:
        raise ValueError(
            f"nobody speaks in {len(sequences)} sequences after {_SETTLED} frames; accepted: mixes of speech"
        )
    return (total / count).astype(np.float32)


def main(argv: list[str] | None = None) -> None:
    """Begin better: ``pyenhance train initial --shards SHARDS --model NAME -o WEIGHTS.safetensors``."""
    parser = argparse.ArgumentParser(prog="pyenhance train initial", description=__doc__)
    parser.add_argument("--shards", type=Path, required=True, help="of the model's own signal path")
    parser.add_argument("--model", default="default", help="a shipped model's name or a weights file")
    parser.add_argument("--sequences", type=int, default=160, help="that are read at most")
    parser.add_argument("-o", "--output", type=Path, required=True, help="weights file")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    arguments = parser.parse_args(argv)
    model = load_model(arguments.model)
    signal = read_signal(arguments.shards)
    if signal != model.signal:
        parser.error(f"{arguments.shards} holds shards of {signal}; accepted for {model.name}: {model.signal}")
    sequences = ShardStream(arguments.shards, 1).sequences(arguments.sequences)
    try:
        begun = initial_tensors(model.network.spec, speaking_memory(model, sequences))
        facts = {key: model.metadata[key] for key in _KEPT if key in model.metadata}
        data = write_weights(model.signal, model.network.spec, model.tensors | begun, facts)
        write_whole(arguments.output, data, force=arguments.force)
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    print(f"{arguments.output}: {len(data):,} bytes")


if __name__ == "__main__":
    main()

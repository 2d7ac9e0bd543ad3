"""Whether a new model's body still serves the old model's heads: a row of the gate's report."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dsp
from ..align import padded
from ..measure import gain_loss
from ..model import Model, load_model
from ..model.compatible import check_heads, heads_on
from ..threads import one_thread
from .pairs import Pair, read_pair
from .processes import in_processes

COMPATIBLE_WITHIN = 0.02
"""Most by which the old heads' gain loss may be larger on the new body than on their own, of the latter."""

_models: tuple[Model, Model]


def _start(old: str, new: str) -> None:
    global _models
    _models = load_model(old), load_model(new)


def _losses(pair: Pair) -> tuple[float, float, float]:
    """Gain loss of the old model, of the new one, and of the old heads on the new body."""
    old, new = _models
    signal = old.signal
    with one_thread():  # the processes are the parallelism
        clean, noisy = (padded(x, signal.latency_samples, dsp.HOP) for x in read_pair(pair))
        frames, ideal, _ = dsp.ideal(signal, noisy, clean)
        body: dict[str, np.ndarray] = {}
        gains = [
            old.estimate(frames.features, old.network.new_memory())[0],
            new.estimate(frames.features, new.network.new_memory(), body)[0],
            heads_on(old.network, body)[0],
        ]
    before, after, on_body = (gain_loss(gain, ideal) for gain in gains)
    return before, after, on_body


def compare_heads(pairs: Sequence[Pair], old: str, new: str, *, workers: int | None = None) -> dict[str, Any]:
    """What the old model's heads lose on the new model's body.

    Parameters
    ----------
    pairs : sequence of Pair
    old, new : str
        A shipped model's name or a weights file.
    workers : int, optional
        Processes; one a core by default.

    Returns
    -------
    dict
        {"old", "new", "old_heads", "loss", "compatible"}: gain losses (`measure.gain_loss`), the mean over the clips;
        how much larger that of the old heads on the new body is than that of the old model, relative to it; and
        whether that is at most `COMPATIBLE_WITHIN`. Or {"refused": str}: why the heads do not fit the body.

    Raises
    ------
    ValueError
        A model that cannot be loaded, or a file that cannot be used.
    """
    _start(old, new)
    before, after = _models
    if before.signal != after.signal:
        return {"refused": f"the old model has {before.signal}, the new one {after.signal}"}
    try:
        check_heads(before.network.spec, after.network.spec)
    except ValueError as error:
        return {"refused": str(error)}
    means = np.mean(in_processes(_losses, pairs, _start, (old, new), workers=workers), 0)
    facts = dict(zip(("old", "new", "old_heads"), map(float, means), strict=True))
    loss = facts["old_heads"] / facts["old"] - 1
    return facts | {"loss": loss, "compatible": loss <= COMPATIBLE_WITHIN}


def in_words(facts: dict[str, Any]) -> str:
    """What `compare_heads` returns, as a sentence."""
    if "refused" in facts:
        return f"The old heads do not fit the new body: {facts['refused']}."
    verdict = "compatible" if facts["compatible"] else "not compatible"
    return (
        f"The old heads on the new body: gain loss {facts['old_heads']:.4f}, {facts['loss']:+.1%} against their own "
        f"({facts['old']:.4f}; the new model {facts['new']:.4f}): {verdict}, accepted is {COMPATIBLE_WITHIN:+.0%}."
    )

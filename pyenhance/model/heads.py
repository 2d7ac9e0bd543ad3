"""The heads of a model as what they are, linear functions of hidden layers, refitted in closed form.

After LQF (Achille et al., CVPR 2021): the network is linearised about the shipped weights and fitted by preconditioned
least squares. Here only heads change, which are linear already, so what is linearised is the sigmoid and the power of
the loss. The least squares are over the strongest directions of a head's inputs (`HeadSummary`).

What is made small of the gain is not the training's loss but its own error, weighted by the noisy band's amplitude:
between it and the error of the waveform, which SI-SDR measures, lies one more weight of that sort. A little of what the
training asks for, the error of its root in all bands alike, keeps what is soft and still heard.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .. import dsp
from ..measure import GAMMA, SMALL
from ..nn import ACTIVATION_LEVELS, multiply
from ..samples import active_rms
from .recordings import Mix
from .registry import Model
from .summary import HEADS, HeadSummary, Summary
from .weights import write_weights

ALIKE = 0.05
"""Weight of the error of a gain's root in all bands alike, beside that of the gain by amplitude."""

MEMORY_FRAMES = 25
"""What the network remembers is taken every so many frames."""

_SPEAKS = 10**-1.5  # of the voice's active level: as much as a hop has where somebody speaks
_ROUNDS = 2  # linearised about the shipped head, then about what came of it
_RIDGE = 1e-6
_LARGEST_STEP = 127
_KEPT_METADATA = ("training_commit", "training_data")
_NEGLIGIBLE = 1e-3  # share of a band's mean weight below which a frame is left out: half of all for strengths


class Slopes(NamedTuple):
    """The errors of a head and how they move: error - slope * change of logit; shapes (K, bands)."""

    error: np.ndarray
    slope: np.ndarray


class Examples(NamedTuple):
    """What a head saw, said and should have said.

    Attributes
    ----------
    values : ndarray, shape (K, k + 1), float32
        Its inputs as `HeadSummary.directions`.
    logit, target : ndarray, shape (K, bands), float32
    heard : ndarray, shape (K, bands), float32, >= 0
        How much each counts.
    """

    values: np.ndarray
    logit: np.ndarray
    target: np.ndarray
    heard: np.ndarray


def head_inputs(
    model: Model, features: np.ndarray, memory: np.ndarray | None = None, memories: list[np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """What each of `HEADS` sees of a stream's features (K, num_features); shapes (K, inputs), float32, in [-1, 1].

    Parameters
    ----------
    model : Model
    features : ndarray, shape (K, num_features), float32
    memory : ndarray, shape (n,), float32, optional
        What the network remembers, updated in place; by default a new one.
    memories : list of ndarray, optional
        What it remembers after every `MEMORY_FRAMES` frames, and at the end, is appended.
    """
    layers = {layer.name: layer for layer in model.network.spec.layers}
    wanted = tuple(dict.fromkeys(source for name in HEADS for source in layers[name].sources))
    memory = model.network.new_memory() if memory is None else memory
    size = len(features) if memories is None else MEMORY_FRAMES
    parts = []
    for begin in range(0, len(features), size):
        parts.append(model.runner.layers(features[begin : begin + size], memory, wanted))
        if memories is not None:
            memories.append(memory.copy())
    outputs = {source: np.concatenate([part[source] for part in parts]) for source in wanted}
    return {
        name: np.concatenate([outputs[source] for source in layers[name].sources], 1) / ACTIVATION_LEVELS
        for name in HEADS
    }


def mix_examples(
    model: Model,
    summary: Summary,
    mix: Mix,
    rows: slice,
    *,
    by_amplitude: bool = False,
    memories: list[np.ndarray] | None = None,
) -> dict[str, Examples]:
    """What each of `HEADS` sees, says and should say of some rows of a mix; strengths count by the gain.

    Parameters
    ----------
    model : Model
    summary : Summary
        Of that model.
    mix : Mix
    rows : slice
        Of the mix's hops.
    by_amplitude : bool
        Each band of each frame counts by the amplitude of what is heard there, 1 on the mean; else all alike.
    memories : list of ndarray, optional
        What the network remembers is appended, every `MEMORY_FRAMES` frames while somebody speaks.
    """
    frames, gain, strength = dsp.ideal(model.signal, mix.noisy, mix.clean)
    amplitude = np.sqrt(frames.energy) if by_amplitude else np.ones_like(gain)
    amplitude /= amplitude.mean()
    remembered: list[np.ndarray] | None = None if memories is None else []
    inputs = head_inputs(model, frames.features, memories=remembered)
    if memories is not None and remembered is not None:
        speaks = _speaks(mix.clean)[MEMORY_FRAMES - 1 :: MEMORY_FRAMES]
        memories += [memory for memory, voice in zip(remembered, speaks, strict=False) if voice]
    targets = {"gain": (gain, amplitude), "strength": (strength, gain * amplitude)}
    found = {}
    for name, (target, heard) in targets.items():
        x = np.ascontiguousarray(inputs[name][rows])
        values = summary.heads[name].directions(x)
        found[name] = Examples(values, head_logit(model.tensors, name, x), target[rows], heard[rows])
    return found


def _speaks(clean: np.ndarray) -> np.ndarray:
    """Whether somebody speaks in each hop of a voice in quiet, shape (K,), bool."""
    hops = clean.reshape(-1, dsp.HOP)
    return np.sqrt(np.einsum("kn,kn->k", hops, hops) / dsp.HOP) >= _SPEAKS * active_rms(clean)


def head_logit(tensors: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    """A head before its sigmoid, for inputs (K, inputs) in [-1, 1]; shape (K, bands), float32.

    `tensors` are a model's, see `NetworkSpec.tensors`.
    """
    weight = np.ascontiguousarray(tensors[f"{name}.weight"].T, np.float32)
    return multiply(x, weight) * tensors[f"{name}.weight_scale"] + tensors[f"{name}.bias"]


def slopes(name: str, logit: np.ndarray, target: np.ndarray, power: float) -> Slopes:
    """Errors of gains, and of what strengths leave, and how a logit moves them.

    (wanted + SMALL)^power - (kept + SMALL)^power; with the power `GAMMA` the error of the training's loss
    (`measure.gain_loss`, `strength_loss`), with 1 that of the gain itself.

    Parameters
    ----------
    name : str, of `HEADS`
    logit, target : ndarray, shape (K, bands)
        As in `Examples`.
    power : float
    """
    value = 0.5 + 0.5 * np.tanh(0.5 * logit)
    sign = 1 if name == "gain" else -1  # strengths count by what they leave: 1 - r
    kept, wanted = (value, target) if name == "gain" else (1 - value, 1 - target)
    raised = (kept + SMALL) ** power
    return Slopes((wanted + SMALL) ** power - raised, sign * power * raised / (kept + SMALL) * value * (1 - value))


def _quadratic(name: str, logit: np.ndarray, target: np.ndarray, heard: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `refit` makes small, linearised: sums of w s^2 and of w s e; shapes (K, bands).

    Of strengths e and s are those of the training's loss, and w is `heard`. Of gains they are the gain's own, and the
    root's with the weight `ALIKE` are added.
    """
    parts = [(GAMMA, heard)] if name == "strength" else [(1.0, heard), (GAMMA, np.float32(ALIKE) * (heard > 0))]
    curvature, pull = np.zeros_like(logit), np.zeros_like(logit)
    for power, weight in parts:
        error, slope = slopes(name, logit, target, power)
        weighted = weight * slope
        curvature += weighted * slope
        pull += weighted * error
    return curvature, pull


def anchors(summary: Summary) -> dict[str, np.ndarray]:
    """How much a change of each band's logit costs on public data, on the mean; shapes (bands,)."""
    means = {}
    heard = summary.heard.astype(np.float32)
    for name, head in summary.heads.items():
        counts = heard if name == "gain" else heard * summary.heads["gain"].target
        curvature, _ = _quadratic(name, head.logit, head.target, counts)
        mean = curvature.sum(0) / np.maximum(heard.sum(0), 1)
        means[name] = np.maximum(mean, mean[mean > 0].min(initial=1))  # a band that no recording reaches is held too
    return means


class Normal(NamedTuple):
    """The least squares of a head, linearised, band by band: a change solves system @ change = right.

    Attributes
    ----------
    system : ndarray, shape (bands, k + 1, k + 1), float32
    right : ndarray, shape (bands, k + 1), float32
    """

    system: np.ndarray
    right: np.ndarray


def normal_equations(name: str, examples: Examples, change: np.ndarray | None = None) -> Normal:
    """Of the head after a change, shape (k + 1, bands), as `refit` gives it; by default of the shipped one."""
    values, now = examples.values, examples.logit
    if change is not None:
        now = now + multiply(values, change.astype(np.float32))
    curvature, pull = _quadratic(name, now, examples.target, examples.heard)
    systems, rights = [], []
    for band, least in enumerate(_NEGLIGIBLE * curvature.mean(0)):
        heard = curvature[:, band] > least
        systems.append(_weighted_gram(values[heard], curvature[heard, band]))
        rights.append(np.einsum("nk,n->k", values, pull[:, band]))
    return Normal(np.array(systems), np.array(rights))


def _weighted_gram(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sum over K rows of weight * y y', for values (K, n) and weights (K,), float32; shape (n, n).

    It is symmetric, and half of a fit's time in a browser: a quarter of it is copied.
    """
    weighted = np.ascontiguousarray((values * weight[:, None]).T)
    gram = np.empty((len(weighted), len(weighted)), np.float32)
    half = len(weighted) // 2
    gram[:half] = multiply(weighted[:half], values)
    gram[half:, :half] = gram[:half, half:].T
    gram[half:, half:] = multiply(weighted[half:], values[:, half:])
    return gram


def refit(name: str, examples: Examples, gram: np.ndarray, anchor: np.ndarray, first: Normal) -> np.ndarray:
    """Change of a head that makes its linearised loss least, with what it says of public data held.

    For each band a (k + 1) x (k + 1) system, (sum w s^2 y y' + anchor G) a = sum w s e y: y the directions, e and s
    the `Slopes`, w how much each counts; of gains the sum of two such parts. The right-hand side of the public part is
    nothing: there the shipped head is what is wanted.

    Parameters
    ----------
    name : str, of `HEADS`
    examples : Examples
    gram : ndarray, shape (k + 1, k + 1)
        G, of public data.
    anchor : ndarray, shape (bands,)
        Of each band, how much the public data weigh: frames times `anchors`.
    first : Normal
        Of the shipped head: the same for any anchor.

    Returns
    -------
    ndarray, shape (k + 1, bands), float64
        To be added to the head, as seen from the directions.
    """
    change = np.zeros((examples.values.shape[1], examples.logit.shape[1]))
    held = gram + _RIDGE * np.eye(len(change))
    for _ in range(_ROUNDS):
        normal = normal_equations(name, examples, change) if change.any() else first
        for band, (system, right) in enumerate(zip(*normal, strict=True)):
            pulled = right - anchor[band] * (gram @ change[:, band])
            change[:, band] += np.linalg.solve(system + anchor[band] * held, pulled)
    return change


def changed_head(
    tensors: Mapping[str, np.ndarray], name: str, head: HeadSummary, change: np.ndarray, share: float = 1.0
) -> dict[str, np.ndarray]:
    """A head's tensors after a change, in whole int8 steps under the scales that they have.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        The shipped model's.
    name : str, of `HEADS`
    head : HeadSummary
    change : ndarray, shape (k + 1, bands)
    share : float in (0, 1]
        Of the entries that would change, those are kept that move the output most.

    Returns
    -------
    dict of str to ndarray: weight and bias
    """
    weight, scale = tensors[f"{name}.weight"], tensors[f"{name}.weight_scale"]
    wanted = np.einsum("kb,ik->bi", change[:-1], head.projection) / scale[:, None]
    steps = np.rint(wanted).astype(np.int64)
    if share < 1:
        moved = np.abs(steps) * scale[:, None]
        least = np.quantile(moved[steps != 0], 1 - share) if steps.any() else 0
        steps[moved < least] = 0
    new = np.clip(weight + steps, -_LARGEST_STEP, _LARGEST_STEP).astype(np.int8)
    bias = (tensors[f"{name}.bias"] + change[-1]).astype(np.float32)
    return {f"{name}.weight": new, f"{name}.bias": bias}


def changed_weights(
    model: Model,
    summary: Summary,
    changes: Mapping[str, np.ndarray],
    share: float = 1.0,
    begun: Mapping[str, np.ndarray] | None = None,
) -> bytes:
    """The weights file of a model whose heads have changed; see `changed_head` for `changes` and `share`.

    `begun` are the tensors from which its layers begin (`nn.initial_tensors`); by default those that it has.
    """
    tensors = dict(model.tensors) | dict(begun or {})
    for name, change in changes.items():
        tensors |= changed_head(model.tensors, name, summary.heads[name], change, share)
    metadata = {key: model.metadata[key] for key in _KEPT_METADATA if key in model.metadata}
    return write_weights(model.signal, model.network.spec, tensors, metadata)

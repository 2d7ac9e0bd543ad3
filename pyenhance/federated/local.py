"""What a device learns: a change of the heads, by gradient steps on its own examples."""

from collections.abc import Mapping

import numpy as np

from ..measure import GAMMA, OVER, QUARTIC, gain_loss, strength_loss
from ..model.heads import Examples, slopes
from ..model.summary import HEADS
from ..nn import multiply
from ..nn.activations import sigmoid

Change = dict[str, np.ndarray]
"""Of each of `HEADS`, what is added to it as seen from the directions; shapes (k + 1, bands), float32."""

WEIGHTS = {"gain": 1.0, "strength": 0.5}
"""Of the heads' losses, as in training."""


def no_change(heads: Mapping[str, Examples]) -> Change:
    """Where the rounds begin: the shipped model."""
    return {name: np.zeros((own.values.shape[1], own.logit.shape[1]), np.float32) for name, own in heads.items()}


def losses(heads: Mapping[str, Examples], change: Change) -> dict[str, float]:
    """Gain and strength loss (`measure`) of a change on examples."""
    said = {
        name: sigmoid(own.logit + multiply(np.ascontiguousarray(own.values), change[name]))
        for name, own in heads.items()
    }
    gain, strength = heads["gain"], heads["strength"]
    within = gain.heard > 0
    return {
        "gain": gain_loss(said["gain"], gain.target, within),
        "strength": strength_loss(said["strength"], strength.target, strength.heard),
    }


def gradient(name: str, examples: Examples, change: np.ndarray) -> np.ndarray:
    """Slope of a head's loss, the sum over bands of the mean over frames; shape (k + 1, bands), float32.

    Parameters
    ----------
    name : str, of `HEADS`
    examples : Examples
    change : ndarray, shape (k + 1, bands)
    """
    values = np.ascontiguousarray(examples.values)
    error, slope = slopes(name, examples.logit + multiply(values, change), examples.target, GAMMA)
    pull = 2 * error
    if name == "gain":
        pull = (pull + 4 * QUARTIC * error**3) * np.where(error < 0, OVER, 1)
    down = np.ascontiguousarray(-pull * slope * examples.heard / len(values))
    return multiply(np.ascontiguousarray(values.T), down) * np.float32(WEIGHTS[name])


def learn(
    heads: Mapping[str, Examples],
    change: Change,
    *,
    rate: float,
    epochs: int,
    batch: int,
    proximal_mu: float = 0.0,
    rng: np.random.Generator,
) -> Change:
    """Stochastic gradient descent from a change that came from the server.

    Parameters
    ----------
    heads : mapping of str to Examples
        With n frames each.
    change : Change
    rate : float
    epochs : int
    batch : int
        Frames a step.
    proximal_mu : float
        Weight of half the squared distance from where it began (FedProx, Li et al., MLSys 2020, equation 2).
    rng : numpy.random.Generator
        Order of the frames.

    Returns
    -------
    Change
    """
    now = {name: change[name].copy() for name in HEADS}
    count = len(heads["gain"].values)
    for _ in range(epochs):
        order = rng.permutation(count)
        for begin in range(0, count, batch):
            rows = order[begin : begin + batch]
            for name in HEADS:
                part = Examples(*(column[rows] for column in heads[name]))
                slope = gradient(name, part, now[name]) + np.float32(proximal_mu) * (now[name] - change[name])
                now[name] -= np.float32(rate) * slope
    return now


def norm(change: Mapping[str, np.ndarray]) -> float:
    """Euclidean norm over all heads."""
    return float(np.sqrt(sum(float(np.sum(np.square(value, dtype=np.float64))) for value in change.values())))


def clipped(change: Mapping[str, np.ndarray], clip: float) -> Change:
    """The same direction, of norm `clip` at most (Abadi et al., CCS 2016, algorithm 1)."""
    factor = min(1.0, clip / max(norm(change), 1e-30))
    return {name: (value * factor).astype(np.float32) for name, value in change.items()}

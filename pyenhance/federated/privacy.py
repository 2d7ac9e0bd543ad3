"""What rounds give away of any one speaker: differential privacy, counted by dp-accounting's privacy losses.

In each round every client takes part by a coin of its own (Poisson sampling), its update is clipped to a norm C, and
Gaussian noise of z C is added to the sum (DP-FedAvg, McMahan et al., ICLR 2018). A client is a speaker, so what is
protected is a speaker with all recordings: neighbouring populations differ by one.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_SMALLEST_NOISE, _LARGEST_NOISE = 0.2, 1000.0
_TOLERANCE = 1e-3  # of the noise multiplier
_RENYI_ORDERS = (*range(2, 33), 48, 64, 128, 256)
_STEP = 1e-3  # of the privacy loss; rounded up, so that a coarse one only says a little too much


@dataclass(frozen=True)
class Budget:
    """How much rounds may give away, and the noise that keeps to it.

    Attributes
    ----------
    epsilon, delta : float
        The budget: (epsilon, delta) differential privacy of a speaker over all rounds.
    clip : float
        Largest norm C of a client's update.
    rate : float
        Probability with which a client takes part in a round.
    rounds : int
        That are wanted.
    noise_multiplier : float, optional
        z; by default the least with which all `rounds` keep to the budget. One that is too small for all of them
        makes the rounds stop earlier, see `rounds_within`.

    Raises
    ------
    ValueError
        A number that is out of range, no noise at all, or a budget that no noise keeps to.
    ImportError
        dp-accounting is not installed.
    """

    epsilon: float
    delta: float
    clip: float
    rate: float
    rounds: int
    noise_multiplier: float = field(default=math.nan)

    def __post_init__(self) -> None:
        for name, value, accepted, good in (
            ("epsilon", self.epsilon, "a number > 0", self.epsilon > 0 and math.isfinite(self.epsilon)),
            ("delta", self.delta, "a number between 0 and 1", 0 < self.delta < 1),
            ("clip", self.clip, "a number > 0", self.clip > 0 and math.isfinite(self.clip)),
            ("rate", self.rate, "a probability above 0, at most 1", 0 < self.rate <= 1),
            ("rounds", self.rounds, "1 or more", self.rounds >= 1),
        ):
            if not good:
                raise ValueError(f"privacy: {name} is {value}; accepted: {accepted}")
        if math.isnan(self.noise_multiplier):
            found = noise_multiplier(self.epsilon, self.delta, self.rate, self.rounds)
            object.__setattr__(self, "noise_multiplier", found)
        if not (self.noise_multiplier > 0 and math.isfinite(self.noise_multiplier)):
            raise ValueError(
                f"privacy: a noise multiplier of {self.noise_multiplier:g} with a budget of epsilon {self.epsilon:g}; "
                "accepted: a number > 0, without noise there is no budget"
            )

    def rounds_within(self) -> int:
        """After how many of the rounds the budget is spent; ValueError where the first one is too much."""
        low, high = 0, self.rounds
        while low < high:
            middle = (low + high + 1) // 2
            within = epsilon(self.noise_multiplier, self.delta, self.rate, middle) <= self.epsilon
            low, high = (middle, high) if within else (low, middle - 1)
        if not low:
            spent = epsilon(self.noise_multiplier, self.delta, self.rate, 1)
            raise ValueError(
                f"privacy: one round with noise multiplier {self.noise_multiplier:g} spends epsilon {spent:.3g}; "
                f"accepted: a budget of at least that, or more noise"
            )
        return low

    def spent(self, rounds: int) -> float:
        """Epsilon after so many rounds."""
        return epsilon(self.noise_multiplier, self.delta, self.rate, rounds)


@lru_cache(maxsize=64)
def epsilon(noise_multiplier: float, delta: float, rate: float, rounds: int) -> float:
    """Epsilon of so many rounds (of the subsampled Gaussian mechanism, added or removed: one client).

    Parameters
    ----------
    noise_multiplier : float > 0
    delta : float in (0, 1)
    rate : float in (0, 1]
    rounds : int
    """
    return _spent(_accountant(), noise_multiplier, delta, rate, rounds)


@lru_cache(maxsize=64)  # of one budget: runs differ by their seeds, and the search takes seconds
def noise_multiplier(epsilon: float, delta: float, rate: float, rounds: int) -> float:
    """The least noise multiplier, within 0.001, that keeps rounds within (epsilon, delta); ValueError if none does."""
    from scipy.optimize import brentq

    def over(accountant: Any) -> Any:
        return lambda noise: _spent(accountant(), noise, delta, rate, rounds) - epsilon

    # Renyi accounting is quick for any noise and an upper bound; privacy loss distributions grow with what they lose.
    least, most = _SMALLEST_NOISE, _LARGEST_NOISE
    if over(_renyi)(most) > 0:
        raise ValueError(
            f"privacy: no noise multiplier up to {most:g} keeps {rounds} rounds at rate {rate:g} within "
            f"epsilon {epsilon:g}, delta {delta:g}; accepted: a larger budget, or fewer rounds"
        )
    if over(_renyi)(least) <= 0:
        return least
    bound = brentq(over(_renyi), least, most, xtol=_TOLERANCE)
    tight = over(_accountant)
    low = max(bound / 2, least)
    if tight(low) <= 0:
        return low
    found = brentq(tight, low, bound * 1.05, xtol=_TOLERANCE)
    return float(found + _TOLERANCE)  # on the safe side of the root


def _dp_accounting() -> Any:
    try:
        import dp_accounting
    except ImportError as error:
        raise ImportError(f"accounting needs {error.name}: pip install 'pyenhance[federated]'") from error
    return dp_accounting


def _accountant() -> Any:
    accounting = _dp_accounting()
    from dp_accounting import pld

    neighbours = accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    return pld.PLDAccountant(neighbours, value_discretization_interval=_STEP)


def _renyi() -> Any:
    accounting = _dp_accounting()
    from dp_accounting import rdp

    return rdp.RdpAccountant(_RENYI_ORDERS, accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)


def _spent(accountant: Any, noise: float, delta: float, rate: float, rounds: int) -> float:
    accounting = _dp_accounting()
    event = accounting.GaussianDpEvent(noise)
    if rate < 1:
        event = accounting.PoissonSampledDpEvent(rate, event)
    return float(accountant.compose(event, rounds).get_epsilon(delta))

"""Who has which recordings: clips dealt out to clients, never evenly, because devices are not alike."""

from collections.abc import Sequence

import numpy as np

from . import CHOICES, check_choice
from .population import Population

_TRIES = 200


def partition(
    population: Population, kind: str, *, clients: int | None = None, alpha: float = 1.0, seed: int = 0
) -> list[np.ndarray]:
    """Deal the clips of those who take part out to clients.

    Parameters
    ----------
    population : Population
    kind : {"speaker", "dirichlet", "amount"}
        A client is a speaker with all clips; or has its own mixture of places and languages, whose clips are dealt by a
        Dirichlet draw for each of them (as labels in FedNLP, Lin et al., NAACL Findings 2022); or its own amount, by
        one Dirichlet draw, of clips of any kind.
    clients : int, optional
        How many; by default as many as there are speakers. Of speakers, so many are drawn.
    alpha : float
        Of the Dirichlet distributions: the smaller, the less alike.
    seed : int

    Returns
    -------
    list of ndarray, shape (n,), int64, n >= 1
        The clips of each client.

    Raises
    ------
    ValueError
        An unknown kind, fewer than one client or more than there are speakers or clips, alpha not above 0, or a client
        that stays without clips.
    """
    check_choice("partition", kind)
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}; accepted: a number > 0")
    own = np.flatnonzero(~population.held_out)
    speakers = sorted(set(population.speaker[own].tolist()))
    most = len(speakers) if kind == "speaker" else len(own)
    count = len(speakers) if clients is None else clients
    if not 1 <= count <= most:
        raise ValueError(f"{count} clients; accepted for the partition by {kind}: 1 to {most}")
    rng = np.random.default_rng([seed, CHOICES["partition"].index(kind)])
    if kind == "speaker":
        drawn = sorted(rng.permutation(len(speakers))[:count].tolist())
        return [own[population.speaker[own] == speakers[i]] for i in drawn]
    for _ in range(_TRIES):
        if kind == "dirichlet":
            of = _by_label(population, own, count, alpha, rng)
        else:
            of = rng.choice(count, len(own), p=rng.dirichlet(np.full(count, alpha)))
        dealt = [own[of == client] for client in range(count)]
        empty = [client for client, clips in enumerate(dealt) if not len(clips)]
        if not empty:
            return dealt
    raise ValueError(
        f"client {empty[0]} and {len(empty) - 1} more of {count} stay without clips after {_TRIES} draws; accepted: "
        f"fewer clients, or an alpha larger than {alpha:g}"
    )


def _by_label(
    population: Population, own: np.ndarray, count: int, alpha: float, rng: np.random.Generator
) -> np.ndarray:
    labels = np.char.add(np.char.add(population.place[own], "|"), population.language[own])
    of = np.zeros(len(own), np.int64)
    for label in sorted(set(labels.tolist())):
        same = labels == label
        of[same] = rng.choice(count, int(same.sum()), p=rng.dirichlet(np.full(count, alpha)))
    return of


def present(
    clips: np.ndarray, setting: str, server_round: int, *, rounds: int, window: float = 0.5, seed: Sequence[int] = (0,)
) -> np.ndarray:
    """Which of a client's clips it has in a round.

    Static: all of them. Continual: each arrives in a round of its own, drawn so that as many arrive before the first
    round as in any other time, and expires a while later.

    Parameters
    ----------
    clips : ndarray, shape (n,), int64
    setting : {"static", "continual"}
    server_round : int, 1 to `rounds`
    rounds : int
    window : float in (0, 1]
        How long a clip is kept, as a share of all rounds.
    seed : sequence of int
        The client's own.

    Raises
    ------
    ValueError
        An unknown setting, or a window that is not as above.
    """
    check_choice("setting", setting)
    if not 0 < window <= 1:
        raise ValueError(f"window is {window}; accepted: a share of the rounds above 0, at most 1")
    if setting == "static":
        return clips
    kept = window * rounds
    arrival = np.random.default_rng(list(seed)).uniform(1 - kept, rounds, len(clips))
    return clips[(arrival <= server_round) & (server_round < arrival + kept)]

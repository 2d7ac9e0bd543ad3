"""What lean frames are worth: who chooses them, what it costs in sound, and how long hops wait on slow devices."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..align import padded, trimmed
from ..dsp import HOP, SAMPLE_RATE
from ..enhancer import Enhancer
from ..evaluate.metrics import Scorer
from ..model import Model
from ..model.compatible import HEADS
from ..nn import FULL_EVERY, NetworkSpec, choose

SPEEDS = (0.4, 0.67, 0.7, 1.0, 2.0)
"""Of simulated devices, in units of what full frames alone need."""

_STALLS, _STALL_HOPS = 0.002, (5, 40)  # how many of the hops, and for how long
_STREAM_HOPS = 1000
_MS_PER_HOP = 1000 * HOP / SAMPLE_RATE
_SCORES = (("PESQ-WB", "pesq_wb"), ("STOI", "stoi"), ("SI-SDR, dB", "si_sdr"))


def lean_cost(spec: NetworkSpec) -> float:
    """Multiply-adds of a lean frame, in units of a full one's."""
    return spec.lean_multiply_adds / spec.multiply_adds


def drawn_stalls(steps: int, count: int, seed: int = 0) -> np.ndarray:
    """Hops for which devices stand still after each hop, hardly ever any; shape (steps, count)."""
    chance, length = np.random.default_rng(seed).random((2, steps, count))
    shortest, longest = _STALL_HOPS
    return (chance < _STALLS) * (shortest + (longest - shortest) * length)


def waits(wanted: np.ndarray, cost: float, speed: float, stalls: np.ndarray, *, give_way: bool = False) -> np.ndarray:
    """How long each hop waits for its turn on a device.

    Parameters
    ----------
    wanted : ndarray, shape (T, B), bool
        Which frames of B streams are to be full.
    cost : float
        Of a lean frame, in units of a full one's.
    speed : float
        Of the device: 1 is what full frames alone need.
    stalls : ndarray, shape (T, B), hops
        See `drawn_stalls`.
    give_way : bool
        A frame is lean while a hop waits, whatever is wanted.

    Returns
    -------
    ndarray, shape (T, B), hops
    """
    found = np.zeros(wanted.shape)
    wait = found[0]
    for t, full in enumerate(wanted):
        found[t] = wait
        took = np.where(full & ~(give_way & (wait >= 1)), 1.0, cost) / speed
        wait = np.maximum(wait + took + stalls[t] - 1, 0)
    return found


def waits_by_turns(cost: float, speed: float, stalls: np.ndarray) -> np.ndarray:
    """The same where `nn.choose` says which frames are full, by turns and by what waits; see `waits`."""
    found = np.zeros(stalls.shape)
    wait, turn = found[0], np.zeros(stalls.shape[1], int)
    for t, stall in enumerate(stalls):
        found[t] = wait
        full = np.array([bool(choose(k, 1, hops, "auto")[0]) for k, hops in zip(turn, wait, strict=True)])
        turn = np.where(full, 1, np.minimum(turn + 1, FULL_EVERY))
        wait = np.maximum(wait + np.where(full, 1.0, cost) / speed + stall - 1, 0)
    return found


@dataclass(frozen=True)
class Policy:
    """Who chooses.

    Attributes
    ----------
    name : str
    choose : callable, optional
        (hop number, voice activity of the hop before) -> full; None: turns, as the engine has them.
    """

    name: str
    choose: Callable[[int, float], bool] | None = None


def policies(voices: np.ndarray, share: float = 1 / FULL_EVERY) -> list[Policy]:
    """Those of the table.

    Parameters
    ----------
    voices : ndarray, shape (n,)
        Voice activities, of which the highest and the lowest such share are taken.
    share : float
        Of full frames, where chance or voice activity choose.
    """
    drawn = np.random.default_rng(0).random(1 << 16) < share
    low, high = np.quantile(voices, (share, 1 - share))
    return [
        Policy("full alone", lambda k, voice: True),
        Policy("lean alone, but for the first", lambda k, voice: k == 0),
        Policy("random", lambda k, voice: bool(drawn[k % len(drawn)])),
        Policy("full where voice is surest", lambda k, voice: voice > high),
        Policy("full where voice is least sure", lambda k, voice: voice < low),
        Policy("turns"),
    ]


def enhanced(policy: Policy, model: Model, noisy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A clip as a policy has it where nothing waits.

    Parameters
    ----------
    policy : Policy
    model : Model
        With lean frames.
    noisy : ndarray, shape (n,)

    Returns
    -------
    out : ndarray, shape (n,), aligned
    full : ndarray, shape (hops,), bool
    voice : ndarray, shape (hops,)
    """
    enhancer, memory, turn = Enhancer(model), model.network.new_memory(), model.network.spec.turn
    estimate = enhancer.estimate(padded(noisy, enhancer.latency_samples, HOP).reshape(-1, HOP))
    features = estimate.frames.features
    full, voice = np.zeros(len(features), bool), np.zeros(len(features))
    gain, strength = np.empty_like(estimate.gain), np.empty_like(estimate.strength)
    for k in range(len(features)):
        effort = "auto" if policy.choose is None else "lean"
        if policy.choose and policy.choose(k, voice[k - 1] if k else 0.0):
            memory[turn] = 0  # as if there had been no full frame yet
        full[k] = choose(memory[turn], 1, 0, effort)[0]
        found = model.runner.layers(features[k : k + 1], memory, HEADS, 0, effort)
        gain[k], strength[k], voice[k] = found["gain"][0], found["strength"][0], found["vad"][0, 0]
    out = enhancer.render(estimate._replace(gain=gain, strength=strength)).ravel()
    return trimmed(out, len(noisy), enhancer.latency_samples), full, voice


def report(model: Model, clips: Sequence[tuple[np.ndarray, np.ndarray]], cost: float | None = None) -> Iterator[str]:
    """Two tables in Markdown, line by line: what choices cost in sound, and how long hops wait with them.

    Parameters
    ----------
    model : Model
        With lean frames.
    clips : sequence of (clean, noisy)
        To be scored. Their choices, one clip after the other, are those of the streams that wait.
    cost : float, optional
        Time of a lean frame, in units of a full one's. By default that of its multiply-adds.
    """
    spec, scorer = model.network.spec, Scorer()
    yield "| choice | full frames | multiply-adds a hop | " + " | ".join(head for head, _ in _SCORES) + " |"
    yield "| " + " | ".join(["---"] * (3 + len(_SCORES))) + " |"
    _, _, voices = zip(*(enhanced(Policy("", lambda k, voice: True), model, noisy) for _, noisy in clips), strict=True)
    taken, before = {}, None
    for policy in policies(np.concatenate(voices)):
        rows, full = [], []
        for clean, noisy in clips:
            out, chosen, _ = enhanced(policy, model, noisy)
            score = scorer(clean, out)
            rows.append([score[name] for _, name in _SCORES])
            full.append(chosen)
        scores, taken[policy] = np.array(rows), np.concatenate(full)
        share = float(taken[policy].mean())
        mean = spec.mean_multiply_adds(share)
        cells = [policy.name, f"{share:.0%}", f"{mean:,.0f} ({mean / spec.multiply_adds:.0%})"]
        if before is None:
            before = scores
            cells += [f"{value:.4f}" for value in scores.mean(0)]
        else:
            change = scores - before
            moved = zip(scores.mean(0), change.mean(0), change.std(0) / np.sqrt(len(change)), strict=True)
            cells += [f"{value:.4f} ({by:+.4f} +- {error:.4f})" for value, by, error in moved]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield from _waits_table(taken, lean_cost(spec) if cost is None else cost)


def _waits_table(taken: dict[Policy, np.ndarray], cost: float) -> Iterator[str]:
    """Waits of the streams that policies' choices, shape (n,), make: as they are, and where they give way."""
    yield "| wait at a speed of: mean, p99 (ms) | " + " | ".join(f"{speed:g}" for speed in SPEEDS) + " |"
    yield "| " + " | ".join(["---"] * (1 + len(SPEEDS))) + " |"
    for policy, chosen in taken.items():
        steps = min(_STREAM_HOPS, len(chosen))
        wanted = chosen[: len(chosen) // steps * steps].reshape(-1, steps).T
        stalls = drawn_stalls(*wanted.shape)
        for give_way in (False, True):
            cells = [policy.name + (", lean while a hop waits" if give_way else "")]
            for speed in SPEEDS:
                if give_way and policy.choose is None:
                    found = waits_by_turns(cost, speed, stalls)
                else:
                    found = waits(wanted, cost, speed, stalls, give_way=give_way)
                cells.append(f"{_MS_PER_HOP * found.mean():.1f}, {_MS_PER_HOP * np.percentile(found, 99):.0f}")
            yield "| " + " | ".join(cells) + " |"

"""What federated rounds and single updates give away, measured by attacks on the cached activations of a population.

Who attacks a model knows the base, the rounds' settings and many speakers like those who took part, and asks who did
(membership inference), or how well secrets that were planted are remembered (exposure). Who attacks one update asks
whose it is, and what its speaker said as the heads saw it (inversion).
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluate.groups import CONFIDENCE, RESAMPLES, interval
from ..measure import gain_loss
from ..model.heads import Examples
from ..nn import multiply
from ..nn.activations import sigmoid
from .local import Change, clipped, learn, losses, no_change
from .population import Population, read_population, write_population
from .simulate import Settings, simulate

CANDIDATES = 256
"""Secrets of which one is planted."""

_CANARY_RANGE = (0.05, 0.95)  # of its gains
_LEAST_SPREAD = 1e-6
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def attack_rounds(
    path: Path,
    settings: Settings,
    *,
    runs: int = 8,
    canaries: int = 4,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Attack models of federated rounds: who took part, and what of planted secrets is left in them.

    In each run a random half of the speakers takes part; each run is a target in turn, and the others are the shadow
    models that its attacker has (Carlini et al., S&P 2022, the online attack with normal distributions). Some of those
    who take part are canaries: what is right for their recordings is one of `CANDIDATES` random gain curves, and
    exposure tells how far up its list of guesses an attacker finds the right one (Carlini et al., USENIX Security
    2019).

    Parameters
    ----------
    path : Path
        Of a population.
    settings : Settings
        Of the rounds; `partition` must be by speaker.
    runs : int, >= 3
    canaries : int, >= 1
        In each run.
    on_progress : callable, optional
        Called with runs done and runs in all.

    Returns
    -------
    dict
        speakers, runs, canaries; loss, calibrated, shadow: {"auc", "low", "high"} of membership inference by the loss,
        by how much it fell from the base's, and by shadow models, intervals over speakers; exposure: {"bits", "low",
        "high", "chance"}; gain_loss: {"before", "after"} of those held out, the mean of the runs; epsilon and
        noise_multiplier, with a budget.

    Raises
    ------
    ValueError
        Too few runs, canaries or speakers, or a partition that is not by speaker.
    """
    population = read_population(path.resolve())
    speakers = sorted(set(population.speaker[~population.held_out].tolist()))
    _check(settings, runs, canaries, len(speakers))
    rng = np.random.default_rng([settings.seed, 3])
    own = [population.examples(np.flatnonzero(population.speaker == name)) for name in speakers]
    start = no_change(population.heads)
    before = np.array([losses(heads, start)["gain"] for heads in own])
    member = np.zeros((runs, len(speakers)), bool)
    planted, after = np.zeros_like(member), np.zeros(member.shape)
    exposures: list[float] = []
    ends: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            chosen = rng.permutation(len(speakers))[: len(speakers) // 2]
            member[run, chosen] = planted[run, chosen[:canaries]] = True
            secrets = rng.uniform(*_CANARY_RANGE, (canaries, CANDIDATES, population.heads["gain"].target.shape[1]))
            kept = {speakers[i] for i in chosen}
            curves = {speakers[i]: secrets[j, 0] for j, i in enumerate(chosen[:canaries])}
            file = Path(folder) / f"{run}.npz"
            write_population(_those(population, kept, curves), file)
            facts, change = simulate(file, replace(settings, seed=settings.seed + run))
            file.unlink()
            ends.append(facts)
            after[run] = [losses(heads, change)["gain"] for heads in own]
            for speaker, own_secrets in zip(chosen[:canaries], secrets, strict=True):
                exposures.append(_exposure(own[speaker]["gain"], change["gain"], own_secrets))
            if on_progress:
                on_progress(run + 1, runs)
    judged = ~planted
    scores = {"loss": -after, "calibrated": before - after, "shadow": _shadow(before - after, member, judged)}
    found: dict[str, Any] = {"speakers": len(speakers), "runs": runs, "canaries": canaries}
    found |= {name: area(score, member, judged) for name, score in scores.items()}
    low, high = interval(np.array(exposures))
    ranks = np.arange(1, CANDIDATES + 1)
    chance = float(np.mean(np.log2(CANDIDATES) - np.log2(ranks)))
    found["exposure"] = {"bits": float(np.mean(exposures)), "low": low, "high": high, "chance": chance}
    curve = [[facts["losses"][i]["gain"] for facts in ends] for i in (0, -1)]
    found["gain_loss"] = dict(zip(("before", "after"), map(float, np.mean(curve, 1)), strict=True))
    return found | {key: ends[0][key] for key in ("epsilon", "noise_multiplier") if key in ends[0]}


def _check(settings: Settings, runs: int, canaries: int, speakers: int) -> None:
    if settings.partition != "speaker":
        raise ValueError(f"partition is {settings.partition!r}; accepted: 'speaker', whose membership is asked for")
    if runs < 3:
        raise ValueError(f"{runs} runs; accepted: 3 or more, a target and its shadows")
    if not 1 <= canaries < speakers // 2:
        raise ValueError(f"{canaries} canaries of {speakers} speakers; accepted: 1 to {speakers // 2 - 1}")


def _those(population: Population, kept: set[str], curves: Mapping[str, np.ndarray]) -> Population:
    """A population of the speakers who take part and those held out, some with another gain as what is right."""
    chosen = np.flatnonzero(population.held_out | np.isin(population.speaker, sorted(kept)))
    heads, lengths = population.examples(chosen), population.frames[chosen]
    gain = heads["gain"].target.copy()
    of = np.repeat(population.speaker[chosen], lengths)
    for name, curve in curves.items():
        gain[of == name] = curve
    heads["gain"] = heads["gain"]._replace(target=gain)
    names = ("speaker", "place", "language", "held_out")
    facts = {name: getattr(population, name)[chosen] for name in names}
    return population._replace(heads=heads, ends=np.cumsum(lengths), **facts)


def _exposure(examples: Examples, change: np.ndarray, secrets: np.ndarray) -> float:
    """How far up a list of guesses the first of the secrets stands, in bits: log2 of all less log2 of its rank."""
    said = sigmoid(examples.logit + multiply(np.ascontiguousarray(examples.values), change))
    within = examples.heard > 0
    found = np.array([gain_loss(said, np.broadcast_to(secret, said.shape), within) for secret in secrets])
    return float(np.log2(len(found)) - np.log2(1 + (found < found[0]).sum()))


def _shadow(score: np.ndarray, member: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Log likelihood ratio of each speaker's score in a run, under the other runs with and without that speaker.

    The spread is that of all speakers together: runs are too few for one of each speaker's own.
    """
    sides = []
    for inside in (True, False):
        others = judged & (member == inside)
        total, count = np.where(others, score, 0).sum(0), others.sum(0)
        left, number = total - np.where(others, score, 0), count - others
        mean = np.where(number > 0, left / np.maximum(number, 1), np.nan)
        spread = float(np.nanstd(np.where(others, score - total / np.maximum(count, 1), np.nan)))
        sides.append(-(((score - mean) / max(spread, _LEAST_SPREAD)) ** 2) / 2 - np.log(max(spread, _LEAST_SPREAD)))
    return np.asarray(sides[0] - sides[1])


def area(
    score: np.ndarray, member: np.ndarray, judged: np.ndarray, *, resamples: int = RESAMPLES // 4, seed: int = 0
) -> dict[str, float]:
    """Area under the ROC curve of scores that are to be higher for members, and its interval over speakers.

    Parameters
    ----------
    score : ndarray, shape (runs, speakers); NaN where there is none
    member, judged : ndarray, shape (runs, speakers), bool

    Returns
    -------
    dict: auc, low, high
    """
    try:
        from sklearn.metrics import roc_auc_score
    except ImportError as error:
        raise ImportError(f"attacks need {error.name}: pip install 'pyenhance[federated]'") from error
    usable = judged & np.isfinite(score)
    rng = np.random.default_rng(seed)

    def of(columns: np.ndarray) -> float:
        rows = usable[:, columns]
        truth = member[:, columns][rows]
        return float(roc_auc_score(truth, score[:, columns][rows])) if 0 < truth.sum() < truth.size else 0.5

    every = np.arange(score.shape[1])
    drawn = [of(rng.integers(len(every), size=len(every))) for _ in range(resamples)]
    low, high = np.quantile(drawn, _TAILS)
    return {"auc": of(every), "low": float(low), "high": float(high)}


def attack_updates(
    path: Path,
    *,
    clip: float,
    noises: Sequence[float] = (0.0, 0.1, 1.0),
    rate: float = Settings.rate,
    batch: int = Settings.batch,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Attack single updates, clipped and noised as devices export them (`update.make_update`).

    Each speaker learns twice, from one and from the other half of the clips. Whose an update of the second halves is
    is guessed by its cosine with all of the first halves. What was said is guessed by the ratio of the weights' change
    to the bias's, which for one frame is that frame and for many is their mean, weighted by their errors (Geiping et
    al., NeurIPS 2020); it is compared, less the mean of all speakers, with what the heads saw.

    Parameters
    ----------
    path : Path
        Of a population.
    clip : float > 0
    noises : sequence of float, >= 0
        Noise multipliers to try.
    rate, batch
        Of a device's steps, see `local.learn`.
    seed : int

    Returns
    -------
    list of dict
        Of each noise multiplier: noise_multiplier, speakers; named, named_low, named_high: share of updates that are
        given to the right speaker, and named_chance; frame, clip_mean: mean correlation of the inversion of an update
        from one frame and of one from half of a speaker's clips; clip_low, clip_high: of the latter; other: of the
        latter with what another speaker said.

    Raises
    ------
    ValueError
        A number out of range, or fewer than two speakers with two clips.
    """
    from .update import check_terms

    for noise in noises:
        check_terms(clip, noise)
    population = read_population(path.resolve())
    halves = _halves(population)
    rng = np.random.default_rng([seed, 4])
    start = no_change(population.heads)
    centre = population.heads["gain"].values.mean(0)[:-1]

    def taught(heads: Mapping[str, Examples]) -> Change:
        new = learn(heads, start, rate=rate, epochs=1, batch=batch, rng=rng)
        return clipped({name: new[name] - start[name] for name in new}, clip)

    pairs = [[population.examples(clips) for clips in both] for both in halves]
    updates = [[taught(heads) for heads in both] for both in pairs]
    frames = [{name: Examples(*(part[:1] for part in head)) for name, head in both[0].items()} for both in pairs]
    singles = [taught(heads) for heads in frames]
    seen = np.array([both[0]["gain"].values.mean(0)[:-1] for both in pairs]) - centre
    once = np.array([heads["gain"].values[0, :-1] for heads in frames]) - centre
    rows = []
    for noise in noises:
        sent = [[_noised(change, noise * clip, rng) for change in both] for both in updates]
        first, second = (np.array([_unit(both[i]) for both in sent]) for i in (0, 1))
        right = ((second @ first.T).argmax(1) == np.arange(len(sent))).astype(float)
        low, high = interval(right)
        found = np.array([_inverted(both[0]["gain"]) for both in sent]) - centre
        alone = np.array([_inverted(_noised(change, noise * clip, rng)["gain"]) for change in singles]) - centre
        own, others = _correlations(found, seen), _correlations(found, np.roll(seen, 1, 0))
        clip_low, clip_high = interval(own)
        row = {"noise_multiplier": float(noise), "speakers": len(sent), "named": float(right.mean())}
        row |= {"named_low": low, "named_high": high, "named_chance": 1 / len(sent)}
        row |= {"frame": float(_correlations(alone, once).mean()), "clip_mean": float(own.mean())}
        rows.append(row | {"clip_low": clip_low, "clip_high": clip_high, "other": float(others.mean())})
    return rows


def _halves(population: Population) -> list[tuple[np.ndarray, np.ndarray]]:
    """Clips of each speaker who takes part, in two halves; those with one clip are left out."""
    found = []
    for name in sorted(set(population.speaker[~population.held_out].tolist())):
        clips = np.flatnonzero(population.speaker == name)
        if len(clips) > 1:
            found.append((clips[::2], clips[1::2]))
    if len(found) < 2:
        raise ValueError(f"{len(found)} speakers have two clips or more; accepted: at least two speakers")
    return found


def _noised(change: Change, scale: float, rng: np.random.Generator) -> Change:
    return {name: value + scale * rng.normal(size=value.shape) for name, value in change.items()}


def _unit(change: Change) -> np.ndarray:
    flat = np.concatenate([value.ravel() for value in change.values()])
    return np.asarray(flat / max(float(np.linalg.norm(flat)), _LEAST_SPREAD))


def _inverted(change: np.ndarray) -> np.ndarray:
    """The directions x for which the change is nearest to x times that of the bias; shape (k,)."""
    bias = change[-1].astype(np.float64)
    return np.asarray(change[:-1] @ bias / max(float(bias @ bias), _LEAST_SPREAD**2))


def _correlations(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    a, b = (x - x.mean(1, keepdims=True) for x in (found, true))
    return np.asarray((a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), _LEAST_SPREAD))

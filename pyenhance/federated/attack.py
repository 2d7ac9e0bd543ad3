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
_NULL_DRAWS = 100
_LEAST_RIDGE = 1e-3  # of the mean scatter of speakers' updates, where there is no noise
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
    models that its attacker has, with and without the same speaker (Carlini et al., S&P 2022, the online attack with
    normal distributions of one spread). What is scored is the fall of a speaker's loss, and, where the attacker looks
    into the model (white box), what its change has in common with the speaker's own update. Some of those who take part
    are canaries: what is right for their recordings is one of `CANDIDATES` random gain curves, and exposure tells how
    far up its list of guesses an attacker finds the right one (Carlini et al., USENIX Security 2019).

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
        speakers, runs, canaries; loss, calibrated, shadow, white_box: {"auc", "low", "high"} of membership inference by
        the loss, by how much it fell from the base's, and by shadow models of either kind, intervals over speakers;
        chance: the same of the shadow attack on memberships that were drawn and not used, the interval over draws;
        exposure: {"bits", "low", "high", "chance"}; gain_loss: {"before", "after"} of those held out, the mean of the
        runs; epsilon and noise_multiplier, with a budget.

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
    changes: list[np.ndarray] = []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            chosen = _half(len(speakers), rng)
            member[run, chosen] = planted[run, chosen[:canaries]] = True
            secrets = rng.uniform(*_CANARY_RANGE, (canaries, CANDIDATES, population.heads["gain"].target.shape[1]))
            kept = {speakers[i] for i in chosen}
            curves = {speakers[i]: secrets[j, 0] for j, i in enumerate(chosen[:canaries])}
            file = Path(folder) / f"{run}.npz"
            write_population(_those(population, kept, curves), file)
            facts, change = simulate(file, replace(settings, seed=settings.seed + run))
            file.unlink()
            ends.append(facts)
            changes.append(_flat(change))
            after[run] = [losses(heads, change)["gain"] for heads in own]
            for speaker, own_secrets in zip(chosen[:canaries], secrets, strict=True):
                exposures.append(_exposure(own[speaker]["gain"], change["gain"], own_secrets))
            if on_progress:
                on_progress(run + 1, runs)
    judged, fall = ~planted, before - after
    seen = np.array(changes) @ _sought(own, settings, ends[0]["rounds"]).T
    scores = {"loss": -after, "calibrated": fall}
    scores |= {"shadow": _shadow(fall, member, judged), "white_box": _shadow(seen, member, judged)}
    found: dict[str, Any] = {"speakers": len(speakers), "runs": runs, "canaries": canaries}
    found |= {name: area(score, member, judged) for name, score in scores.items()}
    found["chance"] = _by_chance(fall, judged, rng)
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


def _half(speakers: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(speakers)[: speakers // 2]


def _flat(change: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([change[name].ravel() for name in sorted(change)])


def _sought(own: Sequence[Mapping[str, Examples]], settings: Settings, rounds: int) -> np.ndarray:
    """Directions in which a change tells of each speaker; shape (speakers, numbers).

    Each speaker's own update, less the mean, over how changes of such runs scatter (Fisher's discriminant). Half of the
    speakers take part, each with `rounds` / clients of an update in all, so that they scatter by (rounds / clients)^2
    U'U / 4; noise adds rounds (z C / (rate clients))^2 in each number. U (r I + U'U)^-1, with r the ratio of the two,
    is (r I + U U')^-1 U, in which there are as many rows as speakers.
    """
    start, taught = no_change(own[0]), []
    for place, heads in enumerate(own):
        rng = np.random.default_rng([settings.seed, 5, place])
        new = learn(heads, start, rate=settings.rate, epochs=settings.epochs, batch=settings.batch, rng=rng)
        taught.append(_flat(new if settings.clip is None else clipped(new, settings.clip)))
    updates = np.array(taught, np.float64)
    updates -= updates.mean(0)
    shared = updates @ updates.T
    ridge = _LEAST_RIDGE * float(np.trace(shared)) / len(shared) + _LEAST_SPREAD**2
    if budget := settings.budget(len(own) // 2):
        ridge += 4 * (budget.noise_multiplier * budget.clip / budget.rate) ** 2 / rounds
    return np.asarray(np.linalg.solve(shared + ridge * np.eye(len(shared)), updates))


def _shadow(score: np.ndarray, member: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """How much higher a speaker's score is in a run than the other runs let expect of that speaker outside.

    Of normal distributions with one spread for all, and one shift for those who take part, this is the log likelihood
    ratio but for a scale and an offset. Nothing of it knows who takes part in the run itself. A spread, or a shift, of
    each speaker's own would need more runs than there are.
    """
    told = np.zeros(score.shape)
    level = score - np.nanmean(np.where(judged, score, np.nan), 1, keepdims=True)  # what a run does to everyone
    for run in range(len(score)):
        others = judged & (np.arange(len(score)) != run)[:, None]
        inside = np.where(others, member - _mean_within(member, others), 0)
        shift = (level * inside).sum() / max((inside**2).sum(), _LEAST_SPREAD)
        told[run] = level[run] - _mean_within(level - shift * member, others)
    return told


def _mean_within(x: np.ndarray, within: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(within, x, 0).sum(0) / np.maximum(within.sum(0), 1))


def _by_chance(score: np.ndarray, judged: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """The shadow attack's area where it is told of memberships that no rounds knew, over draws of those."""
    found = []
    for _ in range(_NULL_DRAWS):
        member = np.zeros(score.shape, bool)
        for row in member:
            row[_half(len(row), rng)] = True
        found.append(_auc(_shadow(score, member, judged), member, judged))
    low, high = np.quantile(found, _TAILS)
    return {"auc": float(np.mean(found)), "low": float(low), "high": float(high)}


def area(
    score: np.ndarray, member: np.ndarray, judged: np.ndarray, *, resamples: int = RESAMPLES // 8, seed: int = 0
) -> dict[str, float]:
    """Area under the ROC curve of scores that are to be higher for members, and its interval over speakers.

    Parameters
    ----------
    score : ndarray, shape (runs, speakers)
    member, judged : ndarray, shape (runs, speakers), bool

    Returns
    -------
    dict: auc, low, high
    """
    rng = np.random.default_rng(seed)
    speakers = score.shape[1]
    picked = (rng.integers(speakers, size=speakers) for _ in range(resamples))
    drawn = [_auc(score[:, some], member[:, some], judged[:, some]) for some in picked]
    low, high = np.quantile(drawn, _TAILS)
    return {"auc": _auc(score, member, judged), "low": float(low), "high": float(high)}


def _auc(score: np.ndarray, member: np.ndarray, judged: np.ndarray) -> float:
    try:
        from sklearn.metrics import roc_auc_score
    except ImportError as error:
        raise ImportError(f"attacks need {error.name}: pip install 'pyenhance[federated]'") from error
    truth = member[judged]
    return float(roc_auc_score(truth, score[judged])) if 0 < truth.sum() < truth.size else 0.5


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

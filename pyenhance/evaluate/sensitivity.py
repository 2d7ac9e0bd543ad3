"""How much a model's gains move with what tells a protected attribute (Krishna et al., "Measuring fairness of text
classifiers via prediction sensitivity", ACL 2022), beside how unequally groups are served.

The accumulated prediction sensitivity is w' |J| v: |J| how much each gain moves with each feature, through the network
as it is trained, int8 simulated; w how much each output counts, here all alike; v how much each feature tells of the
attribute, here the size of the weights of a logistic probe. It is told relative to that of features that tell alike, so
that 1 is a model which leans on them as on any others.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import dsp
from ..align import padded
from ..dsp import HOP, SignalSpec, SignalState
from .groups import CONFIDENCE, MIN_CLIPS, MIN_SPEAKERS, interval
from .pairs import Pair, read_pair

ATTRIBUTE = "sex"
SHUFFLES = 200
"""Probes of attributes that were dealt out by chance: what the sensitivity is compared with."""

_MOST_CLIPS = 130
_MOST_FRAMES = 100  # of a clip
_BAND_STEP = 4  # neighbouring gains say nearly the same
_REGULARISATION = 0.1  # the probe's C
_FOLDS = 5


def sensitivity(
    pairs: Sequence[Pair],
    model: str,
    *,
    attribute: str = ATTRIBUTE,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Accumulated prediction sensitivity of a model's gains to an attribute of the speaker with two values.

    Parameters
    ----------
    pairs : sequence of Pair
        Those whose attribute is known take part, the first `_MOST_CLIPS` of them.
    model : str
        A shipped model's name or a weights file.
    attribute : str
        A kind of group that the pairs have.
    seed : int
        Of the attributes that are dealt out by chance.
    on_progress : callable, optional
        Called with clips done and clips in all.

    Returns
    -------
    dict
        attribute, clips, speakers; probe: share of clips of unheard speakers whose attribute the probe tells, and
        probe_chance: that of the larger group; ratio, low, high: the sensitivity relative to that of features that
        tell alike, and its interval over speakers; chance: what attributes dealt out to speakers by chance stay
        below in 19 of 20 cases.

    Raises
    ------
    ValueError
        The attribute has not two values of `MIN_CLIPS` clips and `MIN_SPEAKERS` speakers, or speakers are not known.
    ImportError
        The extra ``train`` or ``eval`` is not installed.
    """
    known = [pair for pair in pairs if pair.groups.get(attribute, "").removesuffix("?")][:_MOST_CLIPS]
    labels = np.array([pair.groups[attribute].removesuffix("?") for pair in known])
    speakers = np.array([pair.speaker for pair in known])
    _check(labels, speakers, attribute)
    jacobians, features = _of_clips(known, model, on_progress)
    scale = np.maximum(features.std((0, 1)), 1e-6)  # by the spread of features over all frames, so that units are alike
    moved = jacobians * scale
    told = features.mean(1) / scale
    rng = np.random.default_rng(seed)
    weights = _probe(told, labels)
    ratios = _ratio(moved, weights)
    names = np.unique(speakers)
    of = np.array([labels[speakers == name][0] for name in names])
    chance = []
    for _ in range(SHUFFLES):
        dealt = dict(zip(names, rng.permutation(of), strict=True))
        chance.append(float(_ratio(moved, _probe(told, np.array([dealt[name] for name in speakers]))).mean()))
    low, high = interval(ratios, speakers)
    shares = [float(np.mean(labels == value)) for value in np.unique(labels)]
    facts = {"attribute": attribute, "clips": len(known), "speakers": len(names)}
    facts |= {"probe": _told(told, labels, speakers), "probe_chance": max(shares)}
    facts |= {"ratio": float(ratios.mean()), "low": low, "high": high}
    return facts | {"chance": float(np.quantile(chance, CONFIDENCE))}


def _check(labels: np.ndarray, speakers: np.ndarray, attribute: str) -> None:
    counts = {value: (int((labels == value).sum()), len(set(speakers[labels == value]))) for value in set(labels)}
    if not all(speakers):
        raise ValueError("the pairs do not tell who speaks; accepted: a manifest with the column speaker")
    enough = [clips >= MIN_CLIPS and voices >= MIN_SPEAKERS for clips, voices in counts.values()]
    if len(counts) != 2 or not all(enough):
        told = ", ".join(f"{value} {clips} clips of {voices}" for value, (clips, voices) in sorted(counts.items()))
        raise ValueError(
            f"{attribute}: {told or 'no clips'}; accepted: two values of {MIN_CLIPS} clips and {MIN_SPEAKERS} speakers"
        )


def _of_clips(
    pairs: Sequence[Pair], model: str, on_progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, np.ndarray]:
    """|J| of each clip, summed over gains and frames, (clips, features), and features, (clips, frames, features).

    Clips are cut, or repeated, to the same number of frames.
    """
    try:
        import torch

        from ..train.network import load_int8
    except ImportError as error:
        raise ImportError(f"sensitivity needs {error.name}: pip install 'pyenhance[train]'") from error
    from ..model import load_model

    loaded = load_model(model)
    network = load_int8(loaded, freeze_scales=True)
    network.quantise = True
    jacobians, every = [], []
    bands = torch.arange(0, loaded.signal.num_bands, _BAND_STEP)
    for done, pair in enumerate(pairs, 1):
        features = _features(loaded.signal, read_pair(pair)[1])
        every.append(np.resize(features, (_MOST_FRAMES, features.shape[1])))
        # One copy a band: one backward pass then gives what each band's gains, summed over time, owe to each frame.
        x = torch.from_numpy(every[-1]).repeat(len(bands), 1, 1).requires_grad_()
        gain = torch.sigmoid(network(x)[0])
        (owed,) = torch.autograd.grad(gain[torch.arange(len(bands)), :, bands].sum(), x)
        jacobians.append(owed.abs().mean((0, 1)).numpy())
        if on_progress:
            on_progress(done, len(pairs))
    return np.array(jacobians), np.array(every)


def _features(signal: SignalSpec, noisy: np.ndarray) -> np.ndarray:
    hops = padded(noisy, 0, HOP).reshape(-1, HOP)
    return np.asarray(dsp.analyse(signal, SignalState(signal), hops).features[:_MOST_FRAMES], np.float32)


def _regression() -> Any:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ImportError(f"the probe needs {error.name}: pip install 'pyenhance[eval]'") from error
    return LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=1000)


def _probe(told: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How much each feature tells of the attribute: shares that add up to 1, shape (features,)."""
    size = np.abs(_regression().fit(told - told.mean(0), labels).coef_[0])
    return np.asarray(size / size.sum())


def _told(told: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> float:
    """Share of the clips of speakers whom the probe has not heard whose attribute it tells."""
    from sklearn.model_selection import GroupKFold, cross_val_predict

    found = cross_val_predict(_regression(), told, labels, groups=speakers, cv=GroupKFold(_FOLDS))
    return float(np.mean(found == labels))


def _ratio(moved: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """w' |J| v of each clip over that of features that tell alike; shape (clips,)."""
    return np.asarray(moved @ weights / moved.mean(1))


def agrees(facts: Mapping[str, Any], gap: Mapping[str, Any] | None) -> bool:
    """Whether a model leans on an attribute just where groups are served unequally; see `in_words`."""
    return gap is not None and (facts["ratio"] > facts["chance"]) == (gap["gap"] > gap["chance"])


def in_words(facts: Mapping[str, Any], gap: Mapping[str, Any] | None) -> str:
    """What was found, and whether it agrees with how unequally the groups are served.

    Parameters
    ----------
    facts : mapping
        Of `sensitivity`.
    gap : mapping, optional
        Of `groups.compare_groups`, between the attribute's groups; None where there was none to judge.
    """
    verb = "leans" if facts["ratio"] > facts["chance"] else "does not lean"
    said = (
        f"sensitivity to {facts['attribute']}: gains move {facts['ratio']:.2f} times as much ({facts['low']:.2f} to "
        f"{facts['high']:.2f}) with features that tell it as with others; attributes dealt out by chance give up to "
        f"{facts['chance']:.2f}, so the model {verb} on them (the probe is right on {facts['probe']:.0%} of unheard "
        f"speakers' clips, by chance {facts['probe_chance']:.0%})"
    )
    if gap is None:
        return f"{said}; there is no gap to compare it with"
    if agrees(facts, gap):
        return f"{said}; the gap between groups says the same"
    other = (
        "a gap beyond chance all the same"
        if gap["gap"] > gap["chance"]
        else "groups are served alike all the same, within chance"
    )
    return f"{said}; {other}: the two do not agree"

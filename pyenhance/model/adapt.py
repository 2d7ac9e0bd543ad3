"""Fit a model to one user's voice and room, on the user's own machine: two recordings in, a diff of some kilobytes out.

The voice is mixed into the noise, and the heads for gains and strengths are refitted to these mixes (`heads`), held by
a summary of public data (`summary`); the layers that remember begin half-way between where they began and where this
voice in this room takes them. A third of both recordings is held out: the result is kept only where it is better
there and costs little on the public frames of the summary.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import dsp
from ..dsp import SAMPLE_RATE, SignalState
from ..measure import NFR, SI_SDR_MARGIN_DB, gain_loss, si_sdr
from ..nn import initial_tensors
from ..nn.activations import sigmoid
from .diff import make_diff, weights_bytes
from .heads import Examples, anchors, changed_weights, head_inputs, head_logit, mix_examples, normal_equations, refit
from .recordings import HELD_OUT_SNRS_DB, TRAIN_SNRS_DB, Mix, check_noise, check_voice, make_mixes, split
from .registry import Model, load_model
from .summary import HEADS, Summary, shipped_summary, summary_of
from .weights import read_weights

DIFF_LIMIT_BYTES = 45_000

ANCHOR_FRAMES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
"""So many public frames are weighed against the user's, the next number where the one before holds too little."""

LOSS_RISE = 0.1
"""Most that the training's gain loss may rise by, as a share of itself: of the summary's public frames, and of what is
held out of the recordings, where SI-SDR has to rise. What is made small here is another error (`heads`)."""

BEGINNING = 0.5
"""How far layers begin from where they began towards what they remember on the average of the user's mixes: further is
better in that room, and worse in others."""

CLIP_S = 2.0
"""Length of the pieces in which the held-out mixes are judged."""

_REMEMBERED_FRAMES = 400  # how long it is heard from what a network begins (EXPERIMENTS.md, "Whole recordings")
_EVERY = 2  # neighbouring frames say nearly the same


class NotBetter(ValueError):
    """The shipped model stays: what was learnt is not better on what was held out."""


@dataclass(frozen=True)
class Adaptation:
    """A model that was fitted to a user.

    Attributes
    ----------
    diff : bytes
        From the shipped weights file to this one, at most `DIFF_LIMIT_BYTES`; see `apply_diffs`.
    weights : bytes
        The weights file.
    anchor_frames : int
        Of `ANCHOR_FRAMES`.
    figures : dict
        {"gain_loss", "si_sdr" (dB), "public_gain_loss": (before, after)}, means over the held-out clips.
    clips : list of dict
        Of each held-out clip: snr_db, gain_loss and si_sdr as (before, after).
    sounds : dict of str to ndarray, shape (n,), float32, 48 kHz
        {"noisy", "before", "after"}, aligned: a held-out mix, and what each model makes of it.
    """

    diff: bytes
    weights: bytes
    anchor_frames: int
    figures: dict[str, tuple[float, float]]
    clips: list[dict[str, Any]]
    sounds: dict[str, np.ndarray]


class _HeldOut(NamedTuple):
    snr_db: float
    noisy: np.ndarray
    clean: np.ndarray
    frames: dsp.Frames
    inputs: dict[str, np.ndarray]
    gain: np.ndarray  # the ideal one


def adapt(
    model: str | Path | bytes,
    voice: Any,
    noise: Any,
    *,
    progress: Callable[[int, int], None] | None = None,
    summary: bytes | None = None,
) -> Adaptation:
    """Fit a model to a voice and a room. The same arguments give the same bytes.

    Parameters
    ----------
    model : str, path or bytes
        A shipped model's name, a weights file, or its bytes.
    voice : ndarray, shape (n,), float32 or float64, 48 kHz
        The user, reading in quiet, with the microphone that will be used: half a minute is good.
    noise : ndarray, shape (n,), float32 or float64, 48 kHz
        The room while nobody speaks.
    progress : callable, optional
        Called with steps done and steps in all.
    summary : bytes, optional
        The model's summary; by default the one that ships with it.

    Returns
    -------
    Adaptation

    Raises
    ------
    NotBetter
        The result would not be better: the message has the figures.
    ValueError
        A recording that is silent, clipped, too short or too noisy, with what was measured and what is accepted; an
        unknown model; a summary that is not this model's.
    """
    steps = adapt_steps(model, voice, noise, summary=summary)
    while True:
        try:
            done, total = next(steps)
        except StopIteration as end:
            return end.value
        if progress is not None:
            progress(done, total)


def adapt_steps(
    model: str | Path | bytes, voice: Any, noise: Any, *, summary: bytes | None = None
) -> Generator[tuple[int, int], None, Adaptation]:
    """`adapt`, a step at a time, for those who have other things to do: yields steps done and steps in all."""
    voice, noise = check_voice(voice), check_noise(noise)
    base = bytes(model) if isinstance(model, bytes) else weights_bytes(model)
    shipped = load_model(base if isinstance(model, bytes) else model)
    public = summary_of(base, shipped_summary(shipped.name) if summary is None else summary)
    (voice, held_voice), (noise, held_noise) = split(voice), split(noise)
    done, total = 0, len(TRAIN_SNRS_DB) + len(HELD_OUT_SNRS_DB) + 1 + len(ANCHOR_FRAMES)
    parts, held = [], []
    memories: list[np.ndarray] = []
    rows = slice(None, None, _EVERY)
    for mix in make_mixes(voice, noise, TRAIN_SNRS_DB):
        parts.append(mix_examples(shipped, public, mix, rows, by_amplitude=True, memories=memories))
        yield (done := done + 1), total
    examples = {
        name: Examples(*map(np.concatenate, zip(*(part[name] for part in parts), strict=True))) for name in HEADS
    }
    for snr_db, mix in zip(HELD_OUT_SNRS_DB, make_mixes(held_voice, held_noise, HELD_OUT_SNRS_DB), strict=True):
        held.append(_hold_out(shipped, mix, snr_db))
        yield (done := done + 1), total
    before, sounds_before = _judge(shipped, shipped.tensors, held)
    beginning = _beginning(shipped, memories)
    begun = initial_tensors(shipped.network.spec, beginning)
    held = [_begun(shipped, mix, beginning) for mix in held]
    costs, first = anchors(public), {name: normal_equations(name, examples[name]) for name in HEADS}
    yield (done := done + 1), total

    def refitted(name: str, frames: int) -> np.ndarray:
        return refit(name, examples[name], public.heads[name].gram, frames / _EVERY * costs[name], first[name])

    reason: str | None = None
    for frames in ANCHOR_FRAMES:
        gain = refitted("gain", frames)
        others = _public_loss(public, gain)
        reason = _worse_for_others(others)
        if reason is not None:
            yield (done := done + 1), total
            continue
        changes = {"gain": gain, "strength": refitted("strength", frames)}
        weights, diff = _in_whole_steps(shipped, base, public, changes, begun)
        after, sounds_after = _judge(shipped, read_weights(weights).tensors, held)
        figures, clips = _figures(before, after)
        reason = _worse_here(figures, clips)
        if reason is None:
            yield total, total
            middle = len(held) // 2
            three = (held[middle].noisy, sounds_before[middle], sounds_after[middle])
            sounds = dict(zip(("noisy", "before", "after"), three, strict=True))
            return Adaptation(diff, weights, frames, figures | {"public_gain_loss": others}, clips, sounds)
        yield (done := done + 1), total
    raise NotBetter(f"the shipped model stays: {reason}")


def _hold_out(model: Model, mix: Mix, snr_db: float) -> _HeldOut:
    tail = (0, model.signal.latency_samples)  # so that the last clip comes out whole
    frames, gain, _ = dsp.ideal(model.signal, np.pad(mix.noisy, tail), np.pad(mix.clean, tail))
    return _HeldOut(snr_db, *mix, frames, head_inputs(model, frames.features), gain)


def _begun(model: Model, mix: _HeldOut, beginning: np.ndarray) -> _HeldOut:
    """What the heads see of a mix where the network begins so: after some seconds it no longer matters from what."""
    first = head_inputs(model, mix.frames.features[:_REMEMBERED_FRAMES], beginning.copy())
    return mix._replace(inputs={name: np.concatenate([x, mix.inputs[name][len(x) :]]) for name, x in first.items()})


def _beginning(model: Model, memories: list[np.ndarray]) -> np.ndarray:
    """From what a network is to begin, shape (n,), float32: see `BEGINNING`."""
    own = model.network.new_memory()
    if memories:
        own += np.float32(BEGINNING) * (np.mean(memories, 0) - own)
    return own


def _judge(
    model: Model, tensors: dict[str, np.ndarray], held: list[_HeldOut]
) -> tuple[list[tuple[float, float, float]], list[np.ndarray]]:
    """SNR, gain loss and SI-SDR of each clip, with such heads; and the enhanced mixes."""
    signal, size = model.signal, int(CLIP_S * SAMPLE_RATE)
    clips, sounds = [], []
    for mix in held:
        gain, strength = (sigmoid(head_logit(tensors, name, mix.inputs[name])) for name in HEADS)
        out = dsp.synthesise(signal, SignalState(signal), mix.frames, gain, strength).ravel()[signal.latency_samples :]
        for begin in range(0, len(out) - size + 1, size):
            clean, rows = mix.clean[begin : begin + size], slice(begin // dsp.HOP, (begin + size) // dsp.HOP)
            if np.any(clean):
                ratio = si_sdr(clean, out[begin : begin + size])
                clips.append((mix.snr_db, gain_loss(gain[rows], mix.gain[rows]), ratio))
        sounds.append(out[: len(mix.clean)])
    return clips, sounds


def _in_whole_steps(
    model: Model, base: bytes, public: Summary, changes: dict[str, np.ndarray], begun: dict[str, np.ndarray]
) -> tuple[bytes, bytes]:
    """Weights file and diff of changed heads; where the diff is too large, fewer entries change."""
    share = 1.0
    while True:
        weights = changed_weights(model, public, changes, share, begun)
        diff = make_diff(base, weights)
        if len(diff) <= DIFF_LIMIT_BYTES:
            return weights, diff
        share *= 0.8


def _figures(
    before: list[tuple[float, float, float]], after: list[tuple[float, float, float]]
) -> tuple[dict[str, tuple[float, float]], list[dict[str, Any]]]:
    """Means and clips, before and after."""
    clips: list[dict[str, Any]] = [
        {"snr_db": old[0], "gain_loss": (old[1], new[1]), "si_sdr": (old[2], new[2])}
        for old, new in zip(before, after, strict=True)
    ]
    figures = {
        name: (float(np.mean([clip[name][0] for clip in clips])), float(np.mean([clip[name][1] for clip in clips])))
        for name in ("gain_loss", "si_sdr")
    }
    return figures, clips


def _public_loss(public: Summary, change: np.ndarray) -> tuple[float, float]:
    """Gain loss of the public frames, before and after a change of the head."""
    head = public.heads["gain"]
    moved = head.logit + np.einsum("nk,kb->nb", head.values, change)
    before, after = (gain_loss(sigmoid(logit.copy()), head.target, public.heard) for logit in (head.logit, moved))
    return before, after


def _worse_for_others(loss: tuple[float, float]) -> str | None:
    """Why a result is not kept for the sake of other voices and rooms; None where it may be."""
    if loss[1] > loss[0] * (1 + LOSS_RISE):
        return (
            f"the gain loss of other voices and rooms goes from {loss[0]:.3f} to {loss[1]:.3f}; "
            f"accepted: {LOSS_RISE:.0%} more"
        )
    return None


def _worse_here(figures: dict[str, tuple[float, float]], clips: list[dict[str, Any]]) -> str | None:
    """Why a result is not kept for the held-out clips' sake: the gate's rule, with what numpy can measure."""
    loss, ratio = figures["gain_loss"], figures["si_sdr"]
    if loss[1] > loss[0] * (1 + LOSS_RISE):
        return (
            f"the gain loss of the held-out mixes goes from {loss[0]:.3f} to {loss[1]:.3f}; "
            f"accepted: {LOSS_RISE:.0%} more"
        )
    if ratio[1] < ratio[0]:
        return f"SI-SDR of the held-out mixes goes from {ratio[0]:.1f} to {ratio[1]:.1f} dB"
    falls = sum(clip["si_sdr"][1] < clip["si_sdr"][0] - SI_SDR_MARGIN_DB for clip in clips)
    if falls > NFR * len(clips):
        return (
            f"{falls} of {len(clips)} held-out clips fall by more than {SI_SDR_MARGIN_DB:g} dB of SI-SDR; "
            f"accepted: {NFR:.0%}"
        )
    return None

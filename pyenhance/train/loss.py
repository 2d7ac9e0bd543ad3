"""What the network is trained for: PercepNet's power-law losses on gains and strengths, and voice activity."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..measure import GAMMA, OVER, QUARTIC, SMALL

GOOD_WITHIN = 0.1
"""Largest error of an old model's gain, |sqrt(g) - sqrt(g_old)|, that counts as good: some 2 dB at gains near 1."""

HIGH_HZ = 5000.0
"""Bands whose centre lies above it may weigh less: there is little of speech that helps to understand it."""


def compressed(x: Tensor) -> Tensor:
    """Gains as they are compared: about their roots, with a finite slope at 0 (PercepNet, equation 19)."""
    return (x + SMALL) ** GAMMA


def percepnet_loss(
    gain_logit: Tensor,
    strength_logit: Tensor,
    vad_logit: Tensor,
    target: dict[str, Tensor],
    strength_weight: float = 0.5,
    vad_weight: float = 0.05,
    over: float = OVER,
    under: float = 0.0,
    band_weight: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L = L_g + w_r L_r + w_v L_v + w_u L_u (PercepNet, equations 19 and 20, and a term of over-suppressed speech).

    L_u is the mean of max(sqrt(g_target) - sqrt(g), 0)^2, each as far as its band is heard and somebody speaks: the
    asymmetric loss against over-suppression (Wang et al., Interspeech 2020, section 3.2), here on band gains.

    Parameters
    ----------
    gain_logit, strength_logit : Tensor, shape (B, T, 34)
    vad_logit : Tensor, shape (B, T)
    target : dict
        gain, strength (B, T, 34), vad (B, T), band_mask (B, 34): bands outside a clip's bandwidth count nothing.
    strength_weight, vad_weight : float
    over : float
        See `OVER`.
    under : float
        w_u; where it is 0 there is no such part.
    band_weight : Tensor, shape (34,), optional
        What each band counts (see `band_weights`); all alike by default.

    Returns
    -------
    loss : Tensor, scalar
    parts : dict of Tensor: gain, strength, vad, and under (detached)
    """
    gain, strength = torch.sigmoid(gain_logit.float()), torch.sigmoid(strength_logit.float())
    mask = target["band_mask"][:, None]
    if band_weight is not None:
        mask = mask * band_weight
    total = mask.sum() * gain.shape[1]
    error = compressed(target["gain"]) - compressed(gain)
    weight = torch.where(error < 0, over, 1.0) * mask
    gain_loss = ((error**2 + QUARTIC * error**4) * weight).sum() / total
    # A strength matters as far as its band is heard: where speech is absent the ideal one is chance.
    heard = mask * target["gain"]
    spoken = heard * target["vad"][..., None]
    under_loss = (error.clamp_min(0) ** 2 * spoken).sum() / (spoken.sum() + 1)
    error = compressed(1 - target["strength"]) - compressed(1 - strength)
    strength_loss = (error**2 * heard).sum() / (heard.sum() + 1)
    vad_loss = F.binary_cross_entropy_with_logits(vad_logit.float(), target["vad"])
    loss = gain_loss + strength_weight * strength_loss + vad_weight * vad_loss
    parts = {"gain": gain_loss.detach(), "strength": strength_loss.detach(), "vad": vad_loss.detach()}
    if under:
        loss = loss + under * under_loss
        parts["under"] = under_loss.detach()
    return loss, parts


def band_weights(centres_hz: np.ndarray, high: float) -> Tensor:
    """What each band counts: 1 up to `HIGH_HZ`, and above it what is given.

    Parameters
    ----------
    centres_hz : ndarray, shape (bands,)
    high : float

    Returns
    -------
    Tensor, shape (bands,), float32
    """
    return torch.from_numpy(np.where(centres_hz > HIGH_HZ, high, 1.0).astype(np.float32))


def congruence_loss(
    gain_logit: Tensor,
    old_gain: Tensor,
    target: dict[str, Tensor],
    alpha: float = 1.0,
    beta: float = 5.0,
    good_within: float = GOOD_WITHIN,
) -> tuple[Tensor, Tensor]:
    """Focal distillation: stay near an old model, most of all where it is good (Yan et al., CVPR 2021, equation 6).

    (alpha + beta [old is good here]) (sqrt(g) - sqrt(g_old))^2, the mean over frames and bands. A gain is good when its
    own error, sqrt(g_target) - sqrt(g_old), is within a bound: what a right answer is for classes.

    Parameters
    ----------
    gain_logit : Tensor, shape (B, T, bands)
    old_gain : Tensor, shape (B, T, bands), in [0, 1]
    target : dict
        As for `percepnet_loss`.
    alpha, beta : float
        Weight everywhere, and what is added where the old gain is good.
    good_within : float

    Returns
    -------
    loss : Tensor, scalar
    good : Tensor, scalar: share of the gains that are good
    """
    mask = target["band_mask"][:, None]
    total = mask.sum() * gain_logit.shape[1]
    old = compressed(old_gain)
    good = ((compressed(target["gain"]) - old).abs() <= good_within) * mask
    distance = (compressed(torch.sigmoid(gain_logit.float())) - old) ** 2
    return ((alpha * mask + beta * good) * distance).sum() / total, good.sum() / total

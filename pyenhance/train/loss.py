"""What the network is trained for: PercepNet's power-law losses on gains and strengths, and voice activity."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..measure import GAMMA, OVER, QUARTIC, SMALL


def _power(x: Tensor) -> Tensor:
    return (x + SMALL) ** GAMMA


def percepnet_loss(
    gain_logit: Tensor,
    strength_logit: Tensor,
    vad_logit: Tensor,
    target: dict[str, Tensor],
    strength_weight: float = 0.5,
    vad_weight: float = 0.05,
    over: float = OVER,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L = L_g + w_r L_r + w_v L_v (PercepNet, equations 19 and 20).

    Parameters
    ----------
    gain_logit, strength_logit : Tensor, shape (B, T, 34)
    vad_logit : Tensor, shape (B, T)
    target : dict
        gain, strength (B, T, 34), vad (B, T), band_mask (B, 34): bands outside a clip's bandwidth count nothing.
    strength_weight, vad_weight : float
    over : float
        See `OVER`.

    Returns
    -------
    loss : Tensor, scalar
    parts : dict of Tensor: gain, strength, vad (detached)
    """
    gain, strength = torch.sigmoid(gain_logit.float()), torch.sigmoid(strength_logit.float())
    mask = target["band_mask"][:, None]
    total = mask.sum() * gain.shape[1]
    error = _power(target["gain"]) - _power(gain)
    weight = torch.where(error < 0, over, 1.0) * mask
    gain_loss = ((error**2 + QUARTIC * error**4) * weight).sum() / total
    # A strength matters as far as its band is heard: where speech is absent the ideal one is chance.
    heard = mask * target["gain"]
    error = _power(1 - target["strength"]) - _power(1 - strength)
    strength_loss = (error**2 * heard).sum() / (heard.sum() + 1)
    vad_loss = F.binary_cross_entropy_with_logits(vad_logit.float(), target["vad"])
    loss = gain_loss + strength_weight * strength_loss + vad_weight * vad_loss
    parts = {"gain": gain_loss.detach(), "strength": strength_loss.detach(), "vad": vad_loss.detach()}
    return loss, parts

"""Old models beside the one that is trained: what it stays near to, and heads that its body must still serve."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..dsp import SignalSpec
from ..model import Model
from ..model.compatible import check_heads
from ..nn import NetworkSpec
from .network import load_int8


class OldModels(nn.Module):
    """Any number of models, none included, as they run: frozen, int8 simulated.

    Parameters
    ----------
    models : sequence of Model
    signal : SignalSpec
        Of the shards.
    body : NetworkSpec, optional
        Of the network that the models' heads are to be used on.

    Attributes
    ----------
    sums : list of str
        SHA-256 of each model's tensors.

    Raises
    ------
    ValueError
        A model of another signal path, heads that do not fit the body, or a body without a model.
    """

    def __init__(self, models: Sequence[Model], signal: SignalSpec, body: NetworkSpec | None = None) -> None:
        super().__init__()
        for model in models:
            if model.signal != signal:
                raise ValueError(f"old model {model.name!r} has {model.signal}; the shards have {signal}")
            if body:
                try:
                    check_heads(model.network.spec, body)
                except ValueError as error:
                    raise ValueError(f"old model {model.name!r}: {error}") from error
        if body and not models:
            raise ValueError("old heads are wanted of no old model; accepted: with at least one")
        self.sums = [model.metadata["sha256"] for model in models]
        self._networks = nn.ModuleList(load_int8(model, freeze_scales=True) for model in models)
        self.requires_grad_(False)
        for network in self._networks:
            network.quantise = True

    @torch.no_grad()
    def gain(self, features: Tensor) -> Tensor | None:
        """Mean of the models' gains, in [0, 1]: an ensemble. (B, T, features) -> (B, T, bands); None of no model."""
        if not len(self._networks):
            return None
        return torch.stack([torch.sigmoid(network(features)[0].float()) for network in self._networks]).mean(0)

    def heads_on(self, body: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Logits of each model's heads on the layers of a network: see `Network.run` and `Network.heads_on`."""
        return [network.heads_on(body) for network in self._networks]

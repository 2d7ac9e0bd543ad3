"""The network in torch, with int8 simulated on demand, so that what is trained is what will run."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..model.topology import CONV1_KERNEL, CONV2_KERNEL, Topology

ACTIVATION_LEVELS = 127
"""Steps between 0 and 1 of an int8 activation."""

WEIGHT_LIMIT = 1.0
"""Weights are kept within +- this, so that eight bits resolve them."""


def _straight_through(x: Tensor, quantised: Tensor) -> Tensor:
    return x + (quantised - x).detach()


def fake_quantise_weight(weight: Tensor) -> Tensor:
    """Weight as int8 times its row's scale (symmetric, per output channel); the gradient passes straight through."""
    scale = weight.detach().abs().amax(1, keepdim=True).clamp_min(1e-8) / ACTIVATION_LEVELS
    return _straight_through(weight, torch.round(weight / scale) * scale)


def fake_quantise_activation(x: Tensor) -> Tensor:
    """Activation in [-1, 1] on the int8 grid of 1/127; gradient passes straight through."""
    return _straight_through(x, torch.round(x.float() * ACTIVATION_LEVELS) / ACTIVATION_LEVELS)


class GRU(nn.Module):
    """PyTorch's GRU (gates r, z, n) with the input product of the whole sequence in one go."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        bound = units**-0.5
        self.weight_ih = nn.Parameter(torch.empty(3 * units, inputs).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(3 * units, units).uniform_(-bound, bound))
        self.bias_ih = nn.Parameter(torch.zeros(3 * units))
        self.bias_hh = nn.Parameter(torch.zeros(3 * units))

    def forward(self, x: Tensor, quantise: bool) -> Tensor:
        """x (T, B, inputs) -> h (T, B, units), float32, from a zero state."""
        weight_ih, weight_hh = self.weight_ih, self.weight_hh
        if quantise:
            weight_ih, weight_hh = fake_quantise_weight(weight_ih), fake_quantise_weight(weight_hh)
        projected = F.linear(x, weight_ih, self.bias_ih)
        return Recurrence.apply(projected, weight_hh, self.bias_hh, quantise)


class Recurrence(torch.autograd.Function):
    """The recurrent half of a GRU over a whole sequence, with its gradient written out.

    Autograd over single steps costs some forty small operations a step; here a step is one matrix product and a handful
    of element-wise operations each way, and everything that does not depend on the next step is done for all at once.
    """

    @staticmethod
    def forward(ctx, projected: Tensor, weight: Tensor, bias: Tensor, quantise: bool) -> Tensor:
        steps, batch, gates = projected.shape
        units = gates // 3
        weight = weight.to(projected.dtype)
        bias = bias.to(projected.dtype)
        gate_inputs = projected.float()
        h = gate_inputs.new_zeros(batch, units)
        out = gate_inputs.new_empty(steps, batch, units)
        rz_all = gate_inputs.new_empty(steps, batch, 2 * units)
        n_all = torch.empty_like(out)
        hidden_all = torch.empty_like(projected)
        transposed = weight.t().contiguous()
        for t in range(steps):
            seen = torch.round(h * ACTIVATION_LEVELS).div_(ACTIVATION_LEVELS) if quantise else h
            hidden = torch.addmm(bias, seen.to(weight.dtype), transposed, out=hidden_all[t])
            rz = torch.add(gate_inputs[t, :, : 2 * units], hidden[:, : 2 * units], out=rz_all[t]).sigmoid_()
            hidden_n = hidden[:, 2 * units :].float()
            n = torch.addcmul(gate_inputs[t, :, 2 * units :], rz[:, :units], hidden_n, out=n_all[t]).tanh_()
            h = torch.lerp(n, h, rz[:, units:], out=out[t])
        ctx.save_for_backward(out, rz_all, n_all, hidden_all, weight)
        ctx.quantise = quantise
        return out

    @staticmethod
    def backward(ctx, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        out, rz_all, n, hidden_all, weight = ctx.saved_tensors
        steps, batch, units = out.shape
        before = torch.cat((out.new_zeros(1, batch, units), out[:-1]))
        r, z = rz_all.split(units, -1)
        to_n = (1 - z) * (1 - n * n)
        slopes = out.new_empty(steps, batch, 3, units)
        torch.mul(to_n * r * (1 - r), hidden_all[..., 2 * units :], out=slopes[:, :, 0])
        torch.mul((before - n) * z, 1 - z, out=slopes[:, :, 1])
        torch.mul(to_n, r, out=slopes[:, :, 2])
        grad_hidden = torch.empty(steps, batch, 3, units, dtype=weight.dtype, device=out.device)
        grad_h = torch.empty_like(out)
        carried = out.new_zeros(batch, units)
        for t in range(steps - 1, -1, -1):
            dh = torch.add(carried, grad_out[t], out=grad_h[t])
            torch.mul(dh[:, None], slopes[t], out=grad_hidden[t])
            carried = torch.addcmul((grad_hidden[t].view(batch, -1) @ weight).float(), dh, z[t])
        grad_projected = torch.cat((grad_hidden[:, :, :2].flatten(2), (grad_h * to_n).to(weight.dtype)), -1)
        seen = torch.round(before * ACTIVATION_LEVELS) / ACTIVATION_LEVELS if ctx.quantise else before
        flat = grad_hidden.view(steps * batch, -1)
        grad_weight = (flat.t() @ seen.view(steps * batch, -1).to(weight.dtype)).float()
        return grad_projected, grad_weight, flat.float().sum(0), None


class PercepNet(nn.Module):
    """Features in, gains, strengths and voice activity out (PercepNet, section 6).

    Parameters
    ----------
    topology : Topology

    Attributes
    ----------
    quantise : bool
        Simulate int8 weights and activations.
    """

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self.topology = topology
        self.quantise = False
        for name, (kind, inputs, outputs) in topology.layers().items():
            if kind == "gru":
                layer: nn.Module = GRU(inputs, outputs)
            else:
                layer = nn.Linear(inputs * (int(kind[4:]) if kind.startswith("conv") else 1), outputs)
            self.add_module(name, layer)

    def forward(self, features: Tensor, trace: dict[str, Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Whole sequences from a zero state.

        Parameters
        ----------
        features : Tensor, shape (B, T, 70)
        trace : dict, optional
            Receives the output of each layer, (T, B, units), float32 and, when simulated, on the int8 grid.

        Returns
        -------
        gain, strength : Tensor, shape (B, T, 34), logits
        vad : Tensor, shape (B, T), logits
        """
        x = features.transpose(0, 1)
        dense = self._keep("dense", torch.clamp(self._linear("dense", x).float(), 0, 1), trace)
        conv1 = self._keep("conv1", torch.clamp(self._conv("conv1", dense, CONV1_KERNEL).float(), 0, 1), trace)
        conv2 = self._keep("conv2", torch.tanh(self._conv("conv2", conv1, CONV2_KERNEL).float()), trace)
        gru1 = self._keep("gru1", self.gru1(conv2, self.quantise), trace)
        gru2 = self._keep("gru2", self.gru2(gru1, self.quantise), trace)
        gru3 = self._keep("gru3", self.gru3(gru2, self.quantise), trace)
        gain_gru = self._keep("gain_gru", self.gain_gru(gru3, self.quantise), trace)
        both = torch.cat((gru3, conv2), -1)
        strength_gru = self._keep("strength_gru", self.strength_gru(both, self.quantise), trace)
        gain = self._linear("gain", torch.cat((conv2, gru1, gru2, gru3, gain_gru), -1))
        strength = self._linear("strength", strength_gru)
        vad = self._linear("vad", strength_gru)
        return gain.transpose(0, 1), strength.transpose(0, 1), vad.transpose(0, 1).squeeze(-1)

    def _keep(self, name: str, x: Tensor, trace: dict[str, Tensor] | None) -> Tensor:
        if self.quantise:
            x = fake_quantise_activation(x)
        if trace is not None:
            trace[name] = x
        return x

    def _linear(self, name: str, x: Tensor) -> Tensor:
        layer = getattr(self, name)
        weight = fake_quantise_weight(layer.weight) if self.quantise else layer.weight
        return F.linear(x, weight, layer.bias)

    def _conv(self, name: str, x: Tensor, kernel: int) -> Tensor:
        """Causal convolution as one product over the last `kernel` frames, oldest first."""
        padded = F.pad(x, (0, 0, 0, 0, kernel - 1, 0))
        return self._linear(name, torch.cat([padded[k : k + len(x)] for k in range(kernel)], -1))

    @torch.no_grad()
    def limit_weights(self) -> None:
        """Clip matrices to +- WEIGHT_LIMIT."""
        for parameter in self.parameters():
            if parameter.ndim == 2:
                parameter.clamp_(-WEIGHT_LIMIT, WEIGHT_LIMIT)

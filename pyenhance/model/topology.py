"""The shape of a network: a few widths, from which every layer follows."""

import json
from dataclasses import asdict, dataclass, fields

from ..dsp.constants import NUM_BANDS, NUM_FEATURES

CONV1_KERNEL, CONV2_KERNEL = 5, 3
"""Frames that the two causal convolutions see."""


SOURCES = {
    "dense": ("features",),
    "conv1": ("dense",),
    "conv2": ("conv1",),
    "gru1": ("conv2",),
    "gru2": ("gru1",),
    "gru3": ("gru2",),
    "gain_gru": ("gru3",),
    "gain": ("conv2", "gru1", "gru2", "gru3", "gain_gru"),
    "strength_gru": ("gru3", "conv2"),
    "strength": ("strength_gru",),
    "vad": ("strength_gru",),
}
"""What each layer sees, side by side."""


@dataclass(frozen=True)
class Topology:
    """Widths of the PercepNet layers.

    dense -> conv1 (5 frames) -> conv2 (3 frames) -> gru1 -> gru2 -> gru3, then gain_gru -> gains, strength_gru ->
    strengths and voice activity (PercepNet, figure 3; sizes of the paper: 128, 512, 512, 512, 512, 128).

    Attributes
    ----------
    dense, conv1, conv2, gru, gain_gru, strength_gru : int, units
    """

    dense: int
    conv1: int
    conv2: int
    gru: int
    gain_gru: int
    strength_gru: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 4096:
                raise ValueError(f"topology: {field.name} is {value!r}; accepted: a whole number from 1 to 4096")

    def layers(self) -> dict[str, tuple[str, int, int]]:
        """Kind ("linear", "conv5", "conv3", "gru"), inputs and outputs of each layer, by name, in order."""
        gain_inputs = self.conv2 + 3 * self.gru + self.gain_gru
        return {
            "dense": ("linear", NUM_FEATURES, self.dense),
            "conv1": (f"conv{CONV1_KERNEL}", self.dense, self.conv1),
            "conv2": (f"conv{CONV2_KERNEL}", self.conv1, self.conv2),
            "gru1": ("gru", self.conv2, self.gru),
            "gru2": ("gru", self.gru, self.gru),
            "gru3": ("gru", self.gru, self.gru),
            "gain_gru": ("gru", self.gru, self.gain_gru),
            "gain": ("linear", gain_inputs, NUM_BANDS),
            "strength_gru": ("gru", self.gru + self.conv2, self.strength_gru),
            "strength": ("linear", self.strength_gru, NUM_BANDS),
            "vad": ("linear", self.strength_gru, 1),
        }

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type ("I8" or "F32") and shape of each tensor in a weights file."""
        tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, (kind, inputs, outputs) in self.layers().items():
            if kind == "gru":
                matrices = {"weight_ih": (3 * outputs, inputs), "weight_hh": (3 * outputs, outputs)}
                biases = {"bias_ih": 3 * outputs, "bias_hh": 3 * outputs}
            else:
                kernel = int(kind[4:]) if kind.startswith("conv") else 1
                matrices, biases = {"weight": (outputs, kernel * inputs)}, {"bias": outputs}
            for matrix, shape in matrices.items():
                tensors[f"{name}.{matrix}"] = ("I8", shape)
                tensors[f"{name}.{matrix}_scale"] = ("F32", (shape[0],))
            for bias, size in biases.items():
                tensors[f"{name}.{bias}"] = ("F32", (size,))
        return tensors

    @property
    def weights(self) -> int:
        """Number of int8 weights, each used once a hop."""
        return sum(shape[0] * shape[1] for kind, shape in self.tensors().values() if kind == "I8")

    def to_json(self) -> str:
        """JSON object of the widths."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Topology":
        """Inverse of `to_json`; ValueError that names what is wrong."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"topology is no JSON: {text[:80]!r}") from error
        expected = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != expected:
            raise ValueError(f"topology is {text[:200]!r}; accepted: an object with {sorted(expected)}")
        return cls(**values)


TOPOLOGIES = {
    "tiny": Topology(dense=64, conv1=64, conv2=64, gru=64, gain_gru=64, strength_gru=48),
    "default": Topology(dense=128, conv1=256, conv2=256, gru=256, gain_gru=256, strength_gru=128),
    "large": Topology(dense=128, conv1=512, conv2=512, gru=512, gain_gru=512, strength_gru=128),
}
"""Named shapes: about 0.2, 2.2 and 8 million weights."""

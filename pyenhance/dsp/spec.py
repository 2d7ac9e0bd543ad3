"""The signal path as a value: what a model was trained for, from which every table, size and delay follows."""

import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property

import numpy as np

from .bands import BIN_HZ, band_centres, band_table, band_weights
from .comb import COMB_REACH, tap_table
from .constants import HOP, NUM_BINS, SAMPLE_RATE, WINDOW

MIN_BANDS, MAX_BANDS = 8, 64
MAX_LOOKAHEAD_FRAMES = 4
MAX_FINE_BINS = 48


@dataclass(frozen=True)
class SignalSpec:
    """The numbers of a signal path that models may choose.

    Attributes
    ----------
    num_bands : int
        ERB bands between 0 and 20 kHz, 8 to 64.
    lookahead_frames : int
        Hops that the enhancer has heard beyond the frame that it answers for, 0 to 4.
    fine_bins : int
        Lowest bins of the spectrum, 50 Hz apart, from bin 1 on, that the network sees one by one beside the bands, 0 to
        48: down there a band is as wide as a few harmonics, and between them there may be noise.

    Raises
    ------
    ValueError
        A number that is not accepted.
    """

    num_bands: int = 34
    lookahead_frames: int = 2
    fine_bins: int = 0

    def __post_init__(self) -> None:
        accepted = {
            "num_bands": (MIN_BANDS, MAX_BANDS),
            "lookahead_frames": (0, MAX_LOOKAHEAD_FRAMES),
            "fine_bins": (0, MAX_FINE_BINS),
        }
        for name, (low, high) in accepted.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"signal: {name} is {value!r}; accepted: a whole number from {low} to {high}")

    @property
    def sample_rate(self) -> int:
        """Hz; the same for all models."""
        return SAMPLE_RATE

    @property
    def hop(self) -> int:
        """Samples; the same for all models."""
        return HOP

    @cached_property
    def num_features(self) -> int:
        """Network inputs a hop: band energies and coherences, pitch period and correlation, energies of fine bins."""
        return 2 * self.num_bands + 2 + self.fine_bins

    @cached_property
    def latency_samples(self) -> int:
        """Delay of the enhancer: one hop of window overlap and the look-ahead."""
        return HOP * (1 + self.lookahead_frames)

    @cached_property
    def history_samples(self) -> int:
        """Samples before the newest hop that analysis looks at."""
        return COMB_REACH + WINDOW + (self.lookahead_frames - 1) * HOP

    @cached_property
    def frame_start(self) -> int:
        """First sample, within history and new hops, of the frame that the first new hop is the newest for."""
        return self.history_samples - self.latency_samples

    @cached_property
    def band_centres(self) -> np.ndarray:
        """Bin of each band's peak, shape (num_bands,), int."""
        return band_centres(self.num_bands)

    @property
    def band_centres_hz(self) -> np.ndarray:
        """Frequency of each band's peak, shape (num_bands,), Hz."""
        return self.band_centres * BIN_HZ

    @cached_property
    def band_weights(self) -> np.ndarray:
        """Share of each bin in each band, shape (bins up to 20 kHz, num_bands), float32; every row sums to one."""
        return band_weights(self.band_centres)

    @cached_property
    def band_table(self) -> tuple[np.ndarray, np.ndarray]:
        """Each band's bins and their shares, shapes (bins of the widest band, num_bands), int and float32."""
        return band_table(self.band_weights)

    @cached_property
    def band_bins(self) -> int:
        """Bins that belong to a band (0 to 20 kHz); those above are silenced."""
        return len(self.band_weights)

    @cached_property
    def interpolation(self) -> np.ndarray:
        """The same triangles for spreading band values over all bins, shape (num_bands, 481), float32."""
        table = np.zeros((self.num_bands, NUM_BINS), np.float32)
        table[:, : self.band_bins] = self.band_weights.T
        return table

    @cached_property
    def taps(self) -> np.ndarray:
        """Weights of the comb filter for every period, shape (periods, 11), float32 (see `comb.tap_table`)."""
        return tap_table(self.lookahead_frames * HOP)

    @cached_property
    def tap_power(self) -> np.ndarray:
        """sigma_w^2, noise power that the comb leaves, for every period, shape (periods,), float32."""
        return (self.taps.astype(np.float64) ** 2).sum(1).astype(np.float32)

    def to_json(self) -> str:
        """JSON object of the numbers; without fine bins it is as it was before there were any."""
        values = asdict(self)
        if not self.fine_bins:
            del values["fine_bins"]
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> "SignalSpec":
        """Inverse of `to_json`; ValueError that names what is wrong."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"signal is no JSON: {text[:80]!r}") from error
        names = {field.name for field in fields(cls)}
        needed = names - {"fine_bins"}
        if not isinstance(values, dict) or not needed <= set(values) <= names:
            raise ValueError(
                f"signal is {text[:200]!r}; accepted: an object with {', '.join(sorted(needed))} and, if any, fine_bins"
            )
        return cls(**values)

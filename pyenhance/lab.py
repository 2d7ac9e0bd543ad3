"""The article's ladder, made playable: from the noisy sound to the enhanced one, by the enhancer's own functions.

Some of these functions can be replaced by other source inside the lab, to hear what they are for.
"""

import inspect
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from . import dsp
from .align import padded, trimmed
from .dsp import HOP, SignalState, comb, postfilter
from .dsp.bands import band_centres, band_weights, power
from .dsp.stft import istft, stft
from .measure import si_sdr
from .model import load_model

STEPS = ("noisy", "bins", "gains", "comb", "postfilter", "network")
"""In this order each adds one thing: nothing; ideal gains bin by bin; ideal gains in bands; the comb filter with ideal
strengths; the post-filter; the network's estimates in the place of ideal values."""

MAX_BANDS = 200
_TINY = np.float32(1e-12)
_FLOOR_DB = -90

# Where each is defined. The first are handed to synthesis, the others to analysis.
_SYNTHESIS: dict[str, ModuleType] = {"envelope_postfilter": postfilter, "mix": comb}
_ANALYSIS: dict[str, ModuleType] = {"comb_filter": comb}
_EDITABLE = _SYNTHESIS | _ANALYSIS


class Lab:
    """Noisy and clean sound on the bench.

    Parameters
    ----------
    noisy, clean : array_like, shape (n,), float32
        Aligned, at 48 kHz; n >= 1.
    model : str
        A shipped model's name or a weights file, for the last step.

    Raises
    ------
    ValueError
        Shapes differ, samples that are no finite numbers, or an unknown model.
    """

    def __init__(self, noisy: Any, clean: Any, model: str = "default") -> None:
        y, x = (np.asarray(v, np.float32) for v in (noisy, clean))
        if y.ndim != 1 or y.shape != x.shape or not len(y):
            raise ValueError(f"noisy {y.shape} and clean {x.shape}; accepted: (n,) alike, n >= 1")
        if not (np.isfinite(y).all() and np.isfinite(x).all()):
            raise ValueError("noisy or clean holds samples that are NaN or Inf; accepted: finite samples")
        self.length = len(y)
        self.model = load_model(model)
        self.signal = self.model.signal
        self.noisy, self.clean = (padded(v, self.signal.latency_samples, HOP) for v in (y, x))
        self.edits: dict[str, Any] = {}

    @cached_property
    def _ideal(self) -> tuple[dsp.Frames, np.ndarray, np.ndarray]:
        """As of `dsp.ideal`: most of a step's work, and the same until the analysis is edited."""
        return dsp.ideal(self.signal, self.noisy, self.clean, **self._edited(_ANALYSIS))

    @cached_property
    def _estimated(self) -> tuple[np.ndarray, np.ndarray]:
        """The network's gains and strengths in the place of the ideal ones."""
        gain, strength, _ = self.model.estimate(self._ideal[0].features, self.model.network.new_memory())
        return gain, strength

    def run(self, step: str, bands: int = 34, comb: float = 1.0) -> np.ndarray:
        """The sound after a step.

        Parameters
        ----------
        step : str
            One of `STEPS`.
        bands : int
            Of the step "gains", 2 to 200; what follows it has 34.
        comb : float
            Strengths are multiplied with this and limited to one.

        Returns
        -------
        ndarray, shape (n,), float32, aligned with the input

        Raises
        ------
        ValueError
            An unknown step, a number of bands that is not accepted, or an edited function whose result is no finite
            sound.
        """
        if step not in STEPS:
            raise ValueError(f"step is {step!r}; accepted: {', '.join(STEPS)}")
        if not 2 <= bands <= MAX_BANDS:
            raise ValueError(f"bands is {bands}; accepted: 2 to {MAX_BANDS}")
        if step == "noisy":
            return self.noisy[: self.length]
        # Copies: an edited function may write into what it is given.
        frames, *targets = self._ideal
        frames = dsp.Frames(*(np.array(values) for values in vars(frames).values()))
        if step == "bins":
            hops = _resynthesise(frames.spectrum * self._bin_gains(frames))
        elif step == "gains":
            hops = _resynthesise(frames.spectrum * self._band_gains(frames, bands))
        else:
            gain, strength = self._estimated if step == "network" else targets
            strength = np.minimum(np.float32(comb) * strength, 1)
            hops = dsp.synthesise(
                self.signal,
                SignalState(self.signal),
                frames,
                gain.copy(),
                strength,
                postfilter=step != "comb",
                **self._edited(_SYNTHESIS),
            )
        out = trimmed(np.asarray(hops, np.float32), self.length, self.signal.latency_samples)
        if len(out) != self.length or not np.isfinite(out).all():
            raise ValueError(f"the result of {', '.join(self.edits) or step} is no finite sound")
        return out

    def si_sdr(self, sound: np.ndarray) -> float:
        """Scale-invariant signal-to-distortion ratio of a step's sound, dB."""
        return si_sdr(self.clean[: self.length], sound)

    @staticmethod
    def source(name: str) -> str:
        """Python source of a function that can be edited (see `edit`)."""
        module = _EDITABLE[_known(name)]
        return inspect.getsource(getattr(module, name))

    def edit(self, name: str, source: str) -> None:
        """Use other source for one of the enhancer's functions: envelope_postfilter, mix or comb_filter.

        Raises
        ------
        ValueError
            The source is no Python, or does not define the function.
        """
        module = _EDITABLE[_known(name)]
        if source == self.source(name):
            self.edits.pop(name, None)
            self._forget(name)
            return
        space = dict(vars(module))
        original = space.pop(name)
        try:
            exec(compile(source, f"<{name}>", "exec"), space)
        except Exception as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        if not callable(space.get(name)) or space[name] is original:
            raise ValueError(f"the source defines no function {name!r}")
        self.edits[name] = space[name]
        self._forget(name)

    def _forget(self, name: str) -> None:
        """What came from a function that has changed."""
        if name in _ANALYSIS:
            for kept in ("_ideal", "_estimated"):
                vars(self).pop(kept, None)

    def _edited(self, stage: dict[str, ModuleType]) -> dict[str, Any]:
        """The edits that go to a stage, by name."""
        return {name: function for name, function in self.edits.items() if name in stage}

    def _clean_power(self) -> np.ndarray:
        """|X|^2 of the frames that `dsp.ideal` answers for, shape (K, 481)."""
        padded = np.concatenate((np.zeros(self.signal.latency_samples, np.float32), self.clean))
        starts = HOP * np.arange(len(self.clean) // HOP)
        return power(stft(padded[starts[:, None] + np.arange(2 * HOP)]))

    def _bin_gains(self, frames: dsp.Frames) -> np.ndarray:
        return np.sqrt(np.minimum(self._clean_power() / (power(frames.spectrum) + _TINY), 1))

    def _band_gains(self, frames: dsp.Frames, bands: int) -> np.ndarray:
        weights = band_weights(band_centres(bands, spacing=1))
        used = len(weights)
        ratio = (self._clean_power()[:, :used] @ weights) / (power(frames.spectrum)[:, :used] @ weights + _TINY)
        gains = np.zeros(frames.spectrum.shape, np.float32)
        gains[:, :used] = np.sqrt(np.minimum(ratio, 1)) @ weights.T
        return gains


def _known(name: str) -> str:
    if name not in _EDITABLE:
        raise ValueError(f"function {name!r} cannot be edited; accepted: {', '.join(_EDITABLE)}")
    return name


def _resynthesise(spectra: np.ndarray) -> np.ndarray:
    return istft(spectra, np.zeros(HOP, np.float32))[0]


def picture(sound: np.ndarray, rows: int = 96, columns: int = 400) -> np.ndarray:
    """A spectrogram to look at: levels in bands on the ERB-rate scale.

    Parameters
    ----------
    sound : ndarray, shape (n,), float32, at 48 kHz
    rows, columns : int
        Of the picture; `rows` at most 200.

    Returns
    -------
    ndarray, shape (rows, columns), uint8
        The highest frequency in the first row; 255 = 0 dB (a sine of full scale), 0 = -90 dB or less.
    """
    sound = np.concatenate((np.asarray(sound, np.float32), np.zeros(2 * HOP, np.float32)))
    starts = np.linspace(0, len(sound) - 2 * HOP, columns).astype(int)
    levels = power(stft(sound[starts[:, None] + np.arange(2 * HOP)]))
    weights = band_weights(band_centres(rows, spacing=1))
    full_scale = HOP**2 / 4
    db = 10 * np.log10(levels[:, : len(weights)] @ (weights / weights.sum(0)) / full_scale + _TINY)
    return np.clip(255 * (db / -_FLOOR_DB + 1), 0, 255).astype(np.uint8).T[::-1].copy()

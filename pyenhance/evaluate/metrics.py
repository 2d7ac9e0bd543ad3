"""Objective measures of enhanced speech against its clean reference."""

import math
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..dsp import SAMPLE_RATE
from ..measure import si_sdr

METRICS = ("pesq_wb", "stoi", "estoi", "si_sdr", "csig", "cbak", "covl", "sig", "bak", "ovrl")
"""PESQ wide band (1 to 4.64); STOI, ESTOI (0 to 1); SI-SDR in dB at 48 kHz; composite measures of signal, background
and overall quality (1 to 5); DNSMOS P.835 of the same three (1 to 5, needs its model file)."""

RATE = 16_000
"""Hz; what all but SI-SDR are defined at."""

_PESQ_STEP = 256  # between PESQ's frames
_FRAME, _STEP = 480, 120  # 30 ms, a quarter of it
_WINDOW = np.hanning(_FRAME + 2)[1:-1]
_LPC_ORDER = 16
_KEPT = 0.95  # share of frames, the best, that count in a distance
_TINY = 1e-10

# Klatt's critical bands, as the weighted spectral slope uses them: each centre lies one width above the one before.
_WIDTHS_HZ = np.concatenate(
    (
        np.full(7, 70),
        (77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823, 168.154, 183.457),
        (199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136),
    )
)
_CENTRES_HZ = 50 + np.concatenate(([0], np.cumsum(_WIDTHS_HZ[:-1])))

# DNSMOS P.835: what the network says, mapped to opinion scores (the DNS challenge's published polynomials).
_DNSMOS_SECONDS = 9.01
_DNSMOS_FITS = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


class Scorer:
    """All measures of a clip.

    Parameters
    ----------
    dnsmos : Path, optional
        The DNS challenge's ``sig_bak_ovr.onnx``; without it sig, bak and ovrl are NaN.
    pesq_starts : int, >= 1
        PESQ cuts a clip into frames of 32 ms, and where the first one begins moves what it says by some 0.05, single
        clips by more. The mean over this many starts, spread over a frame's step of 16 ms, is steadier; 1 is PESQ as
        it is published.
    quick : bool
        PESQ and SI-SDR alone (and DNSMOS with its file): what groups are compared by, of many clips.

    Raises
    ------
    ImportError
        The extra ``eval`` is not installed.
    """

    def __init__(self, dnsmos: Path | None = None, *, pesq_starts: int = 1, quick: bool = False) -> None:
        try:
            import pesq
            import pystoi
            import soxr
        except ImportError as error:
            raise ImportError(f"evaluation needs {error.name}: pip install 'pyenhance[eval]'") from error
        self._pesq, self._stoi, self._resample = pesq, pystoi.stoi, soxr.resample
        self._opinion = None if dnsmos is None else Opinion(dnsmos)
        self._quick = quick
        self._starts = [i * _PESQ_STEP // pesq_starts for i in range(pesq_starts)]

    def __call__(self, clean: np.ndarray, enhanced: np.ndarray) -> dict[str, float]:
        """Scores of one clip.

        Parameters
        ----------
        clean, enhanced : ndarray, shape (n,), 48 kHz, aligned

        Returns
        -------
        dict: a float for each of `METRICS`; NaN where a measure is not defined (silence, or too short a clip).

        Raises
        ------
        ValueError
            The shapes differ.
        """
        if clean.shape != enhanced.shape or clean.ndim != 1:
            raise ValueError(f"shapes are {clean.shape} and {enhanced.shape}; accepted: (n,), the same")
        reference, degraded = (self._resample(x.astype(np.float64), SAMPLE_RATE, RATE) for x in (clean, enhanced))
        scores = dict.fromkeys(METRICS, math.nan)
        scores["si_sdr"] = si_sdr(clean, enhanced)
        scores |= self._opinion(degraded) if self._opinion else {}
        if not np.any(clean) or len(reference) < RATE // 4:
            return scores
        try:
            x, y = (signal.astype(np.float32) for signal in (reference, degraded))
            scores["pesq_wb"] = float(np.mean([self._pesq.pesq(RATE, x[i:], y[i:], "wb") for i in self._starts]))
        except self._pesq.PesqError:  # no utterance found
            return scores
        if self._quick:
            return scores
        scores["stoi"] = float(self._stoi(reference, degraded, RATE))
        scores["estoi"] = float(self._stoi(reference, degraded, RATE, extended=True))
        return scores | composite(reference, degraded, scores["pesq_wb"])


class Opinion:
    """DNSMOS P.835: what listeners would say of speech (SIG), background (BAK) and both (OVRL), without a reference.

    Parameters
    ----------
    model : Path
        The DNS challenge's ``sig_bak_ovr.onnx``.

    Raises
    ------
    ImportError
        The extra ``eval`` is not installed.
    ValueError
        There is no such file.
    """

    def __init__(self, model: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError("DNSMOS needs onnxruntime: pip install 'pyenhance[eval]'") from error
        if not model.exists():
            raise ValueError(f"{model} is missing; accepted: the DNS challenge's sig_bak_ovr.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def __call__(self, x: np.ndarray) -> dict[str, float]:
        """Scores of a clip, of shape (n,) at 16 kHz, which is repeated where it is short; none of an empty one.

        Returns
        -------
        dict: sig, bak and ovrl, 1 to 5
        """
        length = int(_DNSMOS_SECONDS * RATE)
        if not len(x):
            return {}
        x = np.tile(x, -(-length // len(x))).astype(np.float32)
        pieces = [x[i : i + length] for i in range(0, len(x) - length + 1, RATE)]
        raw = np.mean([self._session.run(None, {"input_1": piece[None]})[0][0] for piece in pieces], axis=0)
        return {
            name: float(np.polyval(fit, value)) for (name, fit), value in zip(_DNSMOS_FITS.items(), raw, strict=True)
        }


def composite(clean: np.ndarray, enhanced: np.ndarray, pesq_wb: float) -> dict[str, float]:
    """Composite measures csig, cbak and covl (Hu and Loizou, 2008) at 16 kHz, from PESQ, LLR, WSS and segmental SNR."""
    x, y = (sliding_window_view(v, _FRAME)[::_STEP][:-1] * _WINDOW for v in (clean, enhanced))
    llr, wss, snr = _log_likelihood_ratio(x, y), _spectral_slope(x, y), _segmental_snr(x, y)
    values = {
        "csig": 3.093 - 1.029 * llr + 0.603 * pesq_wb - 0.009 * wss,
        "cbak": 1.634 + 0.478 * pesq_wb - 0.007 * wss + 0.063 * snr,
        "covl": 1.594 + 0.805 * pesq_wb - 0.512 * llr - 0.007 * wss,
    }
    return {name: float(np.clip(value, 1, 5)) for name, value in values.items()}


def _best(distances: np.ndarray) -> float:
    return float(np.sort(distances)[: round(_KEPT * len(distances))].mean())


def _segmental_snr(x: np.ndarray, y: np.ndarray) -> float:
    ratio = (x**2).sum(1) / (((x - y) ** 2).sum(1) + _TINY)
    return float(np.clip(10 * np.log10(ratio + _TINY), -10, 35).mean())


def _log_likelihood_ratio(x: np.ndarray, y: np.ndarray) -> float:
    """How badly the enhanced frame's linear prediction fits the clean frame."""
    lags = range(_LPC_ORDER + 1)
    rx, ry = (
        np.stack([(f[:, : _FRAME - k] * f[:, k:]).sum(1) for k in lags], 1) + _TINY * np.eye(1, len(lags))
        for f in (x, y)
    )
    toeplitz = np.abs(np.subtract.outer(lags, lags))
    a, b = (_predictor(r, toeplitz) for r in (rx, ry))
    matrix = rx[:, toeplitz]
    ratio = np.einsum("ki,kij,kj->k", b, matrix, b) / np.maximum(np.einsum("ki,kij,kj->k", a, matrix, a), 1e-12)
    return _best(np.log(np.maximum(ratio, 1e-12)))


def _predictor(r: np.ndarray, toeplitz: np.ndarray) -> np.ndarray:
    """Error filter (1, -a_1, ..., -a_p) of each frame from its autocorrelation."""
    normal = r[:, toeplitz[:-1, :-1]] + (1e-9 * r[:, :1, None] + _TINY) * np.eye(_LPC_ORDER)
    a = np.linalg.solve(normal, r[:, 1:, None])[..., 0]
    return np.concatenate((np.ones((len(r), 1)), -a), 1)


def _spectral_slope(x: np.ndarray, y: np.ndarray) -> float:
    """Klatt's weighted spectral slope distance: slopes near peaks weigh most."""
    size = 1024
    bins = np.arange(size // 2)
    centres, widths = (v[:, None] / (RATE / 2) * (size // 2) for v in (_CENTRES_HZ, _WIDTHS_HZ))
    filters = np.exp(-11 * ((bins - np.floor(centres)) / widths) ** 2) * (_WIDTHS_HZ[0] / _WIDTHS_HZ[:, None])
    filters[filters <= np.exp(-30 / (2 * 2.303))] = 0
    slopes, weights = [], []
    for frames in (x, y):
        power = np.abs(np.fft.rfft(frames, size)[:, : size // 2]) ** 2
        energy = 10 * np.log10(np.maximum(power @ filters.T, _TINY))
        slope = np.diff(energy, axis=1)
        peak = _nearest_peak(energy, slope)
        largest = energy.max(1, keepdims=True)
        slopes.append(slope)
        weights.append(20 / (20 + largest - energy[:, :-1]) / (1 + peak - energy[:, :-1]))
    weight = (weights[0] + weights[1]) / 2
    return _best((weight * (slopes[0] - slopes[1]) ** 2).sum(1) / weight.sum(1))


def _nearest_peak(energy: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Energy of the peak that each band's slope climbs to: to the right when rising, else to the left.

    To the right the band before the peak is taken, as the measure's original implementation does: all published figures
    have it so.
    """
    rising = slope > 0
    right, left = energy[:, :-1].copy(), energy[:, :-1].copy()
    for i in range(slope.shape[1] - 2, -1, -1):
        right[:, i] = np.where(rising[:, i + 1], right[:, i + 1], energy[:, i])
    for i in range(1, slope.shape[1]):
        left[:, i] = np.where(rising[:, i - 1], energy[:, i], left[:, i - 1])
    return np.where(rising, right, left)

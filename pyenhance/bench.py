"""Cost of a hop, by stage. The same code measures CPython and, inside the page's worker, the browser."""

import sys
from time import perf_counter_ns
from typing import Any

import numpy as np

from .backend import choose
from .backend.check import meaningless_weights
from .dsp import HOP, SAMPLE_RATE, SignalSpec
from .enhancer import Enhancer
from .model import SHAPES, Model, load_model, named_shape
from .nn import Network

_WARM_UP_HOPS = 100
_HOP_US = HOP / SAMPLE_RATE * 1e6


def _speech_like(seconds: float) -> np.ndarray:
    """A gliding voice with pauses in noise, so that no stage sees silence; shape (n,), float32, n a multiple of 480."""
    count = max(1, int(seconds * SAMPLE_RATE) // HOP) * HOP
    time = np.arange(count) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * time)) / SAMPLE_RATE
    voice = sum(np.sin(h * phase) / h for h in range(1, 30)) * (np.sin(2 * np.pi * 1.3 * time) > -0.5)
    # A sine of such steps is as good as chance; numpy.random does not come along into the browser.
    noise = np.modf(1e4 * np.sin(12.9898 * np.arange(count)))[0]
    return (0.05 * voice + 0.03 * noise).astype(np.float32)


def untrained(shape: str, kernel: str | None = None) -> Model:
    """A model of a named shape with weights that mean nothing: good for measuring what such a network costs.

    Parameters
    ----------
    shape : str
        One of `model.SHAPES`.
    kernel : str, optional
        See `load_model`.

    Returns
    -------
    Model, named ``untrained-`` and the shape
    """
    signal = SignalSpec()
    spec = named_shape(shape, signal)
    tensors = meaningless_weights(spec)
    return Model(f"untrained-{shape}", signal, Network(spec, tensors), tensors, choose(kernel, signal), {})


def benchmark(model: Any = "default", k: int = 1, seconds: float = 10.0, kernel: str | None = None) -> dict[str, Any]:
    """Time the whole enhancer.

    Parameters
    ----------
    model : str, path or Model
        ``untrained-`` and one of `model.SHAPES` is accepted, too, but for shapes that hear whole recordings.
    k : int
        Hops in each call.
    seconds : float
        Of audio to enhance, after a warm-up of one second.
    kernel : str, optional
        See `load_model`.

    Returns
    -------
    dict
        A row of `bench.json`: engine, model, weights, kernel and signal_kernel (of network and signal path), why_not (a
        faster one, by name), k, us_mean, us_p50, us_p99, us_max (a hop's share of a call), real_time_factor,
        breakdown_us.

    Raises
    ------
    ValueError
        k or seconds not positive.
    """
    if k < 1 or not seconds > 0:
        raise ValueError(f"k is {k} and seconds {seconds}; accepted: both positive")
    shape = str(model).removeprefix("untrained-")
    untrained_shape = shape != str(model) and shape in SHAPES
    enhancer = Enhancer(untrained(shape, kernel) if untrained_shape else load_model(model, kernel))
    hops = _speech_like(seconds + _WARM_UP_HOPS * HOP / SAMPLE_RATE).reshape(-1, HOP)
    for i in range(0, _WARM_UP_HOPS, k):
        enhancer.process_hops(hops[i : i + k])
    starts = range(_WARM_UP_HOPS, len(hops) - k + 1, k)
    spent = np.empty(len(starts))
    for n, i in enumerate(starts):
        begin = perf_counter_ns()
        enhancer.process_hops(hops[i : i + k])
        spent[n] = perf_counter_ns() - begin
    spent /= 1000 * k
    # Once more, stage by stage: that is three calls in the place of one.
    stages = enhancer.time_stages()
    for i in starts:
        enhancer.process_hops(hops[i : i + k])
    return {
        "engine": "chromium" if sys.platform == "emscripten" else "cpython",
        "model": enhancer.model.name,
        "weights": enhancer.model.weights,
        "kernel": enhancer.model.backend.network,
        "signal_kernel": enhancer.model.backend.signal,
        "why_not": enhancer.model.backend.why_not,
        "k": k,
        "us_mean": float(spent.mean()),
        "us_p50": float(np.percentile(spent, 50)),
        "us_p99": float(np.percentile(spent, 99)),
        "us_max": float(spent.max()),
        "real_time_factor": float(spent.mean() / _HOP_US),
        "breakdown_us": {stage: ns / 1000 / (k * len(starts)) for stage, ns in stages.items()},
    }

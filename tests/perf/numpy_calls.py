"""Count the numpy calls of a hop: every array that the enhancer holds becomes one that counts what is done with it."""

import dataclasses
import sys
from collections import Counter
from typing import Any

import numpy as np

from pyenhance import Enhancer, load_model

_calls: Counter[str] = Counter()
_Plain = np.ndarray


class _Counted(_Plain):
    """An array whose operators, functions and indexing are counted; what comes of them is counted, too."""

    def __new__(cls, *args: Any, **options: Any) -> "_Counted":
        """What the sliding views are made with: numpy's constructor on another array's memory."""
        _calls["view"] += 1
        return super().__new__(cls, *args, **options)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return _called(ufunc.__name__, getattr(ufunc, method), inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return _called(function.__name__, function, args, options)

    def __getitem__(self, key: Any) -> Any:
        return _called("index", lambda x, k: x[k], (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        _called("index", lambda x, k, v: x.__setitem__(k, v), (self, key, value), {})

    def _method(name: str) -> Any:
        return lambda self, *args, **options: _called(name, getattr(_Plain, name), (self, *args), options)

    ravel, reshape, copy, astype = map(_method, ("ravel", "reshape", "copy", "astype"))
    sum, max, min, argmax, take = map(_method, ("sum", "max", "min", "argmax", "take"))


def _called(name: str, function: Any, args: Any, options: Any) -> Any:
    _calls[name] += 1
    return _as(_Counted, function(*_as(_Plain, args), **_as(_Plain, options)))


def _as(kind: type, x: Any) -> Any:
    """`x`, and the arrays that a tuple, list, dict or dataclass holds, as arrays of this kind."""
    if isinstance(x, _Plain):
        return x.view(kind)
    if isinstance(x, tuple | list):
        return type(x)(*(_as(kind, y) for y in x)) if hasattr(x, "_fields") else type(x)(_as(kind, y) for y in x)
    if isinstance(x, dict):
        return {key: _as(kind, y) for key, y in x.items()}
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        for field in dataclasses.fields(x):
            object.__setattr__(x, field.name, _as(kind, getattr(x, field.name)))
    return x


def numpy_calls(k: int, hops: int = 40) -> dict[str, float]:
    """Calls of numpy for each call of the enhancer with K hops, the most frequent first; no compiled kernel.

    The process is of no further use: its arrays go on counting.
    """
    enhancer = Enhancer(load_model("default", "numpy"))
    noise = np.random.default_rng(0).normal(0, 0.05, (hops, 480)).astype(np.float32)
    for name, module in list(sys.modules.items()):
        if name.startswith("pyenhance"):
            vars(module).update(_as(_Counted, {n: x for n, x in vars(module).items() if isinstance(x, _Plain)}))
    for layer in enhancer.model.network.layers.values():
        for part in (layer, *vars(layer).values()):
            if type(part).__module__.startswith("pyenhance"):
                vars(part).update(_as(_Counted, {n: x for n, x in vars(part).items() if isinstance(x, _Plain)}))
    for name in ("empty", "zeros", "arange"):
        plain = getattr(np, name)
        setattr(np, name, lambda *args, plain=plain, name=name, **options: _called(name, plain, args, options))
    np.ndarray = _Counted
    _as(_Counted, enhancer.state)
    enhancer.process_hops(noise[:k])
    _calls.clear()
    for first in range(0, hops, k):
        enhancer.process_hops(noise[first : first + k].view(_Counted))
    return {name: count * k / hops for name, count in _calls.most_common()}

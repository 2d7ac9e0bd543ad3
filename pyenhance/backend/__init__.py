"""The one door to compiled code: what runs here, checked against numpy on first use, and why not a faster one."""

import functools
import os
from dataclasses import dataclass

from ..dsp.spec import SignalSpec
from .check import network_differs, signal_differs
from .library import COMPILED, compile_native, load_library
from .program import Program
from .stream import HEADS, CompiledStream, SignalTables, StreamState
from .structures import BLOCK_HOPS
from .whole import WholeProgram

__all__ = [
    "BLOCK_HOPS",
    "HEADS",
    "NUMPY",
    "Backend",
    "CompiledStream",
    "Program",
    "SignalTables",
    "StreamState",
    "WholeProgram",
    "available_kernels",
    "choose",
    "compile_native",
    "wanted_kernel",
]

NUMPY = "numpy"


@dataclass(frozen=True)
class Backend:
    """What computes.

    Attributes
    ----------
    network, signal : str
        The kernel of each half: "numpy", or one of `available_kernels`.
    why_not : dict of str to str
        Why a faster kernel does not run, by its name, for each that was turned down.
    """

    network: str
    signal: str
    why_not: dict[str, str]


@functools.cache
def _network_fault(kernel: str) -> str | None:
    """Why a kernel cannot run networks, or None."""
    library = load_library(kernel)
    return library if isinstance(library, str) else network_differs(library)


@functools.cache
def _signal_fault(kernel: str, spec: SignalSpec) -> str | None:
    """Why a kernel cannot run a signal path, or None."""
    library = load_library(kernel)
    return library if isinstance(library, str) else signal_differs(library, spec)


def available_kernels() -> list[str]:
    """Names of the kernels that work here, the fastest last.

    They are "numpy"; in a browser "simd" and "relaxed"; elsewhere, once compiled, "native".
    """
    return [NUMPY, *(kernel for kernel in COMPILED if _network_fault(kernel) is None)]


def wanted_kernel(kernel: str | None = None) -> str | None:
    """`kernel`, else the environment's ``PYENHANCE_KERNEL``, else None: the fastest that works."""
    return kernel or os.environ.get("PYENHANCE_KERNEL")


def choose(kernel: str | None = None, spec: SignalSpec | None = None) -> Backend:
    """What is to compute a model.

    Parameters
    ----------
    kernel : str, optional
        See `wanted_kernel`.
    spec : SignalSpec, optional
        The model's signal path.

    Returns
    -------
    Backend

    Raises
    ------
    ValueError
        There is no such kernel here; the message says why.
    """
    spec = spec or SignalSpec()
    wanted = wanted_kernel(kernel)
    if wanted == NUMPY:
        return Backend(NUMPY, NUMPY, {})
    if wanted is not None:
        fault = _network_fault(wanted) if wanted in COMPILED else "unknown here"
        if fault is not None:
            raise ValueError(f"kernel {wanted!r}: {fault}; accepted: {', '.join(available_kernels())}")
    why_not: dict[str, str] = {}
    candidates = [wanted] if wanted else list(reversed(COMPILED))
    network = signal = NUMPY
    for name in candidates:
        faults = {"network": _network_fault(name), "signal path": None}
        if faults["network"] is None:
            faults["signal path"] = _signal_fault(name, spec)
            network = name if network == NUMPY else network
            signal = name if signal == NUMPY and faults["signal path"] is None else signal
        found = [f"{half}: {fault}" for half, fault in faults.items() if fault is not None]
        if found:
            why_not[name] = "; ".join(found)
        if signal != NUMPY:
            break
    return Backend(network, signal, why_not)

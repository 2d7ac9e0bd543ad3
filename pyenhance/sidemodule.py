"""Small WebAssembly libraries that come with the wheel, loaded into Pyodide beside Python and called through ctypes."""

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np

POINTER, INT, FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_float


def load_side_module(path: Path, functions: dict[str, list[Any]]) -> ctypes.CDLL | None:
    """The compiled library, or None where there is none: in CPython, or in an engine that cannot compile it.

    Parameters
    ----------
    path : Path
    functions : dict of str to list
        The types of the arguments of each function; none returns anything.
    """
    if sys.platform != "emscripten" or not path.exists():
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError:  # no such SIMD in this engine
        return None
    for name, types in functions.items():
        function = getattr(library, name)
        function.argtypes, function.restype = types, None
    return library


def address(array: np.ndarray) -> ctypes.c_void_p:
    """Where an array lies; it must outlive the calls. To be taken once: asking numpy costs more than a call."""
    return ctypes.c_void_p(array.ctypes.data)

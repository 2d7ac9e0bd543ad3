"""The C files of the package, compiled and called through ctypes: WebAssembly in a browser, a shared library elsewhere.

In the browser the wheel brings them as WebAssembly side modules. Elsewhere ``pyenhance compile`` has the machine's own
C compiler make them, for this very processor; without them numpy does everything.
"""

import ctypes
import functools
import os
import sys
from pathlib import Path

from .structures import layout

IN_BROWSER = sys.platform == "emscripten"

COMPILED = ("simd", "relaxed") if IN_BROWSER else ("native",)
"""Kernels that could run here, the fastest last: a browser's SIMD, its relaxed SIMD; the machine's own code."""

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "enhance.c"
SOURCES = (SOURCE, *(FOLDER / name for name in ("network.c", "rumble.c", "signal.c", "structures.h")))
COMPILERS = ("gcc", "clang", "cc")
# Products and sums stay apart where the file does not say otherwise: so does numpy, and results agree to the bit.
_FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")

_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_float
_FUNCTIONS = {
    "layout": [],
    "analyse": [_POINTER, _INT],
    "estimate": [_POINTER, _POINTER, _INT, _FLOAT, _INT],
    "synthesise": [_POINTER, _INT, _INT, _INT],
    "process": [_POINTER, _INT],
}


@functools.cache
def load_library(kernel: str) -> ctypes.CDLL | str:
    """The compiled library, or the reason why it cannot be used.

    Parameters
    ----------
    kernel : str
        One of `COMPILED`.
    """
    path = native_path() if kernel == "native" else FOLDER / f"enhance_{kernel}.wasm"
    if not path.exists():
        return "not compiled: see `pyenhance compile`" if kernel == "native" else f"{path.name} is not in the package"
    try:
        # Python's lock is held during calls: streams of a model share its buffers.
        library = ctypes.PyDLL(str(path))
        for name, types in _FUNCTIONS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = types, _INT
    except (OSError, AttributeError) as error:
        return f"this engine cannot load it: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    if library.layout() != layout():
        return f"{path.name} was made from other structures ({library.layout()} instead of {layout()})"
    return library


def native_path() -> Path:
    """Where the library of these very files for this very processor lies once it is compiled."""
    import hashlib

    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyenhance" / "native"
    digest = hashlib.sha256(" ".join((*_FLAGS, _processor())).encode())
    for source in SOURCES:
        digest.update(source.read_bytes())
    return folder / f"{SOURCE.stem}-{digest.hexdigest()[:16]}.so"


@functools.cache
def _processor() -> str:
    """What tells apart processors whose instructions differ: a home may be shared by several machines."""
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{sys.platform} {platform.machine()} {flags}"


def compile_native(compiler: str | None = None) -> Path:
    """Compile the C files for this machine; pyenhance uses them from the next start on.

    Parameters
    ----------
    compiler : str, optional
        Name or path of a C compiler that takes gcc's options; by default the first of `COMPILERS` that is there.

    Returns
    -------
    Path
        The library, in the user's cache folder.

    Raises
    ------
    ValueError
        There is no such compiler.
    OSError
        It failed, or the cache folder cannot be written.
    """
    import shutil
    import subprocess
    import tempfile

    wanted = (compiler,) if compiler else COMPILERS
    found = next(filter(None, map(shutil.which, wanted)), None)
    if found is None:
        raise ValueError(f"compiler {', '.join(wanted)} not found; accepted: a C compiler such as gcc or clang")
    target = native_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        library = Path(folder) / target.name
        done = subprocess.run([found, *_FLAGS, "-o", library, SOURCE], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{found} could not compile {SOURCE.name}: {done.stderr.strip()[-400:]}")
        library.replace(target)  # whole or not at all
    return target

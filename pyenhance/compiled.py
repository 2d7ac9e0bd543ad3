"""The C files of the package, compiled and called through ctypes: WebAssembly in a browser, a shared library elsewhere.

In the browser the wheel brings them as WebAssembly side modules. Elsewhere ``pyenhance compile`` has the machine's own
C compiler make them, for this very processor; without them numpy does everything.
"""

import ctypes
import functools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

POINTER, INT, FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_float
IN_BROWSER = sys.platform == "emscripten"
SOURCES = tuple(Path(__file__).parent / name for name in ("dsp/signal_kernel.c", "nn/int8_kernel.c"))
COMPILERS = ("gcc", "clang", "cc")
# Products and sums stay apart where the file does not say otherwise: so does numpy, and results agree to the bit.
_FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC")


def load_library(source: Path, kind: str, functions: dict[str, list[Any]]) -> ctypes.CDLL | None:
    """The compiled library, or None where there is none, or an engine that cannot run it.

    Parameters
    ----------
    source : Path
        One of `SOURCES`.
    kind : str
        "native", or the SIMD that a side module was made for: "simd", "relaxed".
    functions : dict of str to list
        The types of the arguments of each function; none returns anything.
    """
    if (kind == "native") == IN_BROWSER:
        return None
    path = native_path(source) if kind == "native" else source.with_name(f"{source.stem}_{kind}.wasm")
    if not path.exists():
        return None
    try:
        # Python's lock is held during calls: the C files keep their scratch memory in one place.
        library = ctypes.PyDLL(str(path))
        for name, types in functions.items():
            function = getattr(library, name)
            function.argtypes, function.restype = types, None
    except (OSError, AttributeError):  # no such SIMD in this engine
        return None
    return library


def address(array: np.ndarray) -> ctypes.c_void_p:
    """Where an array lies; it must outlive the calls. To be taken once: asking numpy costs more than a call."""
    return ctypes.c_void_p(array.ctypes.data)


def native_path(source: Path) -> Path:
    """Where the library of this very file for this very processor lies once it is compiled."""
    import hashlib

    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyenhance" / "native"
    digest = hashlib.sha256(source.read_bytes() + " ".join((*_FLAGS, _processor())).encode()).hexdigest()
    return folder / f"{source.stem}-{digest[:16]}.so"


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


def compile_native(compiler: str | None = None) -> list[Path]:
    """Compile the C files for this machine; pyenhance uses them from the next start on.

    Parameters
    ----------
    compiler : str, optional
        Name or path of a C compiler that takes gcc's options; by default the first of `COMPILERS` that is there.

    Returns
    -------
    list of Path
        The libraries, in the user's cache folder.

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
    made = []
    for source in SOURCES:
        target = native_path(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            library = Path(folder) / target.name
            done = subprocess.run([found, *_FLAGS, "-o", library, source], capture_output=True, text=True, check=False)
            if done.returncode:
                raise OSError(f"{found} could not compile {source.name}: {done.stderr.strip()[-400:]}")
            library.replace(target)  # whole or not at all
        made.append(target)
    return made

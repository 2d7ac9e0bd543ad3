"""`pyenhance compile`."""

import argparse
import subprocess
import sys
from typing import Any

from .terminal import EXIT_FAILED, EXIT_OK


def add(commands: Any) -> None:
    """Add it to the command line."""
    compiling = commands.add_parser("compile", help="compile the enhancer for this machine: files twice as fast")
    compiling.add_argument("--compiler", metavar="CC", help="a C compiler (gcc, clang or cc)")
    compiling.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ..backend import compile_native

    print(compile_native(arguments.compiler))
    code = "from pyenhance.backend import available_kernels; print(*available_kernels())"  # a new start looks for them
    kernels = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    if "native" not in kernels:
        print("pyenhance compile: what was compiled does not compute what numpy does; numpy stays", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK

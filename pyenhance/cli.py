"""The `pyenhance` command."""

import argparse
import contextlib
import sys
from typing import Any

from . import __version__
from .commands import adapt, bench, compile, denoise, evaluate, federated, info, model
from .commands.terminal import EXIT_FAILED, shown

COMMANDS = (denoise, info, compile, model, adapt, federated, evaluate, bench)
"""In the order of the help; another one is a module with `add` and a place here."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; the process's own by default.

    Returns
    -------
    int: 0, 1 when something failed, 2 on wrong usage, 128 and the signal's number when one ended it.
    """
    argv = sys.argv[1:] if argv is None else argv
    stream: Any
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # what stands in for a terminal may be anything
            stream.reconfigure(errors="backslashreplace")
    try:
        if argv[:1] == ["train"]:  # its steps have parsers of their own
            from .train.__main__ import main as train

            return train(argv[1:])
        arguments = _parser().parse_args(argv)
        return arguments.run(arguments)
    except (ValueError, ImportError, OSError) as error:
        print(f"pyenhance: {shown(str(error))}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt as error:
        print("pyenhance: interrupted; nothing half done is left", file=sys.stderr)
        return 128 + getattr(error, "number", 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pyenhance", description="Remove noise from speech.")
    parser.add_argument("--version", action="version", version=f"pyenhance {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    commands.add_parser("train", help="make a model from recordings")
    return parser


if __name__ == "__main__":
    sys.exit(main())

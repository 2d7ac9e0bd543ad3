"""`pyenhance model`."""

import argparse
import sys
from typing import Any

from .terminal import EXIT_FAILED, EXIT_OK


def add(commands: Any) -> None:
    """Add it to the command line."""
    model = commands.add_parser("model", help="list or verify models")
    actions = model.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="shipped models")
    listing.set_defaults(run=_model_list)
    verify = actions.add_parser("verify", help="check weights files: names, shapes, types, sizes, checksum")
    verify.add_argument("models", nargs="+", metavar="MODEL", help="a shipped model's name or a weights file")
    verify.set_defaults(run=_model_verify)


def _model_list(arguments: argparse.Namespace) -> int:
    from ..model import available_models, load_model

    for name in available_models():
        print(f"{name:10}{load_model(name).weights:>10,} weights")
    return EXIT_OK


def _model_verify(arguments: argparse.Namespace) -> int:
    from ..model import load_model

    failed = False
    for name in arguments.models:
        try:
            load_model(name)
            print(f"{name}: ok")
        except (ValueError, OSError) as error:
            failed = True
            print(f"{name}: {error}", file=sys.stderr)
    return EXIT_FAILED if failed else EXIT_OK

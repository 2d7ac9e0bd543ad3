"""`pyenhance info`."""

import argparse
import json
import sys
from typing import Any

import numpy as np

from .. import __version__
from .terminal import EXIT_OK


def add(commands: Any) -> None:
    """Add it to the command line."""
    info = commands.add_parser("info", help="versions, models and kernel")
    info.add_argument("--json", action="store_true")
    info.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ..backend import NUMPY
    from ..model import available_models, load_model

    backend = load_model("default").backend
    facts: dict[str, Any] = {
        "pyenhance": __version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "models": {name: load_model(name, NUMPY).weights for name in available_models()},
        "kernel": backend.network,
        "signal_kernel": backend.signal,
    }
    if backend.why_not:
        facts["why_not"] = backend.why_not
    if arguments.json:
        print(json.dumps(facts, indent=1))
    else:
        models = ", ".join(f"{name} ({weights:,} weights)" for name, weights in facts.pop("models").items())
        print("\n".join(f"{key:14}{value}" for key, value in (facts | {"models": models}).items()))
    return EXIT_OK

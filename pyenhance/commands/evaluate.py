"""`pyenhance evaluate`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .terminal import EXIT_OK, EXIT_USAGE, Progress


def add(commands: Any) -> None:
    """Add it to the command line."""
    scoring = commands.add_parser("evaluate", help="score models, peers and the oracle on pairs of files")
    scoring.add_argument("--pairs", type=Path, required=True, help="folder with manifest.csv, or clean/ and noisy/")
    scoring.add_argument("--model", nargs="+", default=["default"], help="shipped models' names or weights files")
    scoring.add_argument("--peers", action="store_true", help="also RNNoise and WebRTC's noise suppressor")
    scoring.add_argument("--dnsmos", type=Path, metavar="FILE", help="the DNS challenge's sig_bak_ovr.onnx")
    scoring.add_argument("-o", "--output", type=Path, nargs="+", default=[], help="reports to write: .json, .md, .html")
    scoring.add_argument("--workers", type=int, help="processes (one a core)")
    scoring.add_argument("--limit", type=int, help="only the first clips")
    scoring.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ..evaluate import evaluate, load_pairs
    from ..evaluate.report import SUFFIXES, as_text, write
    from ..evaluate.systems import PEERS

    for path in arguments.output:
        if path.suffix not in SUFFIXES:
            print(f"pyenhance evaluate: {path}: accepted: a name that ends in {', '.join(SUFFIXES)}", file=sys.stderr)
            return EXIT_USAGE
    pairs = load_pairs(arguments.pairs)[: arguments.limit]
    systems = ["noisy", *arguments.model, *(PEERS if arguments.peers else ()), "oracle"]
    with Progress("evaluate", quiet=False, unit="clip") as progress:
        result = evaluate(
            pairs, systems, dnsmos=arguments.dnsmos, workers=arguments.workers, on_progress=progress.update
        )
    print(as_text(result), end="")
    for path in arguments.output:
        write(result, pairs, path)
    return EXIT_OK

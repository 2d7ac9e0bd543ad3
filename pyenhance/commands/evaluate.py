"""`pyenhance evaluate`."""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evaluate.mixes import CLIPS, SEED
from .terminal import EXIT_OK, EXIT_USAGE, Progress, Signals

if TYPE_CHECKING:
    from ..evaluate import Pair


def add(commands: Any) -> None:
    """Add it to the command line."""
    scoring = commands.add_parser("evaluate", help="score models, peers and the oracle on pairs of files")
    scored = scoring.add_mutually_exclusive_group(required=True)
    scored.add_argument("--pairs", type=Path, help="folder with manifest.csv, or clean/ and noisy/")
    scored.add_argument(
        "--real", type=Path, metavar="FOLDER", help="noisy recordings alone: DNSMOS, sounds, spectrograms"
    )
    scoring.add_argument("--fetch", action="store_true", help="with --real: make it of public ones where none is")
    scoring.add_argument(
        "--clone", nargs="+", type=_clone, default=[], metavar="NAME=PATH", help="with --fetch: what is here already"
    )
    scoring.add_argument("--groups", action="store_true", help="only compare groups of clips, by PESQ and SI-SDR")
    scoring.add_argument("--data", type=Path, metavar="CORPUS", help="with --groups: make the pairs where none are")
    scoring.add_argument("--clips", type=int, default=CLIPS, help=f"pairs to make of it ({CLIPS})")
    scoring.add_argument("--seed", type=int, default=SEED, help=f"of these ({SEED})")
    scoring.add_argument(
        "--sensitivity", action="store_true", help="with --groups: does it lean on what tells the sex?"
    )
    scoring.add_argument("--record", type=Path, metavar="FILE", help="with --groups: write the comparison down (JSON)")
    scoring.add_argument("--model", nargs="+", default=["default"], help="shipped models' names or weights files")
    scoring.add_argument(
        "--recordings", action="store_true", help="also each model as it enhances files, whose beginning it hears first"
    )
    scoring.add_argument("--peers", action="store_true", help="also RNNoise and WebRTC's noise suppressor")
    scoring.add_argument("--dnsmos", type=Path, metavar="FILE", help="the DNS challenge's sig_bak_ovr.onnx")
    scoring.add_argument("-o", "--output", type=Path, nargs="+", default=[], help="reports to write: .json, .md, .html")
    scoring.add_argument("--workers", type=int, help="processes (one a core)")
    scoring.add_argument("--limit", type=int, help="only the first clips")
    scoring.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ..evaluate import evaluate, load_pairs
    from ..evaluate.report import SUFFIXES, as_text, group_lines, write
    from ..evaluate.systems import PEERS, RECORDING
    from ..evaluate.trust import read_trust

    for path in arguments.output:
        if path.suffix not in SUFFIXES:
            print(f"pyenhance evaluate: {path}: accepted: a name that ends in {', '.join(SUFFIXES)}", file=sys.stderr)
            return EXIT_USAGE
    for option, whole in _BELONGS.items():
        if getattr(arguments, option) and not getattr(arguments, whole):
            print(f"pyenhance evaluate: --{option} belongs to --{whole}", file=sys.stderr)
            return EXIT_USAGE
    if arguments.real:
        return _run_real(arguments)
    if arguments.record:
        read_trust(arguments.record)  # what cannot be written is told before an hour of scoring
    if arguments.data and not arguments.pairs.exists():
        _make_pairs(arguments)
    pairs = load_pairs(arguments.pairs)[: arguments.limit]
    recordings = [RECORDING + name for name in arguments.model] if arguments.recordings else []
    models = [*arguments.model, *recordings, *(PEERS if arguments.peers else ())]
    systems = ["noisy", *models] if arguments.groups else ["noisy", *models, "oracle"]
    with Progress("evaluate", quiet=False, unit="clip") as progress:
        result = evaluate(
            pairs,
            systems,
            dnsmos=arguments.dnsmos,
            quick=arguments.groups,
            workers=arguments.workers,
            on_progress=progress.update,
        )
    if arguments.groups:
        for name in models:
            print("\n".join([f"{name}, {len(pairs)} clips", *group_lines(result, name), ""]))
        if arguments.record:
            _record(arguments, result)
        if arguments.sensitivity:
            _sensitivity(arguments, result, pairs)
    else:
        print(as_text(result), end="")
    for path in arguments.output:
        write(result, pairs, path)
    return EXIT_OK


_BELONGS = dict.fromkeys(("data", "record", "sensitivity"), "groups")
_BELONGS |= dict.fromkeys(("groups", "recordings"), "pairs") | {"fetch": "real", "clone": "fetch"}


def _clone(text: str) -> tuple[str, Path]:
    from ..train.sources import clone

    return clone(text)


def _run_real(arguments: argparse.Namespace) -> int:
    from ..evaluate.real import make_recordings
    from ..evaluate.recordings import evaluate_recordings, load_recordings
    from ..evaluate.recordings_report import as_text, write
    from ..evaluate.systems import PEERS, RECORDING

    if arguments.fetch and not arguments.real.exists():
        with Signals() as signals, Progress("fetch", quiet=False, unit="recording") as progress:
            make_recordings(arguments.real, dict(arguments.clone), on_progress=signals.checked(progress.update))
            signals.check()
    recordings = load_recordings(arguments.real)[: arguments.limit]
    systems = ["noisy", *(RECORDING + name for name in arguments.model), *(PEERS if arguments.peers else ())]
    with Progress("evaluate", quiet=False, unit="recording") as progress:
        result = evaluate_recordings(
            recordings, systems, dnsmos=arguments.dnsmos, workers=arguments.workers, on_progress=progress.update
        )
    print(as_text(result), end="")
    for path in arguments.output:
        write(result, recordings, path)
    return EXIT_OK


def _make_pairs(arguments: argparse.Namespace) -> None:
    from ..evaluate.mixes import make_pairs

    with Signals() as signals, Progress("make pairs", quiet=False, unit="pair") as progress:
        make_pairs(
            arguments.data,
            arguments.pairs,
            clips=arguments.clips,
            seed=arguments.seed,
            on_progress=signals.checked(progress.update),
        )
        signals.check()


def _sensitivity(arguments: argparse.Namespace, result: dict[str, Any], pairs: "list[Pair]") -> None:
    from ..evaluate.sensitivity import ATTRIBUTE, agrees, in_words, sensitivity
    from ..evaluate.trust import record

    for name in arguments.model:
        with Progress("sensitivity", quiet=False, unit="clip") as progress:
            facts = sensitivity(pairs, name, on_progress=progress.update)
        gap = result["spread"][name][ATTRIBUTE]["gaps"].get("pesq_wb_gain")
        print(f"{name}, {in_words(facts, gap)}")
        if arguments.record:
            record(arguments.record, "sensitivity", name, facts | {"agrees": agrees(facts, gap)})


def _record(arguments: argparse.Namespace, result: dict[str, Any]) -> None:
    from ..evaluate.trust import group_facts, record
    from ..model.diff import weights_bytes

    for name in arguments.model:
        digest = hashlib.sha256(weights_bytes(name)).hexdigest()
        record(arguments.record, "groups", name, group_facts(result, name, digest))

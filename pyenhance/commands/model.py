"""`pyenhance model ...`: the models that ship, and what makes, changes and judges models."""

import argparse
import hashlib
import sys
from pathlib import Path

from ..evaluate.gate import MARGINS, Limits
from ..model.diff import KINDS


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``model`` and its actions to the command line's parser."""
    model = commands.add_parser("model", help="list, verify, compare and update models")
    actions = model.add_subparsers(required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="shipped models")
    listing.set_defaults(run=_list)

    verify = actions.add_parser("verify", help="check weights files and diffs: names, shapes, types, sizes, checksum")
    verify.add_argument("files", nargs="+", metavar="FILE", help="a shipped model's name, a weights file or a diff")
    verify.set_defaults(run=_verify)

    diff = actions.add_parser("diff", help="what leads from one model to another, in a small file")
    diff.add_argument("old", metavar="OLD", help="a shipped model's name or a weights file")
    diff.add_argument("new", metavar="NEW", help="a shipped model's name or a weights file")
    diff.add_argument("-o", "--output", type=Path, required=True, metavar="DIFF")
    diff.add_argument("--kind", choices=KINDS, default="sparse", help="hashed: NEW must be OLD and steps of buckets")
    diff.add_argument("--buckets", type=int, default=0, help="of a hashed diff")
    diff.add_argument("--seed", type=int, default=0, help="of a hashed diff")
    diff.add_argument("--force", action="store_true", help="overwrite")
    diff.set_defaults(run=_diff)

    apply = actions.add_parser("apply", help="a model and the diffs for it, one after the other, make another model")
    apply.add_argument("base", metavar="BASE", help="a shipped model's name or a weights file")
    apply.add_argument("diffs", nargs="+", type=Path, metavar="DIFF")
    apply.add_argument("-o", "--output", type=Path, required=True, metavar="NEW")
    apply.add_argument("--force", action="store_true", help="overwrite")
    apply.set_defaults(run=_apply)

    gate = actions.add_parser("gate", help="may NEW replace OLD? clip by clip; exit code 1 when it may not")
    gate.add_argument("old", metavar="OLD", help="a shipped model's name, a weights file, or noisy (as it came)")
    gate.add_argument("new", metavar="NEW", help="a shipped model's name or a weights file")
    gate.add_argument("--pairs", type=Path, required=True, help="folder with manifest.csv, or clean/ and noisy/")
    gate.add_argument(
        "--margin",
        nargs="+",
        type=_margin,
        default=[],
        metavar="[MEASURE=]FALL",
        help="of a clip, from which on it is a negative flip: of PESQ-WB, or of one of "
        + ", ".join(f"{name} ({value:g})" for name, value in MARGINS.items()),
    )
    gate.add_argument(
        "--mean-fall",
        nargs="+",
        type=_margin,
        default=[],
        metavar="[MEASURE=]FALL",
        help="that the mean of a measure may fall by: for a NEW that is to cost less, and says so (none may)",
    )
    gate.add_argument("--nfr", type=float, default=Limits.nfr, help="largest negative flip rate (0.05 is 5 %%)")
    gate.add_argument(
        "--dnsmos", type=Path, metavar="FILE", help="the DNS challenge's sig_bak_ovr.onnx: OVRL counts too"
    )
    gate.add_argument("-o", "--output", type=Path, nargs="+", default=[], help="reports to write: .html, .json")
    gate.add_argument("--record", type=Path, metavar="FILE", help="add the verdict to a history of verdicts (JSON)")
    gate.add_argument("--json", action="store_true", help="print one JSON object")
    gate.add_argument("--workers", type=int, help="processes (one a core)")
    gate.set_defaults(run=_gate)


def _margin(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    name = name or "pesq_wb"
    if name not in MARGINS:
        raise argparse.ArgumentTypeError(f"{text}: accepted: {', '.join(f'{known}=FALL' for known in MARGINS)}")
    try:
        return name, float(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {value!r} is no number") from error


def _list(arguments: argparse.Namespace) -> int:
    from ..backend import NUMPY
    from ..model import available_models, load_model
    from ..model.diff import weights_bytes

    for name in available_models():
        digest = hashlib.sha256(weights_bytes(name)).hexdigest()
        model = load_model(name, NUMPY)
        what = "  whole recordings, no streams" if model.whole_recordings else ""
        print(f"{name:10}{model.weights:>10,} weights  sha256 {digest}{what}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from ..backend import NUMPY
    from ..model import load_model, read_header

    failed = False
    for name in arguments.files:
        try:
            path = Path(name)
            if path.is_file() and path.suffix != ".safetensors":
                header = read_header(path.read_bytes())
                print(f"{name}: ok, a {header.kind} diff from {header.base} to {header.result}")
            else:
                load_model(name, NUMPY)  # which runs all of them
                print(f"{name}: ok")
        except (ValueError, OSError) as error:
            failed = True
            print(f"{name}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _diff(arguments: argparse.Namespace) -> int:
    from ..model.diff import changed_share, make_diff, weights_bytes, write_whole

    old, new = weights_bytes(arguments.old), weights_bytes(arguments.new)
    diff = make_diff(old, new, kind=arguments.kind, buckets=arguments.buckets, seed=arguments.seed)
    write_whole(arguments.output, diff, force=arguments.force)
    share = f"{changed_share(old, new):.1%} of the weights change"
    print(f"{arguments.output}: {len(diff):,} bytes, {len(diff) / len(new):.1%} of the model; {share}")
    return 0


def _apply(arguments: argparse.Namespace) -> int:
    from ..model.diff import apply_diffs, weights_bytes, write_whole

    new = apply_diffs(weights_bytes(arguments.base), [path.read_bytes() for path in arguments.diffs])
    write_whole(arguments.output, new, force=arguments.force)
    print(f"{arguments.output}: sha256 {hashlib.sha256(new).hexdigest()}")
    return 0


def _gate(arguments: argparse.Namespace) -> int:
    from ..evaluate import load_pairs
    from ..evaluate.gate import as_text, gate, read_record, record
    from ..evaluate.gate_report import check_target, write
    from ..evaluate.report import as_json
    from .terminal import Progress

    mean_fall = dict(arguments.mean_fall)
    limits = Limits(margins=MARGINS | dict(arguments.margin), nfr=arguments.nfr, mean_fall=mean_fall)
    for path in arguments.output:  # what cannot be written is told before an hour of scoring
        check_target(path)
    if arguments.record and arguments.record.exists():
        read_record(arguments.record)
    pairs = load_pairs(arguments.pairs)
    with Progress("gate", quiet=arguments.json, unit="clip") as progress:
        result = gate(
            arguments.old,
            arguments.new,
            pairs,
            limits=limits,
            dnsmos=arguments.dnsmos,
            workers=arguments.workers,
            on_progress=progress.update,
        )
    print(as_json(result) if arguments.json else as_text(result), end="\n" if arguments.json else "")
    for path in arguments.output:
        write(result, pairs, path)
    if arguments.record:
        record(result, arguments.record, arguments.pairs.name)
    return 0 if result["passed"] else 1

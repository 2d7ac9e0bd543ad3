"""The `pyenhance` command."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; the process's own by default.

    Returns
    -------
    int: 0, 1 when something failed, 2 on wrong usage.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        if argv[:1] == ["train"]:  # its steps have parsers of their own
            from .train.__main__ import main as train

            return train(argv[1:])
        arguments = _parser().parse_args(argv)
        return arguments.run(arguments)
    except (ValueError, ImportError, OSError) as error:
        print(f"pyenhance: {error}", file=sys.stderr)
        return EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pyenhance", description="Remove noise from speech.")
    parser.add_argument("--version", action="version", version=f"pyenhance {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    denoise = commands.add_parser("denoise", help="enhance audio files (WAV, FLAC, Ogg; any rate, any channels)")
    denoise.add_argument("files", nargs="+", type=Path, metavar="IN", help="audio files")
    denoise.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a file, or a folder for many")
    denoise.add_argument("--model", default="default", help="a shipped model's name or a weights file")
    denoise.add_argument("--strength-db", type=_strength, metavar="DB", help="largest attenuation (0: none)")
    denoise.add_argument("--force", action="store_true", help="overwrite what is there")
    denoise.add_argument("--json", action="store_true", help="print one JSON object with a result for each file")
    denoise.add_argument("--quiet", action="store_true", help="print errors only")
    denoise.set_defaults(run=_denoise)

    info = commands.add_parser("info", help="versions, models and kernel")
    info.add_argument("--json", action="store_true")
    info.set_defaults(run=_info)

    model = commands.add_parser("model", help="list or verify models")
    actions = model.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="shipped models")
    listing.set_defaults(run=_model_list)
    verify = actions.add_parser("verify", help="check weights files: names, shapes, types, sizes, checksum")
    verify.add_argument("models", nargs="+", metavar="MODEL", help="a shipped model's name or a weights file")
    verify.set_defaults(run=_model_verify)

    scoring = commands.add_parser("evaluate", help="score models, peers and the oracle on pairs of files")
    scoring.add_argument("--pairs", type=Path, required=True, help="folder with manifest.csv, or clean/ and noisy/")
    scoring.add_argument("--model", nargs="+", default=["default"], help="shipped models' names or weights files")
    scoring.add_argument("--peers", action="store_true", help="also RNNoise and WebRTC's noise suppressor")
    scoring.add_argument("--dnsmos", type=Path, metavar="FILE", help="the DNS challenge's sig_bak_ovr.onnx")
    scoring.add_argument("-o", "--output", type=Path, nargs="+", default=[], help="reports to write: .json, .html")
    scoring.add_argument("--workers", type=int, help="processes (one a core)")
    scoring.add_argument("--limit", type=int, help="only the first clips")
    scoring.set_defaults(run=_evaluate)

    commands.add_parser("train", help="make a model from recordings")

    bench = commands.add_parser("bench", help="microseconds a hop on this machine, by stage")
    bench.add_argument("--model", default="default")
    bench.add_argument("-k", type=int, nargs="+", default=[1, 2, 10], metavar="K", help="hops a call")
    bench.add_argument("--kernel", help="numpy or simd (the fastest that works here)")
    bench.add_argument("--seconds", type=float, default=10, help="of audio for each K")
    bench.add_argument("--json", action="store_true")
    bench.set_defaults(run=_bench)
    return parser


def _strength(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0 dB")
    return value


def _denoise(arguments: argparse.Namespace) -> int:
    from .audio import denoise_file
    from .model import load_model

    targets = _targets(arguments.files, arguments.output)
    if isinstance(targets, str):
        print(f"pyenhance denoise: {targets}", file=sys.stderr)
        return EXIT_USAGE
    model = load_model(arguments.model)
    results: list[dict[str, Any]] = []
    for source, target in targets:
        result: dict[str, Any] = {"input": str(source), "output": str(target)}
        try:
            if target.exists() and not arguments.force:
                raise FileExistsError(f"{target} exists; --force overwrites it")
            target.parent.mkdir(parents=True, exist_ok=True)
            with _Progress(source.name, quiet=arguments.quiet) as progress:
                result |= denoise_file(
                    source, target, model=model, strength_db=arguments.strength_db, on_progress=progress.update
                )
        # One bad file of many is reported and the rest are done; soundfile's errors are RuntimeErrors.
        except (ValueError, OSError, RuntimeError) as error:
            result["error"] = str(error)
            print(f"pyenhance denoise: {source}: {error}", file=sys.stderr)
        else:
            if not arguments.quiet and not arguments.json:
                speed = 1 / max(result["real_time_factor"], 1e-9)
                print(f"{source} -> {target}  {result['seconds']:.1f} s of audio, {speed:.0f} times real time")
        results.append(result)
    if arguments.json:
        print(json.dumps({"model": model.name, "files": results}, indent=1))
    return EXIT_FAILED if any("error" in r for r in results) else EXIT_OK


def _targets(sources: list[Path], output: Path) -> list[tuple[Path, Path]] | str:
    """Where each file goes, or what is wrong with the request."""
    folder = output.is_dir() or len(sources) > 1 or not output.suffix
    if not folder:
        if output.resolve() == sources[0].resolve():
            return f"{output} is also the input; name another output"
        return [(sources[0], output)]
    if output.exists() and not output.is_dir():
        return f"{output} is a file; accepted for {len(sources)} inputs: a folder"
    pairs = [(source, output / source.name) for source in sources]
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return f"several inputs are called {twice[0]!r}; they would overwrite one another in {output}"
    same = [source for source, target in pairs if source.resolve() == target.resolve()]
    if same:
        return f"{same[0]} would overwrite itself; name another output folder"
    return pairs


class _Progress:
    """A progress bar on standard error when that is a terminal, nothing otherwise."""

    def __init__(self, name: str, *, quiet: bool, unit: str = "sample") -> None:
        self._bar = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(desc=name, unit=unit, unit_scale=unit == "sample", leave=False)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)


def _info(arguments: argparse.Namespace) -> int:
    from .model import available_models, load_model

    facts = {
        "pyenhance": __version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "models": {name: load_model(name).weights for name in available_models()},
        "kernel": load_model("default").kernel,
    }
    if arguments.json:
        print(json.dumps(facts, indent=1))
    else:
        models = ", ".join(f"{name} ({weights:,} weights)" for name, weights in facts.pop("models").items())
        print("\n".join(f"{key:10}{value}" for key, value in (facts | {"models": models}).items()))
    return EXIT_OK


def _model_list(arguments: argparse.Namespace) -> int:
    from .model import available_models, load_model

    for name in available_models():
        print(f"{name:10}{load_model(name).weights:>10,} weights")
    return EXIT_OK


def _model_verify(arguments: argparse.Namespace) -> int:
    from .model import load_model

    failed = False
    for name in arguments.models:
        try:
            load_model(name)
            print(f"{name}: ok")
        except (ValueError, OSError) as error:
            failed = True
            print(f"{name}: {error}", file=sys.stderr)
    return EXIT_FAILED if failed else EXIT_OK


def _evaluate(arguments: argparse.Namespace) -> int:
    from .evaluate import evaluate, load_pairs
    from .evaluate.report import as_text, write
    from .evaluate.systems import PEERS

    for path in arguments.output:
        if path.suffix not in (".json", ".html"):
            print(f"pyenhance evaluate: {path}: accepted: a name that ends in .json or .html", file=sys.stderr)
            return EXIT_USAGE
    pairs = load_pairs(arguments.pairs)[: arguments.limit]
    systems = ["noisy", *arguments.model, *(PEERS if arguments.peers else ()), "oracle"]
    with _Progress("evaluate", quiet=False, unit="clip") as progress:
        result = evaluate(
            pairs, systems, dnsmos=arguments.dnsmos, workers=arguments.workers, on_progress=progress.update
        )
    print(as_text(result), end="")
    for path in arguments.output:
        write(result, pairs, path)
    return EXIT_OK


def _bench(arguments: argparse.Namespace) -> int:
    from .bench import benchmark

    rows = [benchmark(arguments.model, k, arguments.seconds, arguments.kernel) for k in arguments.k]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return EXIT_OK
    for row in rows:
        stages = ", ".join(f"{stage} {us:.0f}" for stage, us in row["breakdown_us"].items())
        print(f"K={row['k']:<3} {row['us_mean']:7.1f} us a hop (p99 {row['us_p99']:.0f}): {stages}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())

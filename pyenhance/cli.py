"""The `pyenhance` command."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from .model_cli import add_commands as add_model_commands

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
    denoise.add_argument("files", nargs="+", type=Path, metavar="IN", help="audio files, or folders of them")
    denoise.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a file, or a folder for many")
    denoise.add_argument("--model", default="default", help="a shipped model's name or a weights file")
    denoise.add_argument("--strength-db", type=_strength, metavar="DB", help="largest attenuation (0: none)")
    denoise.add_argument(
        "--cluster",
        nargs="?",
        const="local",
        type=_cluster,
        metavar="WHERE",
        help="many files at once with Dask: local (a process a core), local:N, or a scheduler's address",
    )
    denoise.add_argument("--force", action="store_true", help="overwrite; else a folder's finished files are left out")
    denoise.add_argument("--json", action="store_true", help="print one JSON object with a result for each file")
    denoise.add_argument("--quiet", action="store_true", help="print errors only")
    denoise.set_defaults(run=_denoise)

    info = commands.add_parser("info", help="versions, models and kernel")
    info.add_argument("--json", action="store_true")
    info.set_defaults(run=_info)

    compiling = commands.add_parser("compile", help="compile the enhancer for this machine: files twice as fast")
    compiling.add_argument("--compiler", metavar="CC", help="a C compiler (gcc, clang or cc)")
    compiling.set_defaults(run=_compile)

    add_model_commands(commands)

    scoring = commands.add_parser("evaluate", help="score models, peers and the oracle on pairs of files")
    scoring.add_argument("--pairs", type=Path, required=True, help="folder with manifest.csv, or clean/ and noisy/")
    scoring.add_argument("--model", nargs="+", default=["default"], help="shipped models' names or weights files")
    scoring.add_argument("--peers", action="store_true", help="also RNNoise and WebRTC's noise suppressor")
    scoring.add_argument("--dnsmos", type=Path, metavar="FILE", help="the DNS challenge's sig_bak_ovr.onnx")
    scoring.add_argument("-o", "--output", type=Path, nargs="+", default=[], help="reports to write: .json, .md, .html")
    scoring.add_argument("--workers", type=int, help="processes (one a core)")
    scoring.add_argument("--limit", type=int, help="only the first clips")
    scoring.set_defaults(run=_evaluate)

    commands.add_parser("train", help="make a model from recordings")

    bench = commands.add_parser("bench", help="microseconds a hop on this machine, by stage")
    bench.add_argument("--model", default="default")
    bench.add_argument("-k", type=int, nargs="+", default=[1, 2, 10], metavar="K", help="hops a call")
    bench.add_argument("--kernel", help="numpy, or native once compiled (the fastest that works here)")
    bench.add_argument("--seconds", type=float, default=10, help="of audio for each K")
    bench.add_argument("--json", action="store_true")
    bench.set_defaults(run=_bench)
    return parser


def _strength(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0 dB")
    return value


def _cluster(text: str) -> str:
    from .archive import check_cluster

    try:
        return check_cluster(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _denoise(arguments: argparse.Namespace) -> int:
    from .archive import denoise_files, plan
    from .model import load_model

    try:
        jobs = plan(arguments.files, arguments.output)
    except ValueError as error:
        print(f"pyenhance denoise: {error}", file=sys.stderr)
        return EXIT_USAGE
    name = load_model(arguments.model).name
    there = set() if arguments.force else {job for job in jobs if job[1].exists()}
    if there and len(jobs) == 1:
        raise FileExistsError(f"{jobs[0][1]} exists; --force overwrites it")
    results = {source: {"input": str(source), "output": str(target), "skipped": True} for source, target in there}
    todo = [job for job in jobs if job not in there]
    quiet = arguments.quiet or arguments.json
    begin = time.perf_counter()
    by_sample = len(jobs) == 1
    with _Progress("denoise", quiet=arguments.quiet, unit="sample" if by_sample else "file") as progress:
        for result in denoise_files(
            todo,
            model=arguments.model,
            strength_db=arguments.strength_db,
            cluster=None if by_sample else arguments.cluster,
            on_progress=(lambda _, done, total: progress.update(done, total)) if by_sample else None,
        ):
            results[Path(result["input"])] = result
            if not by_sample:
                progress.update(len(results), len(jobs))
            if "error" in result:
                progress.say(f"pyenhance denoise: {result['input']}: {result['error']}", sys.stderr)
            elif not quiet:
                speed = 1 / max(result["real_time_factor"], 1e-9)
                facts = f"{result['seconds']:.1f} s of audio, {speed:.0f} times real time"
                progress.say(f"{result['input']} -> {result['output']}  {facts}", sys.stdout)
    failed = sum("error" in result for result in results.values())
    if arguments.json:
        print(json.dumps({"model": name, "files": [results[source] for source, _ in jobs]}, indent=1))
    elif len(jobs) > 1 and not quiet:
        elapsed = time.perf_counter() - begin
        seconds = sum(result.get("seconds", 0) for result in results.values())
        print(
            f"{len(todo) - failed} files done, {len(there)} already there, {failed} failed; "
            f"{seconds:.0f} s of audio in {elapsed:.1f} s, {seconds / elapsed:.0f} times real time"
        )
    return EXIT_FAILED if failed else EXIT_OK


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

    def say(self, line: str, file: Any) -> None:
        """A line of text that does not tear the bar."""
        if self._bar is not None:
            self._bar.write(line, file=file)
        else:
            print(line, file=file)


def _info(arguments: argparse.Namespace) -> int:
    from .model import available_models, load_model

    facts = {
        "pyenhance": __version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "models": {name: load_model(name).weights for name in available_models()},
        **_backend_facts(),
    }
    if arguments.json:
        print(json.dumps(facts, indent=1))
    else:
        models = ", ".join(f"{name} ({weights:,} weights)" for name, weights in facts.pop("models").items())
        print("\n".join(f"{key:10}{value}" for key, value in (facts | {"models": models}).items()))
    return EXIT_OK


def _backend_facts() -> dict[str, Any]:
    """What runs each half of the enhancer, and why nothing faster does."""
    from .model import load_model

    backend = load_model("default").backend
    facts: dict[str, Any] = {"kernel": backend.network, "signal_kernel": backend.signal}
    return facts | ({"why_not": backend.why_not} if backend.why_not else {})


def _compile(arguments: argparse.Namespace) -> int:
    from .backend import compile_native

    print(compile_native(arguments.compiler))
    code = "from pyenhance.backend import available_kernels; print(*available_kernels())"  # a new start looks for them
    kernels = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    if "native" not in kernels:
        print("pyenhance compile: what was compiled does not compute what numpy does; numpy stays", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _evaluate(arguments: argparse.Namespace) -> int:
    from .evaluate import evaluate, load_pairs
    from .evaluate.report import SUFFIXES, as_text, write
    from .evaluate.systems import PEERS

    for path in arguments.output:
        if path.suffix not in SUFFIXES:
            print(f"pyenhance evaluate: {path}: accepted: a name that ends in {', '.join(SUFFIXES)}", file=sys.stderr)
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
    from .threads import can_limit, one_thread

    if not can_limit():
        print(
            "pyenhance bench: threadpoolctl is not installed, so numpy chooses its number of threads; "
            "OPENBLAS_NUM_THREADS=1 keeps it to one",
            file=sys.stderr,
        )
    with one_thread():
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

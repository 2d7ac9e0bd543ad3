"""`pyenhance denoise`."""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from .terminal import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Progress, Signals, shown


def add(commands: Any) -> None:
    """Add it to the command line."""
    denoise = commands.add_parser(
        "denoise",
        help="enhance audio files (WAV, FLAC, Ogg, Opus, MP3 and more; any rate, any channels)",
        description="Enhance audio files: WAV, FLAC, Ogg, Opus, MP3, AIFF, CAF, AU, W64 and RF64, and read M4A, MP4, "
        "WebM and what else PyAV decodes. The output has the input's length, rate, channels and tags.",
    )
    denoise.add_argument("files", nargs="+", type=Path, metavar="IN", help="audio files, or folders of them")
    denoise.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a file, or a folder for many")
    denoise.add_argument(
        "--model",
        default="default",
        help="a shipped model's name (`pyenhance model list`) or a weights file; also one that hears whole recordings",
    )
    denoise.add_argument("--strength-db", type=_strength, metavar="DB", help="largest attenuation (0: none)")
    denoise.add_argument(
        "--effort",
        choices=("full", "auto"),
        default="full",
        help="of a model with lean frames: all of it on each (the default), or on one in three, as live",
    )
    denoise.add_argument(
        "--unlinked",
        action="store_true",
        help="enhance each channel by itself, for separate talkers; else the channels share their gains",
    )
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
    denoise.set_defaults(run=_run)


def _strength(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0 dB")
    return value


def _cluster(text: str) -> str:
    from ..archive import check_cluster

    try:
        return check_cluster(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _run(arguments: argparse.Namespace) -> int:
    from ..archive import denoise_files, plan
    from ..model import load_model

    try:
        made = plan(arguments.files, arguments.output)
    except ValueError as error:
        print(f"pyenhance denoise: {shown(str(error))}", file=sys.stderr)
        return EXIT_USAGE
    jobs = made.jobs
    name = load_model(arguments.model).name
    there = set() if arguments.force else {job for job in jobs if job[1].exists()}
    if there and len(jobs) == 1:
        raise FileExistsError(f"{jobs[0][1]} exists; --force overwrites it")
    results: dict[Path, dict[str, Any]] = {
        source: {"input": str(source), "output": str(target), "skipped": True} for source, target in there
    }
    todo = [job for job in jobs if job not in there]
    begin = time.perf_counter()
    by_sample = len(jobs) == 1
    cluster = None if by_sample else arguments.cluster
    with (
        Signals() as signals,
        Progress("denoise", quiet=arguments.quiet, unit="sample" if by_sample else "file") as progress,
    ):
        report = _Report(progress, quiet=arguments.quiet, silent=arguments.quiet or arguments.json)
        for path, reason in made.problems:
            results[path] = {"input": str(path), "error": reason}
            report.result(results[path])

        def on_progress(_: Path, done: int, total: int) -> None:
            signals.check()
            if by_sample:
                progress.update(done, total)

        def on_start() -> None:
            signals.deferred = False
            signals.check()

        signals.deferred = True
        for result in denoise_files(
            todo,
            model=arguments.model,
            strength_db=arguments.strength_db,
            linked=not arguments.unlinked,
            effort=arguments.effort,
            cluster=cluster,
            on_progress=on_progress,
            on_start=on_start,
        ):
            results[Path(result["input"])] = result
            if not by_sample:
                progress.update(len(results), len(jobs) + len(made.problems))
            report.result(result)
            signals.check()
        signals.deferred = False
        report.left_out(made.left_out)
    failed = sum("error" in result for result in results.values())
    if arguments.json:
        files = [results[path] for path, _ in (*jobs, *made.problems)]
        print(json.dumps({"model": name, "files": files, "left_out": len(made.left_out)}, indent=1))
    elif len(jobs) > 1 and not arguments.quiet:
        elapsed = time.perf_counter() - begin
        seconds = sum(result.get("seconds", 0) for result in results.values())
        print(
            f"{len(results) - len(there) - failed} files done, {len(there)} already there, {failed} failed; "
            f"{seconds:.0f} s of audio in {elapsed:.1f} s, {seconds / elapsed:.0f} times real time"
        )
    return EXIT_FAILED if failed else EXIT_OK


class _Report:
    """Lines about files."""

    def __init__(self, progress: Progress, *, quiet: bool, silent: bool) -> None:
        self._progress, self._quiet, self._silent = progress, quiet, silent
        self._said: set[str] = set()

    def result(self, result: dict[str, Any]) -> None:
        """A line for a file, and one for each note that this run has not yet had."""
        if "error" in result:
            self._progress.say(f"pyenhance denoise: {result['input']}: {result['error']}", sys.stderr)
        elif not self._silent:
            speed = 1 / max(result["real_time_factor"], 1e-9)
            facts = f"{result['seconds']:.1f} s of audio, {speed:.0f} times real time"
            self._progress.say(f"{result['input']} -> {result['output']}  {facts}", sys.stdout)
        for note in result.get("notes", ()):
            if note not in self._said and not self._quiet:
                self._progress.say(f"pyenhance denoise: {result['input']}: {note}", sys.stderr)
            self._said.add(note)

    def left_out(self, paths: list[Path]) -> None:
        """A line that counts what no one asked for."""
        if paths and not self._quiet:
            kinds = Counter("link to a folder" if p.is_dir() else p.suffix.lower() or "no suffix" for p in paths)
            named = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
            rest = ", ..." if len(kinds) > 5 else ""
            self._progress.say(f"pyenhance denoise: {len(paths)} left out, no audio by name: {named}{rest}", sys.stderr)

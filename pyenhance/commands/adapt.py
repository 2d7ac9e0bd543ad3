"""`pyenhance adapt`."""

import argparse
import json
from pathlib import Path
from typing import Any

from .terminal import EXIT_OK, Progress, Signals


def add(commands: Any) -> None:
    """Add it to the command line."""
    adapt = commands.add_parser(
        "adapt",
        help="fit a model to a voice and a room, from two recordings",
        description="Fit a model to a voice and a room. The result is a diff of some kilobytes for pyenhance model "
        "apply. Where it would not be better on what is held out of the recordings, the shipped model stays: no file, "
        "exit code 1. Nothing leaves this machine.",
    )
    adapt.add_argument("--voice", type=Path, required=True, help="half a minute of speech in quiet")
    adapt.add_argument("--noise", type=Path, required=True, help="twenty seconds of the room while nobody speaks")
    adapt.add_argument("--model", default="default", help="a shipped model's name or a weights file")
    adapt.add_argument("--summary", type=Path, metavar="FILE", help="of a weights file: see pyenhance train summary")
    adapt.add_argument("-o", "--output", type=Path, required=True, metavar="DIFF")
    adapt.add_argument("--force", action="store_true", help="overwrite")
    adapt.add_argument("--json", action="store_true", help="print one JSON object")
    adapt.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ..audio import read_audio
    from ..model.adapt import adapt
    from ..model.diff import write_whole

    if arguments.output.exists() and not arguments.force:  # told before half a minute of work
        raise FileExistsError(f"{arguments.output} exists; --force overwrites it")
    voice, noise = read_audio(arguments.voice), read_audio(arguments.noise)
    summary = arguments.summary.read_bytes() if arguments.summary else None
    with Signals(), Progress("adapt", quiet=arguments.json, unit="step") as progress:
        result = adapt(arguments.model, voice, noise, progress=progress.update, summary=summary)
    write_whole(arguments.output, result.diff, force=arguments.force)
    if arguments.json:
        facts = {"bytes": len(result.diff), "anchor_frames": result.anchor_frames}
        print(json.dumps(facts | result.figures | {"clips": result.clips}, indent=1))
        return EXIT_OK
    loss, ratio, public = (result.figures[name] for name in ("gain_loss", "si_sdr", "public_gain_loss"))
    print(f"{arguments.output}: {len(result.diff):,} bytes for {arguments.model}")
    print(f"on {len(result.clips)} clips that were held out:")
    print(f"  gain loss {loss[0]:.3f} -> {loss[1]:.3f}, SI-SDR {ratio[0]:.1f} -> {ratio[1]:.1f} dB")
    print(f"  other voices and rooms: gain loss {public[0]:.3f} -> {public[1]:.3f}")
    return EXIT_OK

"""`pyenhance bench`."""

import argparse
import json
import sys
from typing import Any

from .terminal import EXIT_OK


def add(commands: Any) -> None:
    """Add it to the command line."""
    bench = commands.add_parser("bench", help="microseconds a hop on this machine, by stage")
    bench.add_argument("--model", default="default", help="one that runs streams")
    bench.add_argument("-k", type=int, nargs="+", default=[1, 2, 10], metavar="K", help="hops a call")
    bench.add_argument("--kernel", help="numpy, or native once compiled (the fastest that works here)")
    bench.add_argument("--seconds", type=float, default=10, help="of audio for each K")
    bench.add_argument("--json", action="store_true")
    bench.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ..bench import benchmark
    from ..threads import can_limit, one_thread

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

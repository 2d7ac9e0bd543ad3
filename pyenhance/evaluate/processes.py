"""The same work on many clips, over the cores."""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    start: Callable[..., None],
    arguments: tuple[Any, ...],
    *,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """What `work` gives for each item, in their order.

    Parameters
    ----------
    work, start : callable
        Functions of a module. Each process begins with ``start(*arguments)``.
    items : sequence
    workers : int, optional
        Processes; one a core by default.
    on_progress : callable, optional
        Called with items done and items in all.
    """
    from concurrent.futures import ProcessPoolExecutor  # a browser has no processes, but uses the metrics

    results: list[Result] = []
    with ProcessPoolExecutor(workers or os.cpu_count(), None, start, arguments) as pool:
        for result in pool.map(work, items):
            results.append(result)
            if on_progress:
                on_progress(len(results), len(items))
    return results

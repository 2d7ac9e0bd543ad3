"""Many files: which goes where, and doing them one after another or on Dask workers."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .audio import denoise_file
from .model import load_model

SUFFIXES = frozenset({".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".mp3"})
"""What is taken from a folder; a file that is named may be anything that libsndfile reads."""

Job = tuple[Path, Path]


def plan(sources: list[Path], output: Path) -> list[Job]:
    """Where each file goes.

    Parameters
    ----------
    sources : list of Path
        Files, and folders whose audio files are taken with their place inside the folder.
    output : Path
        A file for a single file, else a folder.

    Returns
    -------
    list of (source, target)

    Raises
    ------
    ValueError
        Two results would share a name, or one would be written over its source; the message names it.
    """
    if len(sources) == 1 and not sources[0].is_dir() and output.suffix and not output.is_dir():
        jobs = [(sources[0], output)]
    else:
        if output.exists() and not output.is_dir():
            raise ValueError(f"{output} is a file; accepted for several inputs: a folder")
        jobs = [(path, output / place) for source in sources for path, place in _files(source, output)]
    taken: set[Path] = set()
    for source, target in jobs:
        if target in taken:
            raise ValueError(f"several inputs would be written to {target}; give them different output folders")
        taken.add(target)
        if source.resolve() == target.resolve():
            raise ValueError(f"{source} would be written over itself; name another output")
    return jobs


def _files(source: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    """A file, or a folder's audio files, each with its place in the output folder."""
    if not source.is_dir():
        yield source, Path(source.name)
        return
    results = output.resolve()
    for path in sorted(source.rglob("*")):
        mine = results in path.resolve().parents and results != source.resolve()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file() and not mine:
            yield path, path.relative_to(source)


def check_cluster(text: str) -> str:
    """`local`, `local:N` or a Dask scheduler's address; ValueError that names anything else."""
    kind, _, rest = text.partition(":")
    if text == "local" or (kind == "local" and rest.isdigit() and int(rest) > 0) or (rest.startswith("//") and kind):
        return text
    raise ValueError(f"cluster is {text!r}; accepted: local, local:N (processes) or an address such as tcp://host:8786")


def denoise_files(
    jobs: list[Job],
    *,
    model: str = "default",
    strength_db: float | None = None,
    cluster: str | None = None,
    on_progress: Callable[[Path, int, int], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Enhance many files; a bad one is reported and the rest are done.

    Parameters
    ----------
    jobs : list of (source, target)
        The targets' folders are made.
    model : str
        A shipped model's name or a weights file (on a cluster: one that every worker sees).
    strength_db : float or None
        As for `Enhancer`.
    cluster : str or None
        None: here, one after another. ``local`` or ``local:N``: processes of this machine. Otherwise the address of a
        Dask scheduler whose workers have pyenhance and see the files under the same names.
    on_progress : callable, optional
        Without a cluster, called with a file, its samples done and its samples in all.

    Yields
    ------
    dict, in the order of completion
        input, output, and either what `denoise_file` tells or error.

    Raises
    ------
    ImportError
        Dask is asked for and not installed.
    OSError
        The scheduler does not answer.
    """
    if cluster is None:
        loaded = load_model(model)  # once: a weights file is read anew at every call
        for source, target in jobs:
            report = None if on_progress is None else lambda done, total, s=source: on_progress(s, done, total)
            yield _denoise(source, target, loaded, strength_db, report)
        return
    with ExitStack() as stack:
        client, as_completed = _connect(check_cluster(cluster), len(jobs), stack)
        here = Path.cwd()
        name = str(here / model) if model.endswith(".safetensors") else model
        futures = {
            client.submit(_denoise, here / source, here / target, name, strength_db, pure=False): (source, target)
            for source, target in jobs
        }
        for future in as_completed(futures, loop=client.loop):
            source, target = futures[future]
            # A worker that died with this file, again and again, is this file's error.
            error = future.exception()
            result = {"error": str(error)} if error else future.result()
            yield result | {"input": str(source), "output": str(target)}


def _denoise(
    source: Path,
    target: Path,
    model: Any,
    strength_db: float | None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    result: dict[str, Any] = {"input": str(source), "output": str(target)}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return result | denoise_file(source, target, model=model, strength_db=strength_db, on_progress=on_progress)
    except (ValueError, OSError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
        return result | {"error": str(error)}


def _connect(cluster: str, jobs: int, stack: ExitStack) -> tuple[Any, Any]:
    """A Dask client, and `as_completed`."""
    try:
        from distributed import Client, LocalCluster, as_completed
    except ImportError as error:
        raise ImportError("--cluster needs Dask: pip install 'pyenhance[cluster]'") from error
    address: Any = cluster
    if cluster.startswith("local"):
        workers = int(cluster.partition(":")[2] or os.cpu_count() or 1)
        address = stack.enter_context(
            LocalCluster(n_workers=max(1, min(workers, jobs)), threads_per_worker=1, dashboard_address=None)
        )
    return stack.enter_context(Client(address, set_as_default=False)), as_completed

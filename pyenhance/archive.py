"""Many files: which goes where, and doing them one after another or on Dask workers."""

import errno
import logging
import multiprocessing
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .files import SUFFIXES, denoise_file
from .files.formats import READ_BY_PYAV
from .files.writing import TEMPORARY_PREFIX
from .model import load_model

Job = tuple[Path, Path]


@dataclass
class Plan:
    """Which file goes where.

    Attributes
    ----------
    jobs : list of (source, target)
    problems : list of (Path, str)
        What was named, or found in a folder, and cannot be done, each with the reason.
    left_out : list of Path
        What lies in the folders and is no audio file by its name.
    """

    jobs: list[Job] = field(default_factory=list)
    problems: list[tuple[Path, str]] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)


def plan(sources: list[Path], output: Path) -> Plan:
    """Where each file goes.

    Parameters
    ----------
    sources : list of Path
        Files, and folders whose audio files are taken with their place inside the folder.
    output : Path
        A file for a single file, else a folder.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        Two results would share a name, or one would be written over its source; the message names it.
    """
    made = Plan()
    if len(sources) == 1 and not sources[0].is_dir() and output.suffix and not output.is_dir():
        made.jobs = [(sources[0], output)]
    else:
        if output.exists() and not output.is_dir():
            raise ValueError(f"{output} is a file; accepted for several inputs: a folder")
        for source in sources:
            found = list(_in_folder(source, output, made)) if source.is_dir() else [(source, Path(source.name))]
            taken = {place for _, place in found}
            made.jobs += [(path, output / _written_as(place, taken)) for path, place in found]
    targets: set[Path] = set()
    for source, target in made.jobs:
        if target in targets:
            raise ValueError(f"several inputs would be written to {target}; give them different output folders")
        targets.add(target)
        if _same(source, target):
            raise ValueError(f"{source} would be written over itself; name another output")
    return made


def _in_folder(folder: Path, output: Path, made: Plan) -> Iterator[tuple[Path, Path]]:
    """A folder's audio files, each with its place; what is not taken goes to the plan's problems and left_out."""
    count = len(made.problems)
    found = False

    def unreadable(error: OSError) -> None:
        made.problems.append((Path(error.filename), error.strerror or str(error)))

    for place, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not _same(Path(place, name), output)
        )
        made.left_out += [Path(place, name) for name in folders if Path(place, name).is_symlink()]
        for name in sorted(files):
            path = Path(place, name)
            audio = path.suffix.lower() in SUFFIXES
            if name.startswith("."):
                continue
            try:
                os.stat(path)
            except OSError as error:
                if audio or error.errno == errno.ELOOP:
                    made.problems.append((path, error.strerror or str(error)))
                    continue
            if audio and path.is_file():
                found = True
                yield path, path.relative_to(folder)
            else:
                made.left_out.append(path)
    if not found and len(made.problems) == count:
        made.problems.append((folder, f"no audio files in it; accepted: {', '.join(sorted(SUFFIXES))}"))


def _written_as(place: Path, taken: set[Path]) -> Path:
    """A result's place: the source's, or as FLAC what is read and not written."""
    if place.suffix.lower() not in READ_BY_PYAV:
        return place
    flac = place.with_suffix(".flac")
    return place.with_name(place.name + ".flac") if flac in taken else flac


def _same(a: Path, b: Path) -> bool:
    """Whether two paths lead to the same place, which need not be there."""
    with suppress(OSError):
        return os.path.samefile(a, b)
    return os.path.realpath(a) == os.path.realpath(b)


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
    linked: bool = True,
    effort: str = "full",
    cluster: str | None = None,
    on_progress: Callable[[Path, int, int], None] | None = None,
    on_start: Callable[[], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Enhance many files; a bad one is reported and the rest are done.

    Parameters
    ----------
    jobs : list of (source, target)
        The targets' folders are made.
    model : str
        A shipped model's name or a weights file (on a cluster: one that every worker sees).
    strength_db, linked
        As for `enhance`.
    effort : str
        As for `Enhancer`.
    cluster : str or None
        None: here, one after another. ``local`` or ``local:N``: processes of this machine. Otherwise the address of a
        Dask scheduler whose workers have pyenhance and see the files under the same names.
    on_progress : callable, optional
        Without a cluster, called with a file, its samples done and its samples in all. What it raises ends everything.
    on_start : callable, optional
        With a cluster, called when that is ready. Dask tells much when its start is interrupted, and little afterwards.

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
    options: dict[str, Any] = {"strength_db": strength_db, "linked": linked, "effort": effort}
    if cluster is None:
        loaded = load_model(model)  # once: a weights file is read anew at every call
        for source, target in jobs:
            report = None if on_progress is None else lambda done, total, s=source: on_progress(s, done, total)
            yield _denoise(source, target, model=loaded, on_progress=report, **options)
        return
    here = Path.cwd()
    places = {source: (here / source, here / target) for source, target in jobs}
    options["prefix"] = f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-"
    options["model"] = str(here / model) if model.endswith(".safetensors") else model
    with ExitStack() as stack:
        # Last of all, when the workers have gone: one that was ended in the middle of a file cannot clear up any more.
        stack.callback(_sweep, {target.parent for _, target in places.values()}, options["prefix"])
        stack.callback(_end_children, set(multiprocessing.active_children()))
        client, as_completed = _connect(check_cluster(cluster), len(jobs), stack)
        if on_start is not None:
            on_start()
        futures = {client.submit(_denoise, *places[job[0]], pure=False, **options): job for job in jobs}
        for future in as_completed(futures, loop=client.loop):
            source, target = futures[future]
            # A worker that died with this file, again and again, is this file's error.
            error = future.exception()
            result = {"error": str(error)} if error else future.result()
            yield result | {"input": str(source), "output": str(target)}


def _denoise(source: Path, target: Path, **options: Any) -> dict[str, Any]:
    result: dict[str, Any] = {"input": str(source), "output": str(target)}
    try:
        with suppress(FileExistsError):  # a file, of which opening the target tells more
            target.parent.mkdir(parents=True, exist_ok=True)
        return result | denoise_file(source, target, **options)
    except OSError as error:
        where = "" if error.filename in (None, source, str(source)) else f": {error.filename}"
        return result | {"error": f"{error.strerror or error}{where}"}
    except (ValueError, RuntimeError, ImportError, MemoryError) as error:
        return result | {"error": str(error) or type(error).__name__}


def _end_children(before: set[Any]) -> None:
    """End the processes that a cluster has left, which happens where it is closed while it is still starting."""
    for child in set(multiprocessing.active_children()) - before:
        child.kill()
        child.join()


def _sweep(folders: Iterable[Path], prefix: str) -> None:
    """Remove the unfinished results of a run."""
    for folder in folders:
        for path in folder.glob(f"{prefix}*"):
            with suppress(OSError):
                path.unlink()


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
            LocalCluster(
                n_workers=max(1, min(workers, jobs)),
                threads_per_worker=1,
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            )
        )
    return stack.enter_context(Client(address, set_as_default=False)), as_completed

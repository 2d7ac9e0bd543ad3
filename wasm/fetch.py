"""Get what the site is made of into the cache: Pyodide's core, numpy's wheel, Mediabunny; and micropip for the tests.

    fetch.py CACHE VENV [--numpy auto|distribution|source]

Prints one JSON object: paths, and where numpy came from. Everything is checked against a pinned sha256, or against the
sha256 in Pyodide's own lock file; a wheel built here is recorded with its sum when it is made.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from versions import read_versions

HERE = Path(__file__).resolve().parent
VERSIONS = read_versions()
NUMPY_WHEEL = f"numpy-{VERSIONS['NUMPY_VERSION']}-cp314-cp314-{VERSIONS['PYODIDE_ABI']}_wasm32.whl"
_CONNECT_SECONDS = 8


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(path: Path, expected: str) -> None:
    """Exit when a file's sum is not the expected one; the file is removed so that a rerun fetches it again."""
    found = sha256(path)
    if found != expected:
        path.unlink()
        sys.exit(f"{path.name}: sha256 is {found}, expected {expected}")


def say(text: str) -> None:
    """Progress, on standard error: standard output carries the result."""
    print(f"  {text}", file=sys.stderr, flush=True)


def fetch_npm(cache: Path, name: str) -> Path:
    """A package of npm, at the pinned version; the folder of its files."""
    known = name.upper().replace("-", "_")
    version = VERSIONS[f"{known}_VERSION"]
    folder = cache / f"{name}-{version}"
    if not folder.exists():
        say(f"{name} {version} from npm")
        command = ["npm", "pack", "--silent", "--pack-destination", str(cache), f"{name}@{version}"]
        archive = (
            cache / subprocess.run(command, check=True, capture_output=True, text=True, cwd=cache).stdout.split()[-1]
        )
        check(archive, VERSIONS[f"{known}_SHA256"])
        part = cache / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(part, filter="data")
        (part / "package").rename(folder)
        archive.unlink()
        part.rmdir()
    return folder


def fetch_micropip(cache: Path, venv: Path) -> Path:
    """micropip's wheel, from PyPI."""
    path = cache / f"micropip-{VERSIONS['MICROPIP_VERSION']}-py3-none-any.whl"
    if not path.exists():
        say(f"micropip {VERSIONS['MICROPIP_VERSION']} from PyPI")
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version", VERSIONS["PYTHON_VERSION"]]
        requirement = f"micropip=={VERSIONS['MICROPIP_VERSION']}"
        subprocess.run(
            [venv / "bin/pip", "download", *options, "-d", cache, requirement], check=True, stdout=sys.stderr
        )
    check(path, VERSIONS["MICROPIP_SHA256"])
    return path


def numpy_from_distribution(folder: Path, lock: dict) -> str | None:
    """numpy as Pyodide distributes it; why it cannot be had, or None."""
    url = f"{VERSIONS['PYODIDE_DISTRIBUTION']}/{NUMPY_WHEEL}"
    part = folder / "numpy.part"
    try:
        with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as reply, open(part, "wb") as file:
            shutil.copyfileobj(reply, file)
    except (urllib.error.URLError, OSError) as error:
        return f"{url}: {error}"
    check(part, lock["packages"]["numpy"]["sha256"])
    part.rename(folder / NUMPY_WHEEL)
    return None


def numpy_from_source(folder: Path, cache: Path, pyodide: Path, venv: Path) -> None:
    """numpy built here, with SIMD."""
    work = cache / "numpy-build"
    command = [HERE / "build_numpy.sh", work, pyodide, venv]
    subprocess.run(command, check=True, stdout=sys.stderr)
    (work / "out" / NUMPY_WHEEL).rename(folder / NUMPY_WHEEL)
    (work / "tests").rename(folder / "tests")
    shutil.rmtree(work)


def fetch_numpy(cache: Path, pyodide: Path, venv: Path, wanted: str, build: bool) -> tuple[Path, str]:
    """numpy's wheel and its origin: the cache, the distribution, or a build from source, in that order.

    Exits with 3 when only a build is left and `build` is false: the caller may have compilers to install first.
    """
    lock = json.loads((pyodide / "pyodide-lock.json").read_text())
    recipe = "".join((HERE / name).read_text() for name in ("build_numpy.sh", "target_python.py", "debian.sh"))
    recipe += "".join(v for k, v in sorted(VERSIONS.items()) if k.startswith(("NUMPY", "PYODIDE", "LLVM", "CYTHON")))
    source = cache / f"numpy-source-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    folders = {"source": source, "distribution": cache / f"numpy-distribution-{VERSIONS['PYODIDE_VERSION']}"}
    for origin, folder in folders.items():
        if wanted in (origin, "auto") and (folder / "sha256").exists():
            check(folder / NUMPY_WHEEL, (folder / "sha256").read_text())
            say(f"numpy {VERSIONS['NUMPY_VERSION']} from the cache (first from {origin})")
            return folder / NUMPY_WHEEL, origin
    origin = "source" if wanted == "source" else "distribution"
    folders[origin].mkdir(parents=True, exist_ok=True)
    if origin == "distribution":
        say(f"numpy {VERSIONS['NUMPY_VERSION']} from Pyodide's distribution")
        problem = numpy_from_distribution(folders[origin], lock)
        if problem:
            say(problem)
            if wanted == "distribution":
                sys.exit("numpy cannot be had from Pyodide's distribution; --numpy source builds it here")
            origin = "source"
            folders[origin].mkdir(parents=True, exist_ok=True)
    if origin == "source":
        if not build:
            sys.exit(3)
        say(f"numpy {VERSIONS['NUMPY_VERSION']} from PyPI's source")
        numpy_from_source(folders[origin], cache, pyodide, venv)
    wheel = folders[origin] / NUMPY_WHEEL
    (folders[origin] / "sha256").write_text(sha256(wheel))
    return wheel, origin


def main() -> None:
    """Fetch all, print what was fetched."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("venv", type=Path)
    parser.add_argument("--numpy", choices=("auto", "distribution", "source"), default="auto")
    parser.add_argument("--pyodide-only", action="store_true", help="fetch the core alone and print its folder")
    parser.add_argument("--no-build", action="store_true", help="exit with 3 rather than build numpy")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    pyodide = fetch_npm(arguments.cache, "pyodide")
    if arguments.pyodide_only:
        print(pyodide)
        return
    micropip = fetch_micropip(arguments.cache, arguments.venv)
    mediabunny, esbuild = (fetch_npm(arguments.cache, name) for name in ("mediabunny", "esbuild-wasm"))
    numpy, origin = fetch_numpy(arguments.cache, pyodide, arguments.venv, arguments.numpy, not arguments.no_build)
    paths = {"pyodide": pyodide, "mediabunny": mediabunny, "esbuild": esbuild, "micropip": micropip, "numpy": numpy}
    print(json.dumps({name: str(path) for name, path in paths.items()} | {"numpy_origin": origin}))


if __name__ == "__main__":
    main()

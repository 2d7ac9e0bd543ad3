"""Prepare Python code for the browser: precompile.py FETCHED.json OUT.

Leaves out what the site never imports and compiles the rest to bytecode, which the browser would otherwise do at every
start. Takes numpy, micropip and Python's standard library from where FETCHED.json says; writes them to the folder OUT,
and to standard output FETCHED.json with their new places. Needs `pyodide` (pyodide-build, under the browser's Python).

pyenhance's own wheel stays source: the page "How it works" shows it.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

# Folders and modules of each archive. Of numpy: what is made for tests, builds, types, and the lazily loaded parts that
# an enhancer has no use for.
LEFT_OUT = {
    "numpy": {
        "numpy/_pyinstaller", "numpy/core", "numpy/doc", "numpy/f2py", "numpy/linalg/lapack_lite", "numpy/matlib",
        "numpy/polynomial", "numpy/random", "numpy/testing", "numpy/typing", "numpy/conftest",
    },
    "python_stdlib": {
        "_pyrepl", "antigravity", "bdb", "cProfile", "cgi", "cmd", "compileall", "curses", "dbm", "doctest",
        "ensurepip", "filecmp", "fileinput", "fractions", "ftplib", "getpass", "http/server", "idlelib", "imaplib",
        "mailbox", "multiprocessing", "netrc", "nturl2path", "optparse", "pdb", "pickletools", "plistlib", "poplib",
        "profile", "pstats", "pty", "pyclbr", "pydoc", "pydoc_data", "rlcompleter", "sched", "smtplib", "socketserver",
        "sqlite3", "statistics", "symtable", "tabnanny", "this", "timeit", "tkinter", "trace", "tracemalloc", "tty",
        "turtle", "turtledemo", "unittest", "venv", "wave", "webbrowser", "wsgiref", "xml", "xmlrpc", "zipapp",
    },
}  # fmt: skip
TYPES = {".pyi", ".pxd"}


def left_out(name: str, prefixes: set[str]) -> bool:
    """Whether an archive's file belongs to a folder or module that is not wanted, or holds types alone."""
    path = Path(name)
    parents = {str(parent) for parent in path.parents}
    module = str(path.parent / path.name.split(".")[0])
    return path.suffix in TYPES or module in prefixes or bool(parents & prefixes)


def trim(source: Path, target: Path) -> None:
    """Copy an archive without what its list leaves out; a wheel's RECORD names what is left."""
    prefixes = LEFT_OUT.get(source.name.split("-")[0].removesuffix(".zip"), set())
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            if info.is_dir() or left_out(info.filename, prefixes):
                continue
            data = old.read(info)
            if info.filename.endswith(".dist-info/RECORD"):
                lines = data.decode().splitlines(keepends=True)
                data = "".join(line for line in lines if not left_out(line.split(",")[0], prefixes)).encode()
            new.writestr(info, data)


def main(fetched: Path, out: Path) -> None:
    """Trim and compile all."""
    facts = json.loads(fetched.read_text())
    sources = {
        "numpy": Path(facts["numpy"]),
        "micropip": Path(facts["micropip"]),
        "stdlib": Path(facts["pyodide"]) / "python_stdlib.zip",
    }
    shutil.rmtree(out, ignore_errors=True)
    for name, source in sources.items():
        (out / name).mkdir(parents=True)
        trim(source, out / name / source.name)
        command = ["pyodide", "py-compile", "--silent", "--compression-level", "9", str(out / name)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        (compiled,) = (out / name).iterdir()
        facts[name] = str(compiled)
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))

"""Prepare Python code for the browser: precompile.py FETCHED.json OUT.

Leaves out what the site never imports, and all docstrings, and compiles the rest to bytecode, which the browser would
otherwise do at every start. Takes numpy and Python's standard library from where FETCHED.json says; writes them to the
folder OUT, and to standard output FETCHED.json with their new places. Needs `pyodide` (pyodide-build), and to run under
the browser's version of Python, whose syntax it parses.

pyenhance's own wheel stays source: the page "How it works" shows it.
"""

import ast
import json
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

# Folders and modules of each archive, as patterns. Of numpy: what is made for tests, builds, types, and the lazily
# loaded parts that an enhancer has no use for.
LEFT_OUT = {
    "numpy": """
        numpy/_configtool numpy/_core/include numpy/_core/lib numpy/_pyinstaller numpy/_utils/_pep440 numpy/conftest
        numpy/core numpy/doc numpy/f2py numpy/lib/recfunctions numpy/linalg/lapack_lite numpy/ma numpy/matlib
        numpy/polynomial numpy/random numpy/testing numpy/typing
    """.split(),
    "python_stdlib": """
        _aix_support _android_support _apple_support _ast_unparse _ios_support _markupbase _osx_support _py_abc
        _pydatetime _pyio _pyrepl _strptime _sysconfigdata_* antigravity argparse asyncio/__main__
        asyncio/proactor_events asyncio/tools asyncio/windows_events asyncio/windows_utils bdb cProfile calendar cgi cmd
        code compileall concurrent/futures/interpreter concurrent/futures/process concurrent/interpreters configparser
        ctypes/_aix ctypes/macholib ctypes/util ctypes/wintypes curses dbm difflib doctest email/[!_]*
        email/_[!_]* encodings/*_codec
        encodings/big5* encodings/cp424 encodings/cp[!4]* encodings/euc* encodings/gb* encodings/h[pz]* encodings/idna
        encodings/iso* encodings/johab encodings/k* encodings/mac* encodings/p[at]* encodings/punycode encodings/shift*
        encodings/tis* ensurepip filecmp fileinput ftplib getopt getpass gettext hmac html http idlelib imaplib
        ipaddress json/tool logging/config logging/handlers mailbox mimetypes modulefinder multiprocessing netrc
        nturl2path optparse pathlib/types pdb pickletools plistlib poplib profile pstats pty py_compile pyclbr pydoc
        pydoc_data pyodide/_nodesock_transport pyodide/console pyodide/http quopri rlcompleter runpy sched shelve shlex
        smtplib socketserver sqlite3 stringprep symtable sysconfig/__main__ tabnanny this timeit tkinter tomllib trace
        tracemalloc tty turtle turtledemo unittest urllib uuid venv wave webbrowser wsgiref xml xmlrpc zipapp zoneinfo
    """.split(),
}
# Modules that are imported, but only to hang documentation on what is written in C.
EMPTIED = {"numpy/_core/_add_newdocs.py", "numpy/_core/_add_newdocs_scalars.py"}
TYPES = {".pyi", ".pxd"}


def left_out(name: str, prefixes: list[str]) -> bool:
    """Whether an archive's file belongs to a folder or module that is not wanted, or holds types alone."""
    path = Path(name)
    places = [str(path.parent / path.name.split(".")[0]), *map(str, path.parents)]
    return path.suffix in TYPES or any(fnmatch(place, prefix) for place in places for prefix in prefixes)


def without_docstrings(source: bytes) -> bytes:
    """Python source whose docstrings are a space each; every other line stays where it was."""
    lines = source.splitlines(keepends=True)
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, kinds) or not node.body or ast.get_docstring(node, clean=False) is None:
            continue
        text = node.body[0]
        first, last = text.lineno - 1, text.end_lineno - 1
        before, after = lines[first][: text.col_offset], lines[last][text.end_col_offset :]
        lines[first : last + 1] = [b""] * (last + 1 - first)
        lines[first] = before + b'(" "' + b"\n" * (last - first) + b")" + after
    return b"".join(lines)


def trim(source: Path, target: Path) -> None:
    """Copy an archive without what its list leaves out; a wheel's RECORD names what is left."""
    prefixes = LEFT_OUT.get(source.name.split("-")[0].removesuffix(".zip"), [])
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            if info.is_dir() or left_out(info.filename, prefixes):
                continue
            data = b"" if info.filename in EMPTIED else old.read(info)
            if info.filename.endswith(".py"):
                data = without_docstrings(data)
            if info.filename.endswith(".dist-info/RECORD"):
                lines = data.decode().splitlines(keepends=True)
                data = "".join(line for line in lines if not left_out(line.split(",")[0], prefixes)).encode()
            new.writestr(info, data)


def main(fetched: Path, out: Path) -> None:
    """Trim and compile all."""
    facts = json.loads(fetched.read_text())
    sources = {
        "numpy": Path(facts["numpy"]),
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

"""Prepare Python code for the browser: precompile.py FETCHED.json OUT.

Leaves out what the site never imports and compiles the rest to bytecode without docstrings, which the browser would
otherwise do at every start. Takes numpy and Python's standard library from where FETCHED.json says; writes them to the
folder OUT, and to standard output FETCHED.json with their new places. Runs under the browser's version of Python.

pyenhance's own wheel stays source: the page "How it works" shows it.
"""

import json
import py_compile
import shutil
import sys
import tempfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path

# Folders and modules of each archive, as patterns. Of numpy: what is made for tests, builds, types, and the lazily
# loaded parts that an enhancer has no use for.
LEFT_OUT = {
    "numpy": """
        numpy/_configtool numpy/_core/defchararray numpy/_core/include numpy/_core/lib
        numpy/_core/strings numpy/_pyinstaller numpy/char numpy/_utils/_pep440 numpy/conftest numpy/core numpy/doc
        numpy/f2py numpy/lib/_user_array_impl numpy/lib/recfunctions numpy/lib/user_array numpy/linalg/lapack_lite
        numpy/ma/[A-Z]* numpy/ma/mrecords numpy/ma/testutils numpy/matlib numpy/polynomial numpy/random numpy/strings
        numpy/testing numpy/typing
    """.split(),
    "python_stdlib": """
        _aix_support _android_support _apple_support _ast_unparse _ios_support _markupbase _osx_support _py_abc
        _pydatetime _pyio _pyrepl _strptime _sysconfigdata_* antigravity argparse asyncio/__main__
        asyncio/proactor_events asyncio/tools asyncio/windows_events asyncio/windows_utils bdb cProfile calendar cgi cmd
        code colorsys compileall concurrent/futures/interpreter concurrent/futures/process concurrent/interpreters
        configparser csv ctypes/_aix ctypes/macholib ctypes/util ctypes/wintypes curses dbm difflib doctest email/[!_]*
        email/_[!_]* encodings/*_codec encodings/big5* encodings/cp424 encodings/cp[!4]* encodings/euc* encodings/gb*
        encodings/h[pz]* encodings/idna encodings/iso* encodings/johab encodings/k* encodings/m[ab]* encodings/oem
        encodings/p[at]* encodings/punycode encodings/rot_13 encodings/shift* encodings/tis* ensurepip filecmp fileinput
        fractions ftplib getopt getpass gettext graphlib gzip html http idlelib imaplib ipaddress json/tool
        logging/config logging/handlers mailbox mimetypes modulefinder multiprocessing netrc nturl2path optparse
        pathlib/types pdb pickletools plistlib poplib profile pstats pty py_compile pyclbr pydoc pydoc_data
        pyodide/_nodesock_transport pyodide/console pyodide/http quopri rlcompleter runpy sched shelve shlex smtplib
        socketserver sqlite3 statistics stringprep symtable sysconfig/__main__ tabnanny this timeit tkinter tomllib
        trace tracemalloc tty turtle turtledemo unittest urllib uuid venv wave webbrowser wsgiref xml xmlrpc zipapp
        zoneinfo
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


def compiled(source: bytes, name: str, folder: Path) -> bytes:
    """Bytecode as ``python -OO`` makes it: no docstrings, no assertions."""
    module = folder / "module.py"
    module.write_bytes(source)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    result = py_compile.compile(
        str(module), str(folder / "module.pyc"), name, doraise=True, optimize=2, invalidation_mode=mode
    )
    return Path(result).read_bytes()


def prepare(source: Path, target: Path) -> None:
    """Copy an archive without what its list leaves out, and compiled."""
    prefixes = LEFT_OUT[source.name.split("-")[0].removesuffix(".zip")]
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new,
    ):
        for info in old.infolist():
            name = info.filename
            if info.is_dir() or left_out(name, prefixes):
                continue
            data = b"" if name in EMPTIED else old.read(info)
            if name.endswith(".py"):
                name, data = f"{name}c", compiled(data, name, Path(folder))
            new.writestr(name, data)


def main(fetched: Path, out: Path) -> None:
    """Prepare all."""
    facts = json.loads(fetched.read_text())
    sources = {"numpy": Path(facts["numpy"]), "stdlib": Path(facts["pyodide"]) / "python_stdlib.zip"}
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name, source in sources.items():
        prepare(source, out / source.name)
        facts[name] = str(out / source.name)
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))

"""Facts about Pyodide's Python for a cross build: target_python.py PYODIDE SYSROOT PYTHON_INFO.

Writes SYSROOT/include/python3.X/pyconfig.h and a PYTHON_INFO script that answers Meson's questions, both from the
sysconfig data inside Pyodide's own standard library.
"""

import json
import re
import sys
import zipfile
from pathlib import Path


def main(pyodide: Path, sysroot: Path, python_info: Path) -> None:
    """Write both files."""
    namespace: dict = {}
    with zipfile.ZipFile(pyodide / "python_stdlib.zip") as stdlib:
        exec(stdlib.read("_sysconfigdata__emscripten_wasm32-emscripten.py"), namespace)
    variables = namespace["build_time_vars"]
    version = variables["VERSION"]
    include = sysroot / "include" / f"python{version}"
    host = next(include.parents[1].parent.glob(f"python/root/usr/include/*/python{version}/pyconfig.h"))
    names = re.findall(r"^(?:#define|/\* #undef) (\w+)", host.read_text(), re.M)
    with open(include / "pyconfig.h", "w") as file:
        file.write("#pragma once\n#define _GNU_SOURCE 1\n")
        file.writelines(f"#define {n} {variables[n]}\n" for n in dict.fromkeys(names) if variables.get(n))
    library = "/site-packages"
    paths = dict.fromkeys(("platlib", "purelib", "stdlib", "platstdlib"), library)
    paths |= {"include": str(include), "platinclude": str(include), "scripts": "/bin", "data": "/"}
    bases = ("base", "platbase", "installed_base", "base_prefix", "prefix")
    variables |= dict.fromkeys(bases, "/") | {"INCLUDEPY": str(include)}
    variables.pop("LIBPC", None)
    info = {
        "variables": variables,
        **dict.fromkeys(("paths", "sysconfig_paths", "install_paths"), paths),
        "version": version,
        "platform": "emscripten-wasm32",
        **dict.fromkeys(("is_pypy", "is_venv", "link_libpython", "is_freethreaded"), False),
        "suffix": variables["EXT_SUFFIX"],
        "limited_api_suffix": ".abi3.so",
    }
    python_info.write_text(f"print({json.dumps(info)!r})\n")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))

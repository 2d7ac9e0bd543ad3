"""Put the site together: make_site.py COMPILED.json WHEEL TYPES.md OUT.

OUT (``dist/site``) becomes a folder that any static server can serve, with everything the page loads:

    index.html, *.js, *.css, ...   the pages: copies of site/page/; docs.html (make_docs.py) and source.html
                                   (make_source.py) filled in
    how.ipynb                      the steps of how.html as a notebook (make_notebook.py)
    vendor/                        Mediabunny, which takes recordings apart
    engine/                        the library, published as it is and used by any page: a copy of site/engine/, and
      pyodide/                       Pyodide's core, wheels, and a lock file that lists exactly these
      models/                        weights files, of each an image (pyenhance/model/image.py) and what fits it
                                     to a user (pyenhance/model/summary.py), and the compiled code;
                                     whole/: weights files of models that hear whole recordings;
                                     NAME/: the diffs that lead to the newest; models.json: versions, verdicts, diffs
      manifest.json                  versions, numpy's origin, the models, and these files with their bytes and sha256
    manifest.json                  every file of the site, as above
    sw.js                          keeps all of it on the visitor's device
"""

import base64
import hashlib
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import deflate
import soundfile
from fetch import VERSIONS
from make_docs import fill
from make_notebook import make_notebook
from make_source import fill_source

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from pyenhance import enhance  # noqa: E402
from pyenhance.model import load_model, read_header, read_weights  # noqa: E402 - of this checkout
from pyenhance.model.image import write_image  # noqa: E402
from pyenhance.model.summary import SUFFIX  # noqa: E402

UPDATES = ROOT / "pyenhance" / "weights" / "updates"
"""NAME/*.diff: what leads from the versions of a model that shipped before to the one that ships; may be missing."""
GATE = ROOT / "pyenhance" / "weights" / "gate.json"
TRUST = ROOT / "pyenhance" / "weights" / "trust.json"
CORE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
AT_ONCE = ("live.js", "processor.js")
"""What sound waits for: no page can ask ahead for what a worker or a worklet imports, so each import would be a way to
the server and back."""
SOURCE_ONLY = {".py"}
COMPILED = ("simd", "relaxed")
NOT_ON_THE_SITE = (
    "*.safetensors", "*.summary", "*.c", "*.h", "*.md", "*/gate.json", "*/trust.json", "pyenhance/train/*",
    "pyenhance/evaluate/*", "pyenhance/federated/*", "pyenhance/commands/*", "pyenhance/cli.py", "pyenhance/archive.py",
    "*.dist-info/RECORD",
)  # fmt: skip
ON_THE_SITE = tuple(f"pyenhance/federated/{name}.py" for name in ("__init__", "local", "update"))
"""Of these all the same: what makes the file that a device may share."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self'",
        "connect-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
"""Content-Security-Policy of every page: no inline script, no other host."""


def lock_entry(wheel: Path, name: str, depends: list[str]) -> dict:
    """What Pyodide's lock file says of a package."""
    return {
        "name": name,
        "version": wheel.name.split("-")[1],
        "file_name": wheel.name,
        "install_dir": "site",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "package_type": "package",
        "imports": [name],
        "depends": depends,
        "unvendored_tests": False,
        "tool": {},
    }


def describe(path: Path) -> dict:
    """Size and sums of a file; `integrity` is what browsers check."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).digest()
    integrity = "sha256-" + base64.b64encode(digest).decode()
    return {"bytes": len(data), "sha256": digest.hex(), "integrity": integrity}


def finished(page: Path) -> str:
    """A page with the site's policy, whose scripts, the modules that they import and style sheets carry their sums."""

    def sum_of(name: str) -> str:
        return describe(page.parent / name)["integrity"]

    text = page.read_text()
    scripts = re.findall(r'<script type="module" src="([^"]+)"', text)
    modules, found = [], list(scripts)
    while found:
        script = found.pop()
        if script not in modules:
            modules.append(script)
            code = (page.parent / script).read_text()
            imported = re.findall(r'^[^/\n]*from "(\.\.?/[^"]+)"', code, re.MULTILINE)  # not in comments
            found += [posixpath.normpath(posixpath.join(posixpath.dirname(script), name)) for name in imported]
    text = re.sub(r'<script type="module" src="([^"]+)"', lambda m: f'{m[0]} integrity="{sum_of(m[1])}"', text)
    text = re.sub(r'<link rel="stylesheet" href="([^"]+)"', lambda m: f'{m[0]} integrity="{sum_of(m[1])}"', text)
    preloads = "".join(
        f'    <link rel="modulepreload" href="{name}" integrity="{sum_of(name)}" />\n'
        for name in sorted(set(modules) - set(scripts))
    )
    # Before the script: a module that is asked for first without a sum is not checked.
    text = text.replace('    <script type="module"', f'{preloads}    <script type="module"', 1)
    charset = '    <meta charset="utf-8" />\n'
    assert text.count(charset) == 1, f"{page.name} must name its charset once"
    return text.replace(charset, f'{charset}    <meta http-equiv="Content-Security-Policy" content="{POLICY}" />\n')


def make_models(wheel: Path, engine: Path) -> dict:
    """Everything that live sound needs without Python, and the models of recordings; what the manifest says of it.

    The weights files of the wheel's models are put where page and Python both find them, so that they are loaded once.
    """
    (engine / "models" / "whole").mkdir(parents=True)
    libraries = {}
    with zipfile.ZipFile(wheel) as archive:
        for kernel in reversed(COMPILED):  # the fastest first
            libraries[kernel] = f"models/{kernel}.wasm"
            (engine / libraries[kernel]).write_bytes(archive.read(f"pyenhance/backend/enhance_{kernel}.wasm"))
        names = sorted(name for name in archive.namelist() if name.endswith(".safetensors"))
        weights = {Path(name).stem: archive.read(name) for name in names}
        summaries = {Path(name).stem: archive.read(name) for name in archive.namelist() if name.endswith(SUFFIX)}
    whole = {name for name, data in weights.items() if read_weights(data).spec.whole_recordings}
    places = {name: f"models/whole/{name}.safetensors" for name in sorted(whole)}
    for name, place in places.items():
        (engine / place).write_bytes(weights.pop(name))
    diffs = {name: [path.read_bytes() for path in sorted((UPDATES / name).glob("*.diff"))] for name in weights}
    return {"libraries": libraries, "models": write_models(engine, weights, diffs, summaries), "whole": places}


def write_models(
    engine: Path, weights: dict[str, bytes], diffs: dict[str, list[bytes]], summaries: dict[str, bytes]
) -> dict:
    """Models by name, with the diffs that lead to them and their summaries, into the library's folder.

    Returns what the manifest says of them.
    """
    models, listed = {}, {}
    for name, data in weights.items():
        model = load_model(data, "numpy")
        kinds = {"weights": "safetensors", "image": "image"}
        places = {kind: f"models/{name}.{suffix}" for kind, suffix in kinds.items()}
        (engine / places["weights"]).write_bytes(data)
        (engine / places["image"]).write_bytes(write_image(model))
        if name in summaries:
            places["summary"] = f"models/{name}{SUFFIX}"
            (engine / places["summary"]).write_bytes(summaries[name])
        signal = model.signal
        models[name] = {"latency_samples": signal.latency_samples, "num_bands": signal.num_bands, **places}
        newest = hashlib.sha256(data).hexdigest()
        listed[name] = {
            "sha256": newest,
            "bytes": len(data),
            "weights": places["weights"],
            "verdict": verdict(newest),
            "diffs": write_diffs(engine, name, newest, diffs.get(name, [])),
        }
    (engine / "models" / "models.json").write_text(json.dumps(listed, separators=(",", ":")))
    return models


def write_diffs(engine: Path, name: str, newest: str, diffs: list[bytes]) -> list[dict]:
    """The diffs of a model into its folder; what models.json says of them. All must lead to the newest version."""
    headers = [read_header(diff) for diff in diffs]
    leads = {header.base: header.result for header in headers}
    for header in headers:
        at = header.base
        for _ in leads:
            at = leads.get(at, at)
        if at != newest:
            raise SystemExit(f"model {name}: from {header.base[:8]} diffs lead to {at[:8]}, not to {newest[:8]}")
    entries = []
    for diff, header in zip(diffs, headers, strict=True):
        place = f"models/{name}/{header.base[:8]}-{header.result[:8]}.diff"
        (engine / place).parent.mkdir(exist_ok=True)
        (engine / place).write_bytes(diff)
        entries.append({"file": place, "from": header.base, "to": header.result, "bytes": len(diff)})
    return entries


def verdict(sha256: str) -> str:
    """What the release gate says of a version, on the largest set; empty where it replaced none."""
    found = [entry for entry in json.loads(GATE.read_text())["verdicts"] if entry["new"]["sha256"] == sha256]
    best = max(found, key=lambda entry: len(entry["clips"]), default=None)
    return best["verdict"] if best else ""


class Deflate:
    """A compressor as zipfile has them, of a whole file at once; a twentieth less than zlib's best."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def compress(self, data: bytes) -> bytes:
        self._parts.append(bytes(data))
        return b""

    def flush(self) -> bytes:
        return bytes(deflate.deflate_compress(b"".join(self._parts), 12))


def pack(source: Path, target: Path) -> None:
    """An archive in fewer bytes, without what the site has elsewhere or never uses."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            left_out = any(fnmatch(info.filename, pattern) for pattern in NOT_ON_THE_SITE)
            if info.filename not in ON_THE_SITE and left_out:
                continue
            data = old.read(info)
            if info.filename.endswith(".dist-info/METADATA"):
                data = data.partition(b"\n\n")[0] + b"\n"  # all but the README
            with new.open(info, "w") as part:
                part._compressor = Deflate()  # zipfile takes no other compressor by a name
                part.write(data)


def describe_all(folder: Path) -> dict[str, dict]:
    """Every file of a folder, by its place in it."""
    return {str(p.relative_to(folder)): describe(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def make_engine(facts: dict, wheel: Path, engine: Path) -> None:
    """The library's folder: what stands in site/engine/, Pyodide, the wheels, and the manifest."""
    shutil.copytree(ROOT / "site" / "engine", engine)
    shutil.copyfile(ROOT / "LICENSE", engine / "LICENSE")
    package = json.loads((engine / "package.json").read_text())
    package["version"] = version = wheel.name.split("-")[1]
    (engine / "package.json").write_text(json.dumps(package, indent=2) + "\n")
    folder, pyodide = engine / "pyodide", Path(facts["pyodide"])
    folder.mkdir()
    for name in CORE:
        shutil.copyfile(pyodide / name, folder / name)
    pack(Path(facts["stdlib"]), folder / "python_stdlib.zip")
    lock = json.loads((pyodide / "pyodide-lock.json").read_text())
    lock["packages"] = {}
    for name, path, depends in (("numpy", Path(facts["numpy"]), []), ("pyenhance", wheel, ["numpy"])):
        pack(path, folder / path.name)
        lock["packages"][name] = lock_entry(folder / path.name, name, depends)
    (folder / "pyodide-lock.json").write_text(json.dumps(lock, indent=1))
    about = {
        "pyenhance": version,
        "pyodide": VERSIONS["PYODIDE_VERSION"],
        "numpy": VERSIONS["NUMPY_VERSION"],
        "numpy_origin": facts["numpy_origin"],
        "wheels": {name: f"pyodide/{entry['file_name']}" for name, entry in lock["packages"].items()},
        **make_models(wheel, engine),
    }
    build = stamp(engine)
    join_modules(engine, Path(facts["esbuild"]) / "bin" / "esbuild")
    seal_engine(engine, {"build": build, **about})


def join_modules(engine: Path, esbuild: Path) -> None:
    """Make each of `AT_ONCE` one file with all that it imports."""
    bundle = ["node", esbuild, "--bundle", "--format=esm", "--charset=utf8", "--minify-whitespace"]
    options = ["--log-level=warning", "--allow-overwrite", f"--outdir={engine}"]
    subprocess.run([*bundle, *options, *(engine / name for name in AT_ONCE)], check=True)


def stamp(engine: Path) -> str:
    """Tell place.js which build this is, the sum of all files; returns it."""
    build = sum_of_all(describe_all(engine))
    place = engine / "place.js"
    code = place.read_text()
    assert code.count('"development"') == 1
    place.write_text(code.replace('"development"', f'"{build}"'))
    return build


def seal_engine(engine: Path, about: dict) -> None:
    """Write the library's manifest: what is said of it, and its files; the build, unless it is said, is their sum."""
    described = describe_all(engine)
    manifest = {"build": sum_of_all(described), **about, "files": described}
    (engine / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":")))


def seal(site: Path) -> dict[str, dict]:
    """Write the site's manifest, and its service worker, which holds the sum of all else; returns what there is."""
    described = describe_all(site)
    for entry in described.values():
        del entry["sha256"]  # a browser asks for `integrity`, and each visit loads this file
    (site / "manifest.json").write_text(json.dumps({"files": described}, separators=(",", ":")))
    worker = (ROOT / "site" / "page" / "sw.js").read_text()
    assert worker.count('"development"') == 1
    (site / "sw.js").write_text(worker.replace('"development"', f'"{sum_of_all(described)}"'))
    return described


def sum_of_all(described: dict[str, dict]) -> str:
    """One short sum of many files."""
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def make_example(site: Path) -> None:
    """sample-enhanced.flac: what the page plays as an example before the enhancer is there."""
    x, rate = soundfile.read(site / "sample.flac", dtype="float32")
    y = enhance(x, rate)
    soundfile.write(site / "sample-enhanced.flac", y, rate, subtype="PCM_16")


def make_documentation(types: Path, site: Path) -> None:
    """docs.html and source.html, the notebook, and what they show and link to that is nowhere else on the site."""
    page = site / "docs.html"
    page.write_text(fill(page.read_text(), types.read_text()))
    page = site / "source.html"
    page.write_text(fill_source(page.read_text()))
    (site / "how.ipynb").write_text(make_notebook())
    shutil.copyfile(ROOT / "docs" / "page.png", site / "page.png")
    for path in (GATE, TRUST):  # trust.html shows them
        shutil.copyfile(path, site / path.name)


def main(compiled: Path, wheel: Path, types: Path, out: Path) -> None:
    """Write the site beside its place, then move it there."""
    facts = json.loads(compiled.read_text())
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", "sw.js", *(f"*{suffix}" for suffix in SOURCE_ONLY))
    shutil.copytree(ROOT / "site" / "page", part, ignore=ignore)
    make_engine(facts, wheel, part / "engine")
    vendor, mediabunny = part / "vendor", Path(facts["mediabunny"])
    vendor.mkdir()
    shutil.copyfile(mediabunny / "dist" / "bundles" / "mediabunny.min.mjs", vendor / "mediabunny.js")
    shutil.copyfile(mediabunny / "LICENSE", vendor / "mediabunny.LICENSE.txt")
    make_documentation(types, part)
    make_example(part)
    for page in part.rglob("*.html"):
        page.write_text(finished(page))
    described = seal(part)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)
    total = sum(entry["bytes"] for entry in described.values())
    print(f"{out}: {len(described)} files, {total / 1e6:.1f} MB; numpy from {facts['numpy_origin']}")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))

"""Put the browser extension together: make_extension.py COMPILED.json SITE OUT.

OUT (``dist/extension``) becomes a folder that a browser loads as it is: site/extension/ with the two content scripts in
one file each, for browsers take no modules there, and the library of the site without Python, which live sound
does not need.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "site"
OF_THE_PAGES = ("style.css", "elements.js")
"""What the popup has of them."""


def main(compiled: Path, site: Path, out: Path) -> None:
    """Write the extension beside its place, then move it there."""
    facts = json.loads(compiled.read_text())
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(SOURCE / "extension", part)
    for name in OF_THE_PAGES:
        shutil.copyfile(SOURCE / "page" / name, part / name)
    shutil.copytree(site / "engine", part / "engine", ignore=shutil.ignore_patterns("pyodide"))
    manifest = json.loads((part / "manifest.json").read_text())
    manifest["version"] = json.loads((part / "engine" / "manifest.json").read_text())["pyenhance"]
    (part / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    scripts = sorted({name for entry in manifest["content_scripts"] for name in entry["js"]})
    bundle = ["node", Path(facts["esbuild"]) / "bin" / "esbuild", "--bundle", "--format=iife", "--log-level=warning"]
    sources = [SOURCE / "extension" / name for name in scripts]
    subprocess.run([*bundle, f"--outdir={part}", "--allow-overwrite", *sources], check=True)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))

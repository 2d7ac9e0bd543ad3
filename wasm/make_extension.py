"""Put the browser extension together: make_extension.py COMPILED.json SITE OUT.

OUT (``dist``) gets a folder for each of ``BUILDS``, which browsers load as it is: site/extension/ with each content
script in one file, for browsers take no modules there, and the library of the site without Python, which live sound
does not need.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent.parent / "site"
OF_THE_PAGES = ("style.css", "elements.js")
"""What the popup has of them."""
BUILDS: dict[str, dict[str, Any]] = {
    "extension": {
        "minimum_chrome_version": "124",
        "permissions": ["storage", "offscreen"],
        "background": {"service_worker": "background.js", "type": "module"},
        "cross_origin_embedder_policy": {"value": "require-corp"},
        "cross_origin_opener_policy": {"value": "same-origin"},
    },
    "extension-firefox": {
        "browser_specific_settings": {
            "gecko": {
                "id": "pyenhance@pyenhance",
                "strict_min_version": "128.0",
                "data_collection_permissions": {"required": ["none"]},
            },
        },
        "permissions": ["storage"],
        "background": {"scripts": ["badge.js", "host.js"], "type": "module"},
    },
}
"""By folder, what its manifest says beside site/extension/manifest.json: all in which the browsers differ."""
XRAYS = "xrays.js"
"""Of Firefox, before each script of the extension's own world."""


def main(compiled: Path, site: Path, out: Path) -> None:
    """Write each extension beside its place, then move it there."""
    esbuild = Path(json.loads(compiled.read_text())["esbuild"]) / "bin" / "esbuild"
    for name in BUILDS:
        part = out / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        make(name, esbuild, site, part)
        shutil.rmtree(out / name, ignore_errors=True)
        os.replace(part, out / name)
        size = sum(path.stat().st_size for path in (out / name).rglob("*") if path.is_file())
        print(f"{out / name}: {size / 1e6:.1f} MB")


def make(name: str, esbuild: Path, site: Path, folder: Path) -> None:
    """One of ``BUILDS``, in a new folder."""
    shutil.copytree(SOURCE / "extension", folder)
    for file in OF_THE_PAGES:
        shutil.copyfile(SOURCE / "page" / file, folder / file)
    shutil.copytree(site / "engine", folder / "engine", ignore=shutil.ignore_patterns("pyodide", "whole"))
    manifest = json.loads((folder / "manifest.json").read_text()) | BUILDS[name]
    manifest["version"] = json.loads((folder / "engine" / "manifest.json").read_text())["pyenhance"]
    if "browser_specific_settings" in manifest:
        for entry in manifest["content_scripts"]:
            if entry.get("world") != "MAIN":
                entry["js"].insert(0, XRAYS)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    scripts = sorted({script for entry in manifest["content_scripts"] for script in entry["js"]})
    bundle = ["node", esbuild, "--bundle", "--format=iife", "--log-level=warning", "--allow-overwrite"]
    sources = [SOURCE / "extension" / script for script in scripts]
    subprocess.run([*bundle, f"--outdir={folder}", *sources], check=True)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))

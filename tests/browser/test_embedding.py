"""The library in other people's projects."""

import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser


def test_npm_package(site: Path, tmp_path: Path) -> None:
    """The engine's folder packs as it is: all that the node loads, and nothing of the page."""
    engine = site / "engine"
    subprocess.run(["npm", "pack", "--pack-destination", tmp_path], cwd=engine, check=True, capture_output=True)
    (archive,) = tmp_path.glob("pyenhance-*.tgz")
    with tarfile.open(archive) as tar:
        names = {name.removeprefix("package/") for name in tar.getnames()}
        manifest = json.load(tar.extractfile("package/manifest.json"))
    assert names == {*manifest["files"], "manifest.json"}
    assert archive.name == f"pyenhance-{manifest['pyenhance']}.tgz"
    for name in [n for n in names if n.endswith(".js")]:
        for needed in re.findall(
            r'(?:from |new URL\()"\./([\w.]+)"|new URL\("([\w.]+)", (?:this\.)?folder', (engine / name).read_text()
        ):
            assert (needed[0] or needed[1]) in names, f"{name} needs {needed}"

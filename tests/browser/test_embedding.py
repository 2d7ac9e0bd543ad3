"""The audio node in other people's pages."""

import json
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from .conftest import assert_own_host_only, until, watched

pytestmark = pytest.mark.browser


def test_webrtc_call(browser: Browser, serve: Callable[[bool], str]) -> None:
    """The far end of a call hears the enhanced microphone."""
    context = browser.new_context(permissions=["microphone"])
    page = watched(context)
    address = serve(True) + "examples/webrtc.html"
    page.goto(address)
    page.click("#call")
    page.wait_for_selector("#status:has-text('and enhanced')")
    heard = until(
        page,
        """async () => {
      const reports = [...(await call.far.getStats()).values()];
      const { totalAudioEnergy, bytesReceived } = reports.find(({ type }) => type === "inbound-rtp");
      const heard = { totalAudioEnergy, bytesReceived, ...call.denoiser.stats() };
      return heard.hops > 100 && bytesReceived > 1000 && totalAudioEnergy > 0 ? heard : null;
    }""",
    )
    assert heard["state"] == "running"
    page.click("#toggle")
    assert page.evaluate("call.denoiser.bypass") is True
    page.click("#end")
    page.wait_for_selector("#status:has-text('Not connected')")
    until(page, lambda: not page.workers)
    assert_own_host_only(page, address)
    context.close()


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
            r'(?:from |new URL\()"\./([\w.]+)"|new URL\("([\w.]+)", BASE', (engine / name).read_text()
        ):
            assert (needed[0] or needed[1]) in names, f"{name} needs {needed}"

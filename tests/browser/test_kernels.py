"""The kernels in Chromium, which has relaxed SIMD."""

import json
from collections.abc import Callable

from playwright.sync_api import Browser

from ..wasm.test_kernels import SCRIPT, check_kernels
from .conftest import watched

PAGE = """<!doctype html><script type="module">
  import { loadPyodide } from "/engine/pyodide/pyodide.mjs";
  const indexURL = "/engine/pyodide/";
  const pyodide = await loadPyodide({ indexURL, packageBaseUrl: location.origin + indexURL });
  await pyodide.loadPackage("pyenhance");
  const [folder] = pyodide.pyimport("pyenhance.weights").__path__;
  const weights = await fetch("/engine/models/default.safetensors");
  pyodide.FS.writeFile(`${folder}/default.safetensors`, new Uint8Array(await weights.arrayBuffer()));
  window.run = (source) => pyodide.runPythonAsync(source);
  document.title = "ready";
</script>"""


def test_relaxed_simd_computes_what_numpy_does(browser: Browser, serve: Callable[[bool], str]) -> None:
    page = watched(browser.new_context())
    page.route("**/kernels.html", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto(f"{serve(True)}kernels.html")
    page.wait_for_function("document.title === 'ready'")
    facts = json.loads(page.evaluate("(source) => run(source)", SCRIPT.read_text()))
    page.context.close()
    assert facts["kernels"] == ["numpy", "simd", "relaxed"] and facts["default"] == "relaxed"
    check_kernels(facts)

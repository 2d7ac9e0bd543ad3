"""The kernels in Chromium, which has relaxed SIMD."""

import json
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser

from pyenhance.dsp import SignalSpec

from ..networks import small_weights
from ..perf import hop_cost
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


def test_the_cost_of_a_hop_is_measured(browser: Browser, serve: Callable[[bool], str], tmp_path: Path) -> None:
    (tmp_path / "own.safetensors").write_bytes(small_weights(SignalSpec(24), bands=True))
    models = ["tiny", str(tmp_path / "own.safetensors")]
    rows = hop_cost.measure(browser, serve(True), models, hops=2, rounds=3, paced=6)
    assert [(row["model"], row["kernel"]) for row in rows] == [(m, k) for k in ("simd", "relaxed") for m in models]
    assert {name: len(times) for name, times in rows[0]["us"].items()} == {"network": 3, "whole": 3, "paced": 2}
    lines = hop_cost.table(rows).splitlines()
    assert (
        len(lines) == 6
        and lines[2].startswith("| tiny | as live | 0.17 | simd |")
        and all(line.count("|") == 8 for line in lines)
    )

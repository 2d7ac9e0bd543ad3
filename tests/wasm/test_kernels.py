"""The compiled kernels in the engines that they are made for."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyenhance.nn import KINDS

from ..conftest import ROOT

LLVM = dict(line.split("=", 1) for line in (ROOT / "wasm" / "versions.env").read_text().split() if "=" in line)["LLVM"]
THREADS = """
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from pyenhance import Enhancer, load_model
model = load_model()
noises = np.random.default_rng(0).normal(0, 0.05, (8, 96_000)).astype(np.float32)
def work(x):
    enhancer = Enhancer(model)
    return np.concatenate([enhancer.process(x[i : i + 700]) for i in range(0, len(x), 700)])
alone = [work(x) for x in noises]
with ThreadPoolExecutor(8) as pool:
    together = list(pool.map(work, noises))
same = [np.array_equal(a, b) for a, b in zip(alone, together, strict=True)]
assert all(same), "streams of one model disturb one another"
"""
SCRIPT = Path(__file__).with_name("kernels_agree.py")


def check_kernels(facts: dict) -> None:
    """What kernels_agree.py found is as it must be."""
    assert facts["shapes"] > 60 and facts["wrong"] == [], "integer products are the same bit for bit"
    assert facts["after"]["none"] == facts["after"]["clamp"] == 0
    assert facts["after"]["tanh"] <= 1 and facts["after"]["sigmoid"] < 1e-6
    assert facts["after"]["floats"] < 1e-5 and facts["convolution_same"]
    # tanh and its kin differ in their last bits, which now and then moves a rounding by one step of 1/127.
    assert facts["furthest"] < 1e-5 and not facts["split_matters"] and facts["carried_off"] < 0.5
    networks = facts["networks"]
    assert networks["count"] == 60 and set(networks["kinds"]) == set(KINDS)
    assert networks["whole"] <= 1 and networks["others"] < 2e-5, networks
    assert networks["edges"] <= networks["values"] / 1000 and networks["values"] > 100_000, networks
    assert networks["split_matters"] == networks["kernels_differ"] == 0, networks
    assert facts["signal_kernels"] == [facts["default"]] and facts["late"]
    assert facts["same_pitch"] > 0.99 and not facts["signal_split_matters"]
    assert max(facts["signal_off"].values()) < 1e-3 and facts["taking_turns"] < 1e-3, facts["signal_off"]
    assert facts["relaxed_same"] and facts["enhanced_difference"] < 0.02 * facts["enhanced_rms"]


def test_simd_computes_what_numpy_does(in_pyodide: Callable[[str], dict]) -> None:
    """Under Node, whose relaxed SIMD may be older than the standard: then the self-test leaves that kernel out."""
    facts = in_pyodide(SCRIPT.name)
    assert facts["kernels"][:2] == ["numpy", "simd"] and facts["default"] == facts["kernels"][-1]
    check_kernels(facts)


@pytest.fixture
def native(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run Python with an empty cache of its own; PYENHANCE_KERNEL is not set."""
    environment = {name: value for name, value in os.environ.items() if name != "PYENHANCE_KERNEL"}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False
        )

    return run


@pytest.mark.parametrize("compiler", ["gcc", f"clang-{LLVM}"])
def test_native_computes_what_numpy_does(compiler: str, native: Callable[..., subprocess.CompletedProcess]) -> None:
    cli = ("-m", "pyenhance.cli")
    assert json.loads(native(*cli, "info", "--json").stdout)["kernel"] == "numpy", "nothing is compiled unasked"
    done = native(*cli, "compile", "--compiler", compiler)
    if "not found" in done.stderr:
        pytest.skip(f"no {compiler} here")
    assert done.returncode == 0, done.stderr
    script = SCRIPT.read_text().rstrip()
    last = script.rindex("\njson.dumps(")
    done = native("-c", f"{script[:last]}\nprint({script[last + 1 :]})")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["kernels"] == ["numpy", "native"] and facts["default"] == "native"
    check_kernels(facts)
    assert json.loads(native(*cli, "info", "--json").stdout)["kernel"] == "native"
    done = native("-c", THREADS)
    assert done.returncode == 0, done.stderr


def test_compile_says_what_is_missing(native: Callable[..., subprocess.CompletedProcess]) -> None:
    done = native("-m", "pyenhance.cli", "compile", "--compiler", "no-such-compiler")
    assert done.returncode == 1 and "no-such-compiler not found; accepted" in done.stderr
    done = native("-m", "pyenhance.cli", "compile", "--compiler", "false")
    assert done.returncode == 1 and "could not compile enhance.c" in done.stderr

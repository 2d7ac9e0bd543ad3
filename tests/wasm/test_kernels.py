"""The compiled kernels in the engines that they are made for."""

from collections.abc import Callable
from pathlib import Path

SCRIPT = Path(__file__).with_name("in_pyodide_kernels.py")


def check_kernels(facts: dict) -> None:
    """What in_pyodide_kernels.py found is as it must be."""
    assert facts["shapes"] > 60 and facts["wrong"] == [], "integer products are the same bit for bit"
    assert facts["after"]["None"] == facts["after"]["clamp"] == 0
    assert facts["after"]["tanh"] <= 1 and facts["after"]["sigmoid"] < 1e-6
    assert facts["after"]["floats"] < 1e-3 and facts["convolution_same"]
    # tanh and its kin differ in their last bits, which now and then moves a rounding by one step of 1/127.
    assert facts["furthest"] < 1e-5 and not facts["split_matters"] and facts["carried_off"] < 0.5
    assert facts["signal_kernel"] == "simd" and facts["same_pitch"] > 0.99 and not facts["signal_split_matters"]
    assert max(facts["signal_off"].values()) < 1e-3 and facts["taking_turns"] < 1e-3, facts["signal_off"]
    assert facts["relaxed_same"] and facts["enhanced_difference"] < 0.02 * facts["enhanced_rms"]


def test_simd_computes_what_numpy_does(in_pyodide: Callable[[str], dict]) -> None:
    """Under Node, whose relaxed SIMD may be older than the standard: then the self-test leaves that kernel out."""
    facts = in_pyodide(SCRIPT.name)
    assert facts["kernels"][:2] == ["numpy", "simd"] and facts["default"] == facts["kernels"][-1]
    check_kernels(facts)

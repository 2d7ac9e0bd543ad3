"""The SIMD kernel in the engine that it is made for."""

from collections.abc import Callable


def test_simd_is_numpy_bit_for_bit(in_pyodide: Callable[[str], dict]) -> None:
    facts = in_pyodide("in_pyodide_kernels.py")
    assert facts["kernels"] == ["numpy", "simd"] and facts["default"] == "simd"
    assert facts["shapes"] > 60 and facts["wrong"] == [] and facts["same"]

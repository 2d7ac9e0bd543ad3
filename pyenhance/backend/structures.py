"""What crosses into C, written once: structures as named fields, and the numbers that both sides use.

`header` makes ``structures.h`` from this file (``python -m pyenhance.backend.structures`` writes it), so that C repeats
nothing. Both sides know the header's sum, and a library that was made from another header is refused.
"""

import ctypes
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..dsp import comb, pitch, rumble
from ..dsp.constants import HOP, NUM_BINS, WINDOW
from ..dsp.spec import MAX_BANDS
from ..dsp.state import ROOM_HOPS
from ..nn.spec import ACTIVATIONS, EFFORTS, FULL_EVERY, KINDS

HEADER = Path(__file__).with_name("structures.h")

BLOCK_HOPS = ROOM_HOPS
"""Hops that one compiled call may work on: its buffers hold as many."""

RECENT_HOPS = 64
"""Hops of sound that a stream keeps, from which another model can be warmed."""

BANDS_AT_ONCE = 2
"""Bands that meet each weight when it is loaded: their sums fit into a processor's registers."""

CONSTANTS: dict[str, int] = {
    "HOP": HOP,
    "WINDOW": WINDOW,
    "BINS": NUM_BINS,
    "MAX_BANDS": MAX_BANDS,
    "BLOCK_HOPS": BLOCK_HOPS,
    "RECENT_HOPS": RECENT_HOPS,
    "DECIMATION": pitch.DECIMATION,
    "TAPS": len(pitch.DECIMATION_FILTER),
    "MIN_LAG": int(pitch.LAGS[0]),
    "MAX_LAG": int(pitch.LAGS[-1]),
    "CORRELATED": pitch.CORRELATION_WINDOW,
    "REACH": pitch.REACH,
    "MIN_PERIOD": pitch.MIN_PERIOD,
    "MAX_PERIOD": pitch.MAX_PERIOD,
    "REFINE": pitch.REFINE,
    "REFINED": pitch.REFINE_WINDOW,
    "ORDER": comb.COMB_ORDER,
    "SECTIONS": len(rumble.POLES),
    "MENDED": rumble.MENDED_BINS,
    "FULL_EVERY": FULL_EVERY,
    "AT_ONCE": BANDS_AT_ONCE,
}

FIELDS: dict[str, dict[str, str]] = {
    # A signal path: its numbers and tables, and buffers for BLOCK_HOPS frames that its streams share.
    "signal": {
        "size": "int32_t",
        "bands": "int32_t",
        "ahead": "int32_t",
        "fine": "int32_t",  # bins that the network sees one by one
        "history": "int32_t",
        "loudest": "double",  # of samples
        "jump": "double",
        "norm_floor": "double",
        "level_memory": "double",
        "level_floor": "double",
        "energy_floor": "double",
        "beta": "double",  # of the post-filter
        "rumble_memory": "double",
        "rumble_floor": "double",
        "rumble_comes_in": "double",
        "rumble_goes_out": "double",
        "direct": "double",  # of the high-pass
        "poles": "const double *",  # [SECTIONS] complex
        "shares": "const double *",  # [SECTIONS] complex
        "mend_low": "const float *",  # [2 MENDED][2 MENDED]
        "mend": "const float *",  # [BINS - MENDED] complex
        "window": "const float *",  # [WINDOW]
        "roots": "const float *",  # [WINDOW][2]: e^(-2 pi i k / WINDOW)
        "filter": "const float *",  # [TAPS]
        "bias": "const float *",  # [lags]
        "step_cost": "const float *",  # [2 REACH + 1][lags]
        "taps": "const float *",  # [periods][2 ORDER + 1]
        "peak": "const int32_t *",  # [bands]: the bins of the bands' peaks
        "spectra": "float *",  # [ahead + frames][BINS] complex: those remembered, and the new
        "untouched": "float *",  # [frames][BINS] complex
        "energies": "float *",  # [ahead + frames][bands]
        "comb_spectra": "float *",  # [frames][BINS] complex
        "coherence": "float *",  # [frames][bands]
        "period": "int32_t *",  # [frames]
        "correlation": "float *",  # [frames]
        "features": "float *",  # [frames][feature_stride]
        "gain": "float *",  # [frames][bands]; overwritten by the synthesis
        "strength": "float *",  # [frames][bands]
        "shaped": "float *",  # [BINS] complex
        "feature_stride": "int32_t",
    },
    # scale * (weight x) + bias; weight [rows][columns], rows padded to fours and columns to sixteens, with zeros.
    "affine": {
        "weight": "const int8_t *",
        "scale": "const float *",
        "bias": "const float *",
        "rows": "int32_t",
        "columns": "int32_t",
    },
    # What a layer sees of another's output, or of the features: `width` numbers a frame, frames `stride` apart.
    "source": {"from": "const float *", "width": "int32_t", "stride": "int32_t"},
    "layer": {
        "kind": "int32_t",
        "activation": "int32_t",
        "floats": "int32_t",  # its input is features, no whole numbers
        "frames": "int32_t",  # side by side
        "bands": "int32_t",  # equal parts of inputs and units
        "reach": "int32_t",  # bands seen on either side
        "inputs": "int32_t",  # of one frame
        "units": "int32_t",
        "lean": "int32_t",  # rank of lean frames, whose two matrices follow the others; 0: all frames are full
        "stride": "int32_t",  # of `out`
        "num_sources": "int32_t",
        "sources": "const struct source *",
        "affines": "const struct affine *",
        "memory": "int32_t",  # where in the network's memory its own begins
        "full_frame": "int32_t",  # and what lean frames go on from
        "out": "float *",  # [frames][stride]
    },
    "network": {
        "size": "int32_t",
        "num_layers": "int32_t",
        "layers": "const struct layer *",
        "seen": "void *",  # inputs of one layer and frame
        "second": "void *",  # the state of a GRU; the windows of a convolution over bands and several frames
        "sums": "int32_t *",  # [AT_ONCE][rows]
        "gates": "float *",  # [AT_ONCE][4 channels]
        "full": "int32_t *",  # [BLOCK_HOPS]: which frames of the last call were full
        "turn": "int32_t",  # where in the memory turns are counted; -1 where all frames are full
    },
    # One stream: a model, what it remembers, and a block of sound on its way through.
    "stream": {
        "size": "int32_t",
        "signal": "const struct signal *",
        "network": "const struct network *",
        "gain": "const struct layer *",  # the heads
        "strength": "const struct layer *",
        "vad": "const struct layer *",
        "samples": "float *",  # [history + HOP frames]: past and new
        "spectra": "float *",
        "energies": "float *",
        "decimated": "float *",
        "score": "float *",
        "previous": "int32_t *",
        "level": "double *",
        "tail": "float *",
        "sections": "double *",
        "rumble": "double *",
        "filtered": "int32_t *",
        "raw": "float *",
        "memory": "float *",
        "held_gain": "float *",  # [bands]: the last frame's
        "recent": "float *",  # [RECENT_HOPS][HOP]: a ring
        "heard": "int32_t *",  # [1]: hops since the beginning, modulo 2^31
        "input": "float *",  # [BLOCK_HOPS][HOP]
        "output": "float *",  # [BLOCK_HOPS][HOP]
        "facts": "float *",  # of the last frame: pitch period, pitch correlation, voice activity, [bands] gains
        "dry": "float",
        "backlog": "float",  # hops that wait
        "effort": "int32_t",
        "full_frames": "int32_t",  # of the last call: those that were full
    },
}

_SCALARS = {"int32_t": ctypes.c_int32, "float": ctypes.c_float, "double": ctypes.c_double}
_ARRAYS = {
    "int8_t": (np.int8,),
    "int32_t": (np.int32,),
    "float": (np.float32, np.complex64),
    "double": (np.float64, np.complex128),
}


def _structure(name: str) -> type[ctypes.Structure]:
    fields = [(field, _SCALARS.get(kind, ctypes.c_void_p)) for field, kind in FIELDS[name].items()]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


_STRUCTURES = {name: _structure(name) for name in FIELDS}


def fill(name: str, **values: Any) -> ctypes.Structure:
    """A structure with every field given by name.

    Parameters
    ----------
    name : str
        One of `FIELDS`.
    values
        Numbers; arrays of the type that the field points to, C-contiguous; structures, or ctypes arrays of them.
        None for no address. `size` fills itself in. What is pointed to lives as long as the structure.

    Raises
    ------
    TypeError
        Fields missing or unknown, or an array that the field cannot point to.
    """
    kinds = FIELDS[name]
    structure = _STRUCTURES[name]()
    if "size" in kinds:
        values["size"] = ctypes.sizeof(structure)
    if values.keys() != kinds.keys():
        raise TypeError(f"struct {name}: fields {sorted(values.keys() ^ kinds.keys())} are missing or unknown")
    for field, value in values.items():
        setattr(structure, field, _pointed(name, field, value) if "*" in kinds[field] else value)
    structure.kept = values
    return structure


def _pointed(name: str, field: str, value: Any) -> int | None:
    """Address of a field's value, which must be what the field points to."""
    if value is None:
        return None
    kind = FIELDS[name][field].replace("const ", "").rstrip(" *")
    if kind.startswith("struct "):
        structure = _STRUCTURES[kind.removeprefix("struct ")]
        if isinstance(value, structure) or (isinstance(value, ctypes.Array) and value._type_ is structure):
            return ctypes.addressof(value)
    elif isinstance(value, np.ndarray) and value.flags.c_contiguous:
        if kind == "void" or value.dtype in _ARRAYS[kind]:
            return value.ctypes.data
    found = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise TypeError(f"struct {name}: {field} is {found}; accepted: {kind}, C-contiguous")


def array(name: str, structures: list[ctypes.Structure]) -> "ctypes.Array[ctypes.Structure]":
    """Structures of one name side by side; what they point to lives as long as the array."""
    together: Any = (_STRUCTURES[name] * len(structures))(*structures)
    together.kept = structures
    return together


def header() -> str:
    """The text of ``structures.h``."""
    lines = [
        "// Made by `python -m pyenhance.backend.structures`; the fields are explained there.",
        "#include <stdint.h>",
        "",
    ]
    lines += ["enum {", *(f"  {name} = {value}," for name, value in CONSTANTS.items()), "};"]
    lines += [f"enum {{ {', '.join(kind.upper() for kind in KINDS)} }};"]
    lines += [f"enum {{ {', '.join(activation.upper() for activation in ACTIVATIONS)} }};"]
    lines += [f"enum {{ {', '.join(effort.upper() for effort in EFFORTS)} }};"]
    for name, fields in FIELDS.items():
        lines += ["", f"struct {name} {{"]
        lines += [f"  {kind}{'' if kind.endswith('*') else ' '}{field};" for field, kind in fields.items()]
        lines += ["};"]
    text = "\n".join(lines) + "\n"
    return f"{text}\nenum {{ LAYOUT = {zlib.crc32(text.encode()) & 0x7FFFFFFF} }};\n"


def layout() -> int:
    """Sum of the header, which a compiled library must have been made from."""
    return int(header().rsplit("= ", 1)[1].split()[0])


if __name__ == "__main__":
    HEADER.write_text(header())

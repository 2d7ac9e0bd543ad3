"""Rice codes of whole numbers, all at once: what is short for gaps between the few entries that change.

A value v is the bits of v mod 2**k, and v // 2**k in unary. For gaps of a random choice that is within some 3 % of the
entropy. The two parts lie in streams of their own, so that numpy can read them without a loop.
"""

import struct

import numpy as np

_HEAD = struct.Struct("<BII")  # k, number of values, bits of the unary stream
_MAX_K = 24


def encode(values: np.ndarray) -> bytes:
    """Code of whole numbers, with the k that makes it shortest.

    Parameters
    ----------
    values : ndarray, shape (n,), int, each >= 0
    """
    k = min(range(_MAX_K + 1), key=lambda k: len(values) * k + int((values >> k).sum()))
    ends = np.cumsum((values >> k) + 1)
    unary = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    unary[ends - 1] = 1
    rest = (values[:, None] >> np.arange(k)) & 1
    return b"".join(
        (_HEAD.pack(k, len(values), len(unary)), np.packbits(unary).tobytes(), np.packbits(rest.astype(bool)).tobytes())
    )


class Reader:
    """Bytes, read from front to back, never past their end.

    Parameters
    ----------
    data : bytes
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._place = 0

    def take(self, size: int) -> memoryview:
        """The next bytes; ValueError where there are fewer."""
        if size > len(self._data) - self._place:
            raise ValueError(f"diff: {size} bytes wanted at {self._place} of {len(self._data)}: it is cut or broken")
        self._place += size
        return self._data[self._place - size : self._place]

    def numbers(self, layout: struct.Struct) -> tuple[int, ...]:
        """The next numbers of a layout."""
        return layout.unpack(self.take(layout.size))

    def bits(self, count: int) -> np.ndarray:
        """The next bits, in whole bytes; shape (count,), uint8."""
        return np.unpackbits(np.frombuffer(self.take(-(-count // 8)), np.uint8), count=count)

    def rice(self, most: int) -> np.ndarray:
        """What `encode` wrote.

        Parameters
        ----------
        most : int
            Largest number of values that can be meant.

        Returns
        -------
        ndarray, shape (n,), int64

        Raises
        ------
        ValueError
            It is not such a code, or of more values.
        """
        k, count, unary_bits = self.numbers(_HEAD)
        if k > _MAX_K or count > most or unary_bits > 8 * len(self._data):
            raise ValueError(f"diff: a code of {count} values, k {k}; accepted: {most} values, k up to {_MAX_K}")
        ends = np.flatnonzero(self.bits(unary_bits))
        if len(ends) != count or (count and ends[-1] != unary_bits - 1):
            raise ValueError(f"diff: a code of {count} values holds {len(ends)}")
        high = np.diff(ends, prepend=-1) - 1
        low = self.bits(count * k).reshape(count, k).astype(np.int64) @ (1 << np.arange(k, dtype=np.int64))
        return (high << k) + low

    def end(self) -> None:
        """ValueError unless all was read."""
        left = len(self._data) - self._place
        if left:
            raise ValueError(f"diff: {left} bytes follow its end")

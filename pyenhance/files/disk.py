"""A file on disk whose errors are kept: libsndfile asks for bytes by callbacks, which cannot raise."""

import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any


class WholeFile(io.FileIO):
    """A file without a buffer, in which an error could wait; what is written is written whole or raises."""

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        while view:
            view = view[super().write(view) :]
        return memoryview(data).nbytes


class Disk:
    """An open file for libsndfile.

    Parameters
    ----------
    file : binary file
        A `WholeFile` when it is written to.
    patches : dict of int to bytes
        What is read at these places instead of what is there.
    """

    def __init__(self, file: Any, patches: dict[int, bytes] | None = None) -> None:
        self._file = file
        self._patches = patches or {}
        self._error: BaseException | None = None

    def readinto(self, buffer: Any) -> int:
        return self._kept(self._readinto, buffer)

    def read(self, count: int) -> bytes:
        buffer = bytearray(count)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def write(self, data: bytes) -> int:
        return self._kept(self._file.write, data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._kept(self._file.seek, offset, whence)

    def tell(self) -> int:
        return self._kept(self._file.tell)

    def check(self) -> None:
        """Raise what has been kept."""
        if self._error is not None:
            raise self._error

    def _kept(self, call: Callable[..., int], *arguments: Any) -> int:
        if self._error is not None:
            return 0
        try:
            return call(*arguments)
        except BaseException as error:
            self._error = error
            return 0

    def _readinto(self, buffer: Any) -> int:
        at = self._file.tell() if self._patches else 0
        count = self._file.readinto(buffer)
        for place, patch in self._patches.items():
            for i in range(max(place - at, 0), min(place - at + len(patch), count)):
                buffer[i : i + 1] = patch[i + at - place : i + at - place + 1]
        return count


def opened(path: Path) -> io.BufferedReader:
    """A source, opened for reading.

    Raises
    ------
    OSError
        With the system's reason and the path.
    """
    file = open(path, "rb")
    if not file.seekable():
        file.close()
        raise OSError(errno.ESPIPE, "a pipe, in which one cannot go back", str(path))
    return file


def reason(error: BaseException) -> str:
    """What libsndfile says, without the name that it was given and its decoration."""
    return getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(".")

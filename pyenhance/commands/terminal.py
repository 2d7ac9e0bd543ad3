"""What the subcommands share: exit codes, a progress bar, names that are safe to print, files that are
written whole, and being interrupted."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def shown(path: Any) -> str:
    """A path, or a message that may hold one, in characters that every terminal can print and none obeys."""
    return "".join(c if c.isprintable() else _escaped(c) for c in os.fspath(path))


def _escaped(c: str) -> str:
    if 0xDC80 <= ord(c) <= 0xDCFF:  # a byte that is no text (PEP 383)
        return f"\\x{ord(c) - 0xDC00:02x}"
    return c.encode("unicode_escape").decode("ascii")


class Progress:
    """A progress bar on standard error when that is a terminal, nothing otherwise."""

    def __init__(self, name: str, *, quiet: bool, unit: str = "sample") -> None:
        self._bar = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(desc=name, unit=unit, unit_scale=unit == "sample", leave=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

    def say(self, line: str, file: Any) -> None:
        """A line of text that does not tear the bar."""
        if self._bar is not None:
            self._bar.write(shown(line), file=file)
        else:
            print(shown(line), file=file)


class Interrupted(KeyboardInterrupt):
    """A signal asks for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """Signals that end a command become `Interrupted`, so that what is unfinished is removed.

    While `deferred` is set they wait for the next `check`: raised inside libsndfile's callbacks they would be lost. A
    second one waits for nothing.
    """

    def __init__(self) -> None:
        self.deferred = False
        self._number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                try:
                    self._before[number] = signal.signal(number, self._handle)
                except ValueError:  # not the main thread, to which signals come
                    break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def checked(self, on_progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
        """The same callback, which first raises what has waited: from now on signals wait for it."""
        self.deferred = True

        def checked(done: int, total: int) -> None:
            self.check()
            on_progress(done, total)

        return checked

    def check(self) -> None:
        """Raise what has waited."""
        if self._number:
            raise Interrupted(self._number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self._number = bool(self._number), number
        if not self.deferred or again:
            raise Interrupted(number)

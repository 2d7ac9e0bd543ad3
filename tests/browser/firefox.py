"""Debian's Firefox through its own remote protocol, WebDriver BiDi (Playwright drives a build of its own alone)."""

import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from websockets.sync.client import connect

from ..conftest import PATIENCE_S


@contextmanager
def _running(command: list[str | Path], environment: dict[str, str], log: TextIO) -> Iterator[subprocess.Popen]:
    """A program in the background, until the end of the ``with``."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=log, stdin=subprocess.PIPE, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def microphone(sound: bytes, rate: int) -> Iterator[dict[str, str]]:
    """PulseAudio whose microphone hears a sound (mono, 16 bits) again and again; what tells programs of it.

    Firefox's own fake microphone has a tone alone, and no AudioContext runs there without an audio device.
    """
    with tempfile.TemporaryDirectory() as short, ExitStack() as stack:  # the names of sockets have no 108 characters
        folder = Path(short)
        log = stack.enter_context((folder / "log").open("w"))
        own = os.environ | {"HOME": short, "XDG_RUNTIME_DIR": short, "PULSE_SERVER": f"unix:{folder / 'native'}"}
        modules = (
            f"module-native-protocol-unix socket={folder / 'native'} auth-anonymous=1",
            f"module-null-sink sink_name=loudspeaker rate={rate}",
            f"module-null-sink sink_name=room rate={rate}",
            "module-remap-source master=room.monitor source_name=microphone",
        )
        options = ["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--high-priority=no"]
        options += [option for module in modules for option in ("--load", module)]
        server = stack.enter_context(_running(["pulseaudio", *options], own, log))
        deadline = time.monotonic() + PATIENCE_S
        while not (folder / "native").exists():
            assert time.monotonic() < deadline and server.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        form = ["--device=room", f"--rate={rate}", "--channels=1", "--format=s16le"]
        player = stack.enter_context(_running(["pacat", *form], own, log))

        def play() -> None:
            with suppress(OSError):  # it is over
                while True:
                    player.stdin.write(sound)

        threading.Thread(target=play, daemon=True).start()
        yield {"PULSE_SERVER": own["PULSE_SERVER"]}


class Firefox:
    """One headless browser, to be used in a ``with``; commands go to its ``page``."""

    def __init__(
        self,
        executable: str,
        profile: Path,
        preferences: dict[str, bool | int | str] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        set_to = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in (preferences or {}).items())
        (profile / "user.js").write_text("\n".join(set_to))
        self._environment = os.environ | (environment or {})
        options = ["--headless", "--no-remote", "--remote-debugging-port", "0"]
        options += ["--remote-allow-system-access"]  # to pages of extensions, too
        self._command = [executable, *options, "--profile", profile]
        self._log = profile / "log"
        self._number = 0

    def __enter__(self) -> "Firefox":
        with ExitStack() as stack:
            log = stack.enter_context(self._log.open("w"))
            process = stack.enter_context(_running(self._command, self._environment, log))
            deadline = time.monotonic() + PATIENCE_S
            while not (found := re.search(r"ws://\S+", self._log.read_text())):
                assert time.monotonic() < deadline and process.poll() is None, self._log.read_text()
                time.sleep(0.1)
            self._socket = stack.enter_context(connect(f"{found[0]}/session", max_size=None))
            self.send("session.new", capabilities={})
            self.page = self.send("browsingContext.getTree")["contexts"][0]["context"]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, method: str, **parameters: Any) -> dict:
        """One command of the protocol; events in between are of no interest."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            reply = json.loads(self._socket.recv(timeout=PATIENCE_S))
            if reply.get("id") == self._number:
                assert reply["type"] == "success", reply
                return reply["result"]

    def install(self, extension: Path) -> None:
        """Add an unpacked extension until the browser is closed."""
        self.send("webExtension.install", extensionData={"type": "path", "path": str(extension)})

    def open(self, address: str) -> None:
        """Go on with another page, in a tab of its own."""
        self.page = self.send("browsingContext.create", type="tab")["context"]
        self.goto(address)

    def goto(self, address: str) -> None:
        """Load a page."""
        self.send("browsingContext.navigate", context=self.page, url=address, wait="interactive")

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression, awaited."""
        code = f"(async () => JSON.stringify((await ({expression})) ?? null))()"
        result = self.send("script.evaluate", expression=code, target={"context": self.page}, awaitPromise=True)
        assert result["type"] == "success", result["exceptionDetails"]["text"]
        return json.loads(result["result"]["value"])

    def wait_for(self, expression: str) -> Any:
        """The expression's value once there is one."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"{expression} is {value!r} after {PATIENCE_S} s"
            time.sleep(0.1)
        return value

    def set_files(self, selector: str, *paths: Path) -> None:
        """Choose files."""
        locator = {"type": "css", "value": selector}
        (node,) = self.send("browsingContext.locateNodes", context=self.page, locator=locator)["nodes"]
        element = {"sharedId": node["sharedId"]}
        self.send("input.setFiles", context=self.page, element=element, files=[str(path) for path in paths])

"""Debian's Firefox through its own remote protocol, WebDriver BiDi (Playwright drives a build of its own alone)."""

import json
import re
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from ..conftest import PATIENCE_S


class Firefox:
    """One headless browser with one page, to be used in a ``with``."""

    def __init__(self, executable: str, profile: Path) -> None:
        self._command = [executable, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        self._log = profile / "log"
        self._number = 0

    def __enter__(self) -> "Firefox":
        with ExitStack() as stack:
            log = stack.enter_context(self._log.open("w"))
            process = stack.enter_context(subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=log))
            stack.callback(process.kill)
            deadline = time.monotonic() + PATIENCE_S
            while not (found := re.search(r"ws://\S+", self._log.read_text())):
                assert time.monotonic() < deadline and process.poll() is None, self._log.read_text()
                time.sleep(0.1)
            self._socket = stack.enter_context(connect(f"{found[0]}/session", max_size=None))
            self.send("session.new", capabilities={})
            self._page = self.send("browsingContext.getTree")["contexts"][0]["context"]
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

    def goto(self, address: str) -> None:
        """Load a page."""
        self.send("browsingContext.navigate", context=self._page, url=address, wait="interactive")

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression, awaited."""
        code = f"(async () => JSON.stringify((await ({expression})) ?? null))()"
        result = self.send("script.evaluate", expression=code, target={"context": self._page}, awaitPromise=True)
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
        (node,) = self.send("browsingContext.locateNodes", context=self._page, locator=locator)["nodes"]
        element = {"sharedId": node["sharedId"]}
        self.send("input.setFiles", context=self._page, element=element, files=[str(path) for path in paths])

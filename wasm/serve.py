"""Serve a folder as a static site on this machine: serve.py FOLDER [--port 8000] [--no-isolation].

With the two isolation headers a page may use SharedArrayBuffer; ``--no-isolation`` serves as a plain static host would.
"""

import argparse
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".whl": "application/zip",
    ".webmanifest": "application/manifest+json",
}


class Handler(SimpleHTTPRequestHandler):
    """Static files with the right types, revalidated, isolated if asked."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | TYPES
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the body waits until the header was acknowledged, 40 ms now and then
    isolation = True
    quiet = False

    def end_headers(self) -> None:
        """Add the headers that every reply carries."""
        if self.isolation:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-cache")  # keep, but ask whether it is still good
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *arguments: object) -> None:
        """Log unless quiet."""
        if not self.quiet:
            super().log_message(*arguments)


def make_server(folder: Path, port: int, *, isolation: bool = True, quiet: bool = False) -> ThreadingHTTPServer:
    """A server on 127.0.0.1, not yet running; port 0 takes any free one."""
    handler = type("SiteHandler", (Handler,), {"isolation": isolation, "quiet": quiet})
    return ThreadingHTTPServer(("127.0.0.1", port), partial(handler, directory=str(folder)))


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--no-isolation", action="store_true")
    arguments = parser.parse_args()
    with make_server(arguments.folder, arguments.port, isolation=not arguments.no_isolation) as server:
        print(f"http://127.0.0.1:{server.server_port}  (Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()

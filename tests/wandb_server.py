"""A W&B server of this machine, which speaks as much as a run needs, or fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Failure = Literal["refused", "silent"] | int
"""How a request fails: no connection, no answer, or a status."""
KEY = "k" * 40

USER = {"id": "1", "entity": "lab", "username": "u", "flags": "{}", "teams": {"edges": []}}
PROJECT = {"id": "1", "name": "repflow", "entity": {"id": "1", "name": "lab"}}


class Server:
    """It answers until it is told to fail."""

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.tells_the_user = False
        """Whether it says who the user is, also where all else fails."""
        self.asked: list[tuple[str, str]] = []
        """Paths, and what was sent to them."""
        self.closed = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(
                    errors="replace"
                )
                server.asked.append((self.path, body))
                status, answer = server.answer(self.path, body)
                if not status:
                    server.closed.wait()
                    return
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            do_GET = do_PUT = do_POST

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.environment = {
            "WANDB_BASE_URL": f"http://127.0.0.1:{self.http.server_port}",
            "WANDB_API_KEY": KEY,
        }
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def fail(self, failure: Failure) -> None:
        """From now on."""
        self.failure = failure
        if failure == "refused":
            self.http.shutdown()
            self.http.server_close()

    def close(self) -> None:
        self.closed.set()
        if self.failure != "refused":
            self.fail("refused")

    def answer(self, path: str, body: str) -> tuple[int, Any]:
        """Status and content; a status of 0 for silence."""
        if self.tells_the_user and "query Viewer" in body:
            return 200, {"data": {"viewer": USER}}
        if self.failure is not None:
            status = self.failure if isinstance(self.failure, int) else 0
            return status, {"errors": [{"message": "no"}]}
        return (
            (200, _data(body, self.environment["WANDB_BASE_URL"]))
            if path == "/graphql"
            else (200, {})
        )


@contextmanager
def serving(failure: Failure | None = None, tells_the_user: bool = False) -> Iterator[Server]:
    server = Server()
    server.tells_the_user = tells_the_user
    if failure is not None:
        server.fail(failure)
    try:
        yield server
    finally:
        server.close()


def _data(body: str, url: str) -> Any:
    if "query Viewer" in body:
        return {"data": {"viewer": USER}}
    if "query RunResumeStatus" in body:
        return {"data": {"model": {**PROJECT, "bucket": None}}}
    if "mutation UpsertBucket" in body:
        name = json.loads(body)["variables"].get("name")
        bucket = {"id": "1", "name": name, "project": PROJECT, "historyLineCount": 0}
        return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
    if "mutation CreateRunFiles" in body:
        files = [
            {"name": name, "uploadUrl": f"{url}/{name}"}
            for name in json.loads(body)["variables"]["files"]
        ]
        return {"data": {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}}
    return {"errors": [{"message": "this server does not know that"}]}

"""A small HTTP server on 127.0.0.1 in front of the engine: what ClickHouse's own speaks, as far as
its client asks for, and the ways in which a network fails."""

import base64
import email
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, urlsplit

import chdb

from quantlab_tests.adapters.clickhouse.engine import engine_path

USER, PASSWORD = "reader", "open sesame/1"
ROWS = "transform("
"""What only the queries for rows have."""

Fault = Literal["none", "reset", "cut", "unterminated", "500", "503", "hang", "exception"]


class LoopbackServer(ThreadingHTTPServer):
    """`faults` are used up one a query for rows; `queries` are all that were asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: list[Fault] = []
        self.queries: list[str] = []
        self.parameters: list[dict[str, str]] = []
        self.engine = chdb.connect(str(engine_path()))
        self.lock = threading.Lock()

    def dsn(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        """The DSN of a database behind this server."""
        secret = password.replace("/", "%2F").replace(" ", "%20")
        return f"clickhouse://{user}:{secret}@127.0.0.1:{self.server_port}/{database}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is not worth a word."""


@contextmanager
def loopback() -> Iterator[LoopbackServer]:
    """A running server, stopped on leaving."""
    server = LoopbackServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        server.engine.close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackServer
    protocol_version = "HTTP/1.1"
    formats: ClassVar[str] = r"\bFORMAT\s+(\w+)\s*$"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, body: bytes) -> None:
        url = dict(parse_qsl(urlsplit(self.path).query))
        fields = self._form(body)
        if fields is None:
            fields, data = {}, body
        else:
            data = b""
        asked = {**url, **fields}
        query = asked.get("query", "")
        if not query:
            query, data = data.decode("utf-8", "replace"), b""
        if not self._known_user():
            self._refuse(403, 516, "Authentication failed: password is incorrect")
            return
        parameters = {k.removeprefix("param_"): v for k, v in asked.items() if k[:6] == "param_"}
        self.server.queries.append(query)
        self.server.parameters.append(parameters)
        fault = self.server.faults.pop(0) if ROWS in query and self.server.faults else None
        if fault in ("500", "503"):
            self._send(int(fault), b"<html>Bad day</html>", {"Content-Type": "text/html"})
            return
        if fault == "hang":
            time.sleep(2.5)
        try:
            answer = self._run(query, parameters, data, asked.get("database", ""))
        except RuntimeError as error:
            code = re.search(r"Code: (\d+)", str(error))
            self._refuse(404, int(code[1]) if code else 1, str(error))
            return
        self._send(200, answer, {"X-ClickHouse-Format": "ArrowStream"}, fault)

    def _run(self, query: str, parameters: dict[str, str], data: bytes, database: str) -> bytes:
        with self.server.lock, tempfile.TemporaryDirectory() as folder:
            if database:
                self.server.engine.query(f"USE `{database}`")
            if data:
                block = Path(folder) / "block"
                block.write_bytes(data)
                head, _, form = query.rpartition(" FORMAT ")
                query = f"{head} FROM INFILE '{block}' FORMAT {form}"
            found = re.search(self.formats, query)
            answer = self.server.engine.query(
                query, found[1] if found else "TabSeparated", params=parameters
            )
            content: bytes = answer.bytes() or b""
            return content

    def _form(self, body: bytes) -> dict[str, str] | None:
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            return None
        message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        fields = {}
        for part in message.get_payload():
            assert isinstance(part, email.message.Message)
            name = part.get_param("name", header="content-disposition")
            value = part.get_payload(decode=True)
            assert isinstance(value, bytes)
            fields[str(name)] = value.decode()
        return fields

    def _known_user(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        return base64.b64decode(given).decode() == f"{USER}:{PASSWORD}"

    def _refuse(self, status: int, code: int, message: str) -> None:
        text = message if message.startswith("Code:") else f"Code: {code}. DB::Exception: {message}"
        self._send(status, text.encode(), {"X-ClickHouse-Exception-Code": str(code)})

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], fault: Fault | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if fault == "exception":
            body = body[: len(body) // 2] + b"Code: 241. DB::Exception: Memory limit exceeded\n"
        if fault == "unterminated":
            body = body[:-8]
        half = len(body) // 2
        self._chunk(body[:half])
        if fault in ("reset", "cut"):
            if fault == "reset":
                self.connection.shutdown(2)
            self.close_connection = True
            return
        self._chunk(body[half:])
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

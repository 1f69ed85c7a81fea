"""A store that speaks as much of S3 as reading takes: HEAD, GET with ranges, ListObjectsV2. Serves one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@contextmanager
def fake_s3(root: Path) -> Iterator[str]:
    """Serve ``root`` (its sub-folders are the buckets) on a port of its own; yields host:port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def answer(self, status: int, body: bytes, size: int | None = None, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body) if size is None else size))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = parse_qs(url.query, keep_blank_values=True)
            place = root / unquote(url.path).strip("/")
            if "list-type" in query:
                self.answer(200, listing(place, query.get("prefix", [""])[0]), Content_Type="application/xml")
            elif not place.is_file():
                self.answer(404 if self.command == "HEAD" or not place.is_dir() else 200, b"")
            else:
                content = place.read_bytes()
                span = self.headers.get("Range")
                if span is None:
                    self.answer(200, content, **DATE)
                else:
                    low, high = span.removeprefix("bytes=").split("-")
                    part = content[int(low) : int(high) + 1]
                    self.answer(206, part, Content_Range=f"bytes {low}-{high}/{len(content)}", **DATE)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


DATE = {"Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}


def listing(bucket: Path, prefix: str) -> bytes:
    """Answer ListObjectsV2: every object whose key begins with ``prefix``."""
    keys = sorted(p.relative_to(bucket).as_posix() for p in bucket.rglob("*") if p.is_file())
    found = [key for key in keys if key.startswith(prefix)]
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{(bucket / key).stat().st_size}</Size>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        for key in found
    )
    return (
        f"<?xml version='1.0'?><ListBucketResult><KeyCount>{len(found)}</KeyCount>"
        f"<IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
    ).encode()

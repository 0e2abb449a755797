"""Public places of text and models in small: their addresses, on a local server."""

import hashlib
import http.server
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Serves = dict[str, bytes | Path]


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


def parquet(**columns: list[str]) -> bytes:
    held = io.BytesIO()
    pq.write_table(pa.table(columns), held)
    return held.getvalue()


def opus(sentences: list[str]) -> str:
    """A document of OPUS's raw XML."""
    elements = "".join(f'<s id="{number}">{text}</s>\n' for number, text in enumerate(sentences, start=1))
    return f'<?xml version="1.0" encoding="utf-8"?>\n<text><p id="1">{elements}</p></text>\n'


def record(number: int, name: str, content: bytes) -> Serves:
    """A record of Zenodo with an archive, and another file."""
    checksum = f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}"
    files = [{"key": name, "checksum": checksum}, {"key": "guidelines.pdf", "checksum": "md5:0"}]
    listed = json.dumps({"files": files}).encode()
    return {f"/api/records/{number}": listed, f"/records/{number}/files/{name.replace(' ', '%20')}": content}


def data_set(repo: str, commit: str, folder: str, files: Mapping[str, bytes]) -> Serves:
    """A folder of a data set on the hub."""
    serves: Serves = {}
    tree: list[dict[str, object]] = [{"type": "directory", "path": f"{folder}/more", "oid": "0"}]
    for name, content in files.items():
        state = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        tree.append({"type": "file", "path": f"{folder}/{name}", "oid": "0", "size": len(content), "lfs": state})
        serves[f"/datasets/{repo}/resolve/{commit}/{folder}/{name}"] = content
    return serves | {f"/api/datasets/{repo}/tree/{commit}/{folder}": json.dumps(tree).encode()}


def model(repo: str, commit: str, folder: Path) -> Serves:
    """A saved model on the hub."""
    return {f"/{repo}/resolve/{commit}/{path.name}": path for path in folder.iterdir()}


@contextmanager
def served(serves: Serves, faults: Callable[[], Collection[str]] = tuple) -> Iterator[tuple[str, list[str]]]:
    """The address of a server of these paths, and the paths that it was asked for.

    `faults` of the moment: "slow", it waits in the middle of an answer; "broken", it ends there.
    """
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0].replace("%2F", "/")
            asked.append(path)
            held = serves.get(path)
            content = held.read_bytes() if isinstance(held, Path) else held
            tag = f'"{hashlib.sha256(content or b"").hexdigest()}"'
            rest = content is not None and self.headers.get("If-Range") == tag
            if rest:
                first = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                content, whole = content[first:], len(content)
                asked[-1] += f" from {first}"
            self.send_response(404 if content is None else 206 if rest else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("Content-Range", f"bytes {first}-{whole - 1}/{whole}") if rest else None
            self.send_header("ETag", tag)
            if "/resolve/" in path:  # as the hub does
                self.send_header("X-Repo-Commit", path.split("/resolve/")[1].partition("/")[0])
                self.send_header("X-Error-Code", "EntryNotFound") if content is None else None
            self.end_headers()
            if self.command == "GET":
                self.answer(content or b"")

        def answer(self, content: bytes) -> None:
            half = len(content) // 2
            self.wfile.write(content[:half])
            self.wfile.flush()
            if "slow" in faults():
                time.sleep(60)
            if "broken" not in faults():
                self.wfile.write(content[half:])

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()

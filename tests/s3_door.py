"""A real S3 server on loopback, behind a door that can be shut."""

from __future__ import annotations

import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

BIN = Path(sys.executable).parent


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Proxy(socketserver.ThreadingTCPServer):
    """A door before the server that can be shut."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, behind: int) -> None:
        self.behind, self.shut, self.refused = behind, False, 0
        super().__init__(("127.0.0.1", 0), Pipe)


class Pipe(socketserver.BaseRequestHandler):
    def handle(self):
        if self.server.shut:
            self.server.refused += 1
            return
        with socket.create_connection(("127.0.0.1", self.server.behind)) as far:
            there = threading.Thread(target=self.copy, args=(self.request, far), daemon=True)
            there.start()
            self.copy(far, self.request)
            there.join(5)

    def copy(self, source, target):
        try:
            while data := source.recv(65536):
                if self.server.shut:
                    self.server.refused += 1
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def served():
    """The door of a server with an empty bucket; the environment says where it is."""
    port = free_port()
    server = subprocess.Popen(
        [BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    door = Proxy(port)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    given = {
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{door.server_address[1]}",
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    import fsspec
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # one may know the server of another test
    fsspec.filesystem("s3").mkdir("bucket")
    try:
        yield door
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        door.shutdown()
        door.server_close()
        server.kill()
        server.wait()

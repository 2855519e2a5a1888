"""Targets on loopback."""

import hashlib
import socket
import struct
import threading


def pattern(size: int) -> bytes:
    """Bytes of which no two MiB are equal."""
    blocks = (hashlib.sha256(struct.pack('>Q', number)).digest() * 64 for number in range(size // 2048 + 1))
    return b''.join(blocks)[:size]


def serve(handle) -> int:
    """The port at which `handle` gets each connection, in a thread of its own."""
    listener = socket.create_server(('127.0.0.1', 0), backlog=128)

    def run(connection: socket.socket):
        with connection:
            try:
                handle(connection)
            except OSError:
                pass

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=run, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def echo(connection: socket.socket):
    while data := connection.recv(65536):
        connection.sendall(data)


class UdpEcho:
    """Sends each datagram back, and remembers from where the last one came."""

    def __init__(self, address='127.0.0.1'):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((address, 0))
        self.address = self.sock.getsockname()
        self.peer: tuple[str, int] | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            content, self.peer = self.sock.recvfrom(65535)
            self.sock.sendto(content, self.peer)


def source(connection: socket.socket):
    """Sends as many bytes of the pattern as the first line says."""
    with connection.makefile('rb') as lines:
        connection.sendall(pattern(int(lines.readline())))


def sink(connection: socket.socket):
    """Answers at the end with how many bytes came, and their SHA-256."""
    digest, size = hashlib.sha256(), 0
    while data := connection.recv(65536):
        digest.update(data)
        size += len(data)
    connection.sendall(f'{size} {digest.hexdigest()}'.encode())


def resetting(connection: socket.socket):
    """Resets the connection at the first byte."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))


def deaf(connection: socket.socket):
    """Reads nothing."""
    threading.Event().wait(60)


class Watcher:
    """A target that greets, and remembers how its connection ended."""

    def __init__(self):
        self.port = serve(self._watch)
        self.ended = threading.Event()
        self.how: str | None = None

    def _watch(self, connection: socket.socket):
        connection.sendall(b'ready')
        try:
            while connection.recv(65536):
                pass
            self.how = 'end'
        except ConnectionResetError:
            self.how = 'reset'
        self.ended.set()

"""What sends a request and waits for its answer, from several threads; light, for it shares the servers' cores."""

import socket
from collections.abc import Callable
from typing import Any

import grpc

from benchmarks.serving.messages import Protocol
from benchmarks.serving.order import HOST

Send = Callable[[bytes], bytes]
"""Sends a whole request and gives the answer's body. Raises OSError or grpc.RpcError."""

REQUEST_SECONDS = 30.0

_METHODS = {
    "framemesh": "/framemesh.v1.InferenceService/Infer",
    "inference": "/inference.GRPCInferenceService/ModelInfer",
}
_MAX_HEAD_BYTES = 65_536


def connect(protocol: Protocol, port: int, count: int) -> tuple[list[Send], Callable[[], None]]:
    """Senders for `count` threads, and what closes them: gRPC shares one connection, HTTP/1.1 has one for each."""
    method = _METHODS.get(protocol)
    if method is None:
        connections = [_Http(port) for _ in range(count)]
        return [one.send for one in connections], lambda: _close(connections)
    channel = grpc.insecure_channel(
        f"{HOST}:{port}", options=[("grpc.max_send_message_length", -1), ("grpc.enable_http_proxy", 0)]
    )
    call: Any = channel.unary_unary(method)  # of bytes both ways: they are made ahead

    def send(request: bytes) -> bytes:
        answer: bytes = call(request, timeout=REQUEST_SECONDS)
        return answer

    return [send] * count, channel.close


def _close(connections: list["_Http"]) -> None:
    for connection in connections:
        connection.close()


class _Http:
    """One connection that is kept open, and opened again where the server closed it between two requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def send(self, request: bytes) -> bytes:
        kept = self._socket is not None
        try:
            return self._send(request)
        except ConnectionError:
            self.close()
            if not kept:
                raise
            return self._send(request)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, request: bytes) -> bytes:
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self._port), timeout=REQUEST_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        return self._answer(self._socket)

    def _answer(self, connection: socket.socket) -> bytes:
        got = b""
        while (end := got.find(b"\r\n\r\n")) < 0:
            if len(got) > _MAX_HEAD_BYTES:
                raise OSError("the answer's head has no end")
            got += _received(connection)
        lines = got[:end].split(b"\r\n")
        fields = dict(line.lower().split(b":", 1) for line in lines[1:])
        body = got[end + 4 :]
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            body = _whole_of_chunks(connection, body)
        else:
            size = int(fields[b"content-length"])
            while len(body) < size:
                body += _received(connection)
        if b"close" in fields.get(b"connection", b""):
            self.close()
        if lines[0].split()[1] != b"200":
            raise OSError(f"{lines[0].decode()}: {body[:200].decode(errors='replace')}")
        return body


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionResetError("the server closed the connection")
    return data


def _whole_of_chunks(connection: socket.socket, got: bytes) -> bytes:
    whole = b""
    while True:
        while (end := got.find(b"\r\n")) < 0:
            got += _received(connection)
        size = int(got[:end].split(b";")[0], 16)
        while len(got) < end + 2 + size + 2:
            got += _received(connection)
        if not size:
            return whole
        whole += got[end + 2 : end + 2 + size]
        got = got[end + 2 + size + 2 :]

"""As much of the Redis protocol as it takes to ask a server who it is and to give a cluster its slots.

Promise: an address that cannot be used is refused with a reason. Never: a client for anything else.
"""

import socket
import ssl
from urllib.parse import unquote

from machine import Trouble, server_parts


class Connection:
    """One connection to a server of the Redis family, by address."""

    def __init__(self, url, timeout=3):
        parts = server_parts("the URL of the Dragonfly-protocol server", url)
        if parts.scheme not in ("redis", "rediss"):
            raise Trouble(f"the address begins with `{parts.scheme}:`, expected redis://host:port or rediss://host:port")
        host, port = parts.hostname or "localhost", parts.port or 6379
        try:
            self.socket = socket.create_connection((host, port), timeout=timeout)
            if parts.scheme == "rediss":
                self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=host)
        except OSError as error:
            raise Trouble(f"nothing answers at {host}:{port} ({error})") from error
        self.stream = self.socket.makefile("rb")
        if parts.password:
            names = [unquote(parts.username)] if parts.username else []
            self.ask("AUTH", *names, unquote(parts.password))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def ask(self, *words):
        """Sends one command; gives its reply as text, a number or a list."""
        encoded = [str(word).encode() for word in words]
        body = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        try:
            self.socket.sendall(b"*%d\r\n" % len(encoded) + body)
            return self.reply()
        except (OSError, ValueError) as error:
            raise Trouble(f"the server did not answer {words[0]} ({error})") from error

    def reply(self):
        line = self.stream.readline().rstrip(b"\r\n")
        mark, rest = line[:1], line[1:]
        if mark == b"-":
            raise Trouble("the server says: " + rest.decode(errors="replace"))
        if mark == b":":
            return int(rest)
        if mark == b"$":
            return None if rest == b"-1" else self.stream.read(int(rest) + 2)[:-2].decode(errors="replace")
        if mark == b"*":
            return [self.reply() for _ in range(max(0, int(rest)))]
        if mark != b"+":
            raise ValueError("this is no server of the Redis family")
        return rest.decode(errors="replace")


def identity(url):
    """The server's own name and version, such as `dragonfly 1.40.0`."""
    with Connection(url) as server:
        facts = dict(line.split(":", 1) for line in server.ask("INFO", "server").splitlines() if ":" in line)
    for field, name in (("dragonfly_version", "dragonfly"), ("valkey_version", "valkey"), ("redis_version", "redis")):
        if field in facts:
            return f"{name} {facts[field].strip().removeprefix('df-').removeprefix('v')}"
    return "unknown server"


def answers(url):
    try:
        with Connection(url, timeout=2) as server:
            return server.ask("PING") == "PONG"
    except Trouble:
        return False

"""A small mail server that notes what arrives in one piece, and refuses, cuts and drips on demand."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CUT = "cut"  # instead of an answer: end the connection


@dataclass
class MailWire:
    """A server's behaviour and its memory."""

    port: int = 0
    pipelining: bool = True
    international: bool = True
    answers: dict[str, str] = field(default_factory=dict)  # by the beginning of a command; of the words: "."
    once: dict[str, str] = field(default_factory=dict)  # the same, for the first such command only
    most_connections: int = 100  # further ones are turned away
    delay_seconds: float = 0.0  # before each answer
    drip_seconds: float = 0.0  # between the bytes of each answer to a message's commands
    connections: int = 0  # taken so far
    turned_away: int = 0
    arrived: list[bytes] = field(default_factory=list)  # what one read found, of all connections
    commands: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)  # those with a recipient, so delivered
    undelivered: list[bytes] = field(default_factory=list)
    open: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def end_all(self, words: bytes = b"") -> None:
        """End each connection, saying `words` first."""
        for connection in list(self.open):
            with suppress(OSError):
                if words:
                    connection.sendall(words)
                connection.shutdown(socket.SHUT_RDWR)
        self.open.clear()

    def answer(self, command: str, usual: str) -> str:
        """Return what to answer, and note the command."""
        with self._lock:
            self.commands.append(command)
            for answers in (self.once, self.answers):
                for beginning in answers:
                    if command.startswith(beginning):
                        return answers.pop(beginning) if answers is self.once else answers[beginning]
        return usual

    def serve(self, connection: socket.socket) -> None:
        """Talk to one client."""
        with self._lock:
            full = len(self.open) >= self.most_connections
            if full:
                self.turned_away += 1
            else:
                self.connections += 1
                self.open.append(connection)
        with suppress(OSError), connection:
            if full:
                connection.sendall(b"421 too many connections\r\n")
                return
            connection.sendall(b"220 mail\r\n")
            self._talk(connection)
        with self._lock, suppress(ValueError):
            self.open.remove(connection)

    def _talk(self, connection: socket.socket) -> None:
        waiting, recipients, in_words = b"", 0, False
        while data := connection.recv(65536):
            self.arrived.append(data)
            waiting += data
            while True:
                ending = b"\r\n" if not in_words or waiting.startswith(b".\r\n") else b"\r\n.\r\n"
                line, ended, rest = waiting.partition(ending)
                if not ended:
                    break
                waiting = rest
                if in_words:
                    (self.messages if recipients else self.undelivered).append(line)
                    reply, in_words = self.answer(".", "250 taken" if recipients else "554 no valid recipients"), False
                    recipients = 0
                else:
                    reply = self._reply(line.decode(), recipients)
                    recipients += line.startswith(b"RCPT") and reply.startswith("25")
                    recipients *= not line.startswith(b"RSET")
                    in_words = reply.startswith("354")
                if reply == CUT:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                self._say(connection, reply)
                if reply.startswith(("221", "421")):
                    return

    def _reply(self, command: str, recipients: int) -> str:
        if command.startswith("ehlo"):
            offered = ["PIPELINING"] * self.pipelining + ["SMTPUTF8"] * self.international
            return "".join(f"250-{extension}\r\n" for extension in ["mail", *offered]) + "250 8BITMIME"
        usual = {"DATA": "354 go on" if recipients else "503 no recipients", "QUIT": "221 bye"}
        return self.answer(command, usual.get(command, "250 well"))

    def _say(self, connection: socket.socket, reply: str) -> None:
        time.sleep(self.delay_seconds)
        if not self.drip_seconds:
            connection.sendall(f"{reply}\r\n".encode())
            return
        for byte in f"{reply}\r\n":
            connection.sendall(byte.encode())
            time.sleep(self.drip_seconds)


@contextmanager
def mail_server(wire: MailWire) -> Iterator[MailWire]:
    """Serve on a free loopback port."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)
    wire.port = listening.getsockname()[1]

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=wire.serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        wire.end_all()
        thread.join(5)

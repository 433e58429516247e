"""An SMTP server that only counts, so lean that it is not what is measured.

`python -m bench.smtp_sink` prints its port. `XCOUNT` on a connection of its own says how many messages came in.
"""

import asyncio
import sys

import uvloop

_GREETING = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"


class Connection(asyncio.Protocol):
    """One client: commands line by line, and the words of a message up to the lone dot."""

    received = 0  # by all connections

    def __init__(self) -> None:
        self._waiting, self._in_message = b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer every whole command and count every whole message."""
        self._waiting += data
        while True:
            head, ended, rest = self._waiting.partition(b"\r\n.\r\n" if self._in_message else b"\r\n")
            if not ended:
                return
            self._waiting = rest
            if self._in_message:
                Connection.received += 1
                self._in_message = False
                self._transport.write(b"250 taken\r\n")
            else:
                self._answer(head.upper())

    def _answer(self, command: bytes) -> None:
        if command.startswith(b"EHLO"):
            self._transport.write(_GREETING)
        elif command == b"DATA":
            self._in_message = True
            self._transport.write(b"354 go on\r\n")
        elif command == b"XCOUNT":
            self._transport.write(b"250 %d\r\n" % Connection.received)
        elif command == b"QUIT":
            self._transport.write(b"221 bye\r\n")
            self._transport.close()
        else:
            self._transport.write(b"250 well\r\n")


async def serve() -> None:
    """Listen on the loopback address until the process is stopped; prints the port."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())

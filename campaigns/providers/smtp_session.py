"""One connection to an SMTP server (RFC 5321): opened, secured, logged in; then one message after the other."""

import io
import os
import smtplib
import socket
import ssl
import time
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

from campaigns.providers.email_bytes import WrittenEmail
from campaigns.providers.transport import MaybeSentError, NotSentError

CONNECT_SECONDS = 10.0
CHECK_SECONDS = 3.0
DEFAULT_PORTS = {"smtp": 587, "smtps": 465}
_SENDER, _RECIPIENT, _DATA = range(3)
_WELCOME = {_SENDER: {250}, _RECIPIENT: {250, 251}, _DATA: {354}}


class RepliedError(Exception):
    """The server answered with a refusal: of the sender (`of_sender`, so of us), or of this message."""

    def __init__(self, code: int, words: bytes, *, of_sender: bool = False) -> None:
        super().__init__(code)
        self.of_sender = of_sender
        self.code = code
        self.words = words.decode(errors="replace")


class LostError(Exception):
    """The connection broke before the message: nothing of it is there; `begun`: a command of it had been accepted."""

    def __init__(self, reason: str, *, begun: bool) -> None:
        super().__init__(f"connection lost before the message ({reason})")
        self.begun = begun


class Session:
    """One open connection; `fresh`: opened for the message at hand, `used_at` is a `time.monotonic()` value.

    `ends`, in all methods, is the `time.monotonic()` value after which nothing is waited for any more.
    """

    def __init__(self, url: str, ends: float) -> None:
        """Open it; raises NotSentError where the server cannot be reached, or takes no password safely."""
        try:
            self._smtp = _connect(url, ends)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise NotSentError(f"no connection ({type(error).__name__})") from error
        self.fresh = True
        self.used_at = time.monotonic()

    @property
    def is_open(self) -> bool:
        """Tell whether nobody has ended it, as far as is known."""
        return self._smtp.sock is not None

    def takes_international_addresses(self) -> bool:
        """Tell whether the server offers SMTPUTF8 (RFC 6531)."""
        return bool(self._smtp.has_extn("smtputf8"))

    def deliver(self, message: WrittenEmail, ends: float) -> None:
        """Hand over one message; raises RepliedError, LostError, or MaybeSentError where the server may have it."""
        self._smtp.ends = ends
        self._announce(message)
        try:
            # From here on the server may have it, whatever happens to the connection.
            self._smtp.send(message.payload.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            code, words = self._smtp.getreply()
        except OSError as error:
            self.close()
            raise MaybeSentError(f"connection lost after the message ({type(error).__name__})") from error
        self.used_at = time.monotonic()
        if code != 250:
            raise RepliedError(code, words)

    def start_over(self, ends: float) -> None:
        """Forget a message that was refused; ends the connection where that fails."""
        self._ask("RSET", ends)

    def answers(self, ends: float) -> bool:
        """Tell whether the server is still there (NOOP); a connection that lies dead in between is soon given up."""
        return self._ask("NOOP", min(ends, time.monotonic() + CHECK_SECONDS))

    def quit(self, ends: float) -> None:
        """End the connection politely."""
        self._ask("QUIT", ends)
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._smtp.close()

    def _ask(self, command: str, ends: float) -> bool:
        self._smtp.ends = ends
        try:
            code, _ = self._smtp.docmd(command)
        except OSError:
            code = -1
        if code != 250:
            self.close()
        self.used_at = time.monotonic()
        return code == 250

    def _announce(self, message: WrittenEmail) -> None:
        """Say from whom, to whom, and that the words come now: in one go where PIPELINING is offered (RFC 2920)."""
        options = " SMTPUTF8 BODY=8BITMIME" if message.international else ""
        commands = [
            f"MAIL FROM:<{message.sender}>{options}\r\n".encode(),
            f"RCPT TO:<{message.recipient}>\r\n".encode(),
            b"DATA\r\n",
        ]
        together = self._smtp.has_extn("pipelining")
        refusal: RepliedError | None = None
        refused, code, begun = _DATA, 0, False
        try:
            if together:
                self._smtp.send(b"".join(commands))
            for step, command in enumerate(commands):
                if not together:
                    self._smtp.send(command)
                code, words = self._smtp.getreply()
                if refusal is None and code not in _WELCOME[step]:
                    refusal, refused = RepliedError(code, words, of_sender=step == _SENDER), step
                    if not together:
                        break
                begun = begun or refusal is None
            self._smtp.wait_no_longer()
        except OSError as error:
            self.close()
            if refusal is None:
                raise LostError(type(error).__name__, begun=begun) from error
        if refusal is None:
            return
        if together and code == 354:
            self._end_without_words(refused)
        raise refusal

    def _end_without_words(self, refused: int) -> None:
        """Leave the message that the server waits for although it refused a command: nothing may be delivered.

        Without a recipient a lone dot does it (RFC 2920, 3.1); with one it would deliver an empty message.
        """
        if refused != _RECIPIENT:
            self.close()
            return
        try:
            self._smtp.send(b".\r\n")
            self._smtp.getreply()
        except OSError:
            self.close()


class _Bounded(smtplib.SMTP):
    """Waits for no byte after `ends`, also where the server sends one now and then."""

    def __init__(self, host: str, port: int, ends: float, **options: Any) -> None:
        self.ends = ends
        seconds = max(0.001, min(CONNECT_SECONDS, ends - time.monotonic()))
        super().__init__(host, port, timeout=seconds, **options)
        if self.sock is not None:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wait_no_longer(self) -> None:
        """Give the socket the time that is left; raises TimeoutError where none is."""
        seconds = self.ends - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the time is over")
        if self.sock is not None:
            self.sock.settimeout(seconds)

    def send(self, s: Any) -> None:
        """Send within the time."""
        self.wait_no_longer()
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        """Read one answer within the time."""
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(_Answers(self, self.sock))
        return super().getreply()


class _BoundedTls(_Bounded, smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""


class _Answers(io.RawIOBase):
    """What the server sends, each wait within the time that is left."""

    def __init__(self, smtp: _Bounded, sock: socket.socket) -> None:
        super().__init__()
        self._smtp, self._sock = smtp, sock

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for some bytes."""
        self._smtp.wait_no_longer()
        return self._sock.recv_into(buffer)


@cache
def _tls(_certificates: str | None) -> ssl.SSLContext:
    """Read whom to trust, once for all connections: that takes longer than a handshake. Another file is read anew."""
    return ssl.create_default_context()


def _connect(url: str, ends: float) -> _Bounded:
    """Open, secure and log in."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError("not an SMTP address")
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    if parts.scheme == "smtps":
        smtp: _Bounded = _BoundedTls(parts.hostname, port, ends, context=_tls(os.environ.get("SSL_CERT_FILE")))
    else:
        smtp = _Bounded(parts.hostname, port, ends)
    try:
        smtp.ehlo_or_helo_if_needed()
        if parts.scheme == "smtp" and smtp.has_extn("starttls"):
            smtp.starttls(context=_tls(os.environ.get("SSL_CERT_FILE")))
            smtp.ehlo()
        elif parts.scheme == "smtp" and parts.username and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("the server offers no TLS, so the password is not sent")
        if parts.username:
            smtp.login(unquote(parts.username), unquote(parts.password or ""))
    except BaseException:
        smtp.close()
        raise
    return smtp

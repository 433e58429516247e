"""Email through any SMTP server (RFC 5321), for who has one: a connection per window, one message after the other."""

import smtplib
import ssl
import time
from collections.abc import Sequence
from datetime import datetime
from email.errors import MessageError
from urllib.parse import unquote, urlsplit
from uuid import UUID

from pydantic import SecretStr

from campaigns.providers.base import EmailEnvelope, LookUp, Outcome, Receipt, Search
from campaigns.providers.email_bytes import WrittenEmail, write
from campaigns.providers.lanes import Lanes, StopLanesError
from campaigns.providers.transport import DeadlinePassedError, MaybeSentError, NotSentError, safe_detail
from outreach.vocabulary import Channel

CONNECT_SECONDS = 10.0
DEFAULT_PORTS = {"smtp": 587, "smtps": 465}


class RepliedError(Exception):
    """The server answered a command with a refusal; of us (`of_sender`), or of this message."""

    def __init__(self, code: int, words: bytes, *, of_sender: bool = False) -> None:
        super().__init__(code)
        self.of_sender = of_sender
        self.code = code
        self.words = words.decode(errors="replace")


class Smtp:
    """Sends email over SMTP. STARTTLS is used wherever offered, and demanded before a password is sent."""

    name = "smtp"
    channel = Channel.EMAIL
    messages_per_call = 1

    def __init__(self, *, url: SecretStr | None, timeout_seconds: float = 20, window: int = 100) -> None:
        self.window = window
        self._url = url.get_secret_value() if url else ""
        self._timeout_seconds = timeout_seconds
        self._lanes: Lanes[EmailEnvelope] = Lanes(self.name, 1)

    def send(self, envelopes: Sequence[EmailEnvelope], *, deadline: float) -> list[Receipt]:
        """Send each envelope over one connection; one receipt per envelope, in order."""
        session = _Session(self._url, self._timeout_seconds, deadline)
        try:
            found = self._lanes.run([[e] for e in envelopes], lambda group, call: [session.send(group[0], call)])
        finally:
            session.quit()
        return [receipt for receipts in found for receipt in receipts]

    def look_up(self, message_id: UUID, to: str, since: datetime, body: str | None = None) -> LookUp:  # noqa: ARG002
        """Say that SMTP has no search."""
        return LookUp(Search.UNABLE, detail="SMTP offers no search.")

    def check(self) -> list[str]:
        """Return what is wrong with the settings."""
        if not self._url:
            return ["OUTREACH_SMTP_URL is not set: email cannot be sent."]
        try:
            parts = urlsplit(self._url)
            usable = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        return [] if usable else ["OUTREACH_SMTP_URL must look like smtp://user:password@host:587 or smtps://…"]

    def close(self) -> None:
        """Let the thread go; connections end with each window."""
        self._lanes.close()


class _Session:
    """One connection, opened when needed, opened again after it broke between two messages."""

    def __init__(self, url: str, timeout_seconds: float, deadline: float) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._deadline = deadline
        self._smtp: smtplib.SMTP | None = None

    def send(self, envelope: EmailEnvelope, call: int) -> Receipt:
        """Hand over one message; raises NotSentError where the server cannot be reached at all."""
        try:
            written = write(envelope)
        except (MessageError, ValueError, IndexError) as error:
            detail = f"the message cannot be written ({type(error).__name__}): look at its addresses"
            return Receipt(envelope.message_id, Outcome.REJECTED, detail=detail)
        smtp = self._connected()
        if written.international and not smtp.has_extn("smtputf8"):
            return Receipt(envelope.message_id, Outcome.REJECTED, detail="the server takes no international addresses")
        try:
            self._announce(smtp, written)
        except RepliedError as error:
            return self._refusal(smtp, envelope, error, call)
        except (smtplib.SMTPException, OSError) as error:
            self._drop()  # the next message opens another
            detail = f"connection lost before the message ({type(error).__name__})"
            return Receipt(envelope.message_id, Outcome.REFUSED, detail=detail, call=call)
        try:
            # From here on the server may have it, whatever happens to the connection.
            smtp.send(written.payload.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            code, words = smtp.getreply()
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            raise MaybeSentError(f"connection lost after the message ({type(error).__name__})") from error
        if code == 250:
            return Receipt(envelope.message_id, Outcome.ACCEPTED, str(envelope.message_id), code, call=call)
        return self._refusal(smtp, envelope, RepliedError(code, words), call)

    def quit(self) -> None:
        """End the connection politely."""
        if self._smtp is not None:
            try:
                self._smtp.quit()
            except (smtplib.SMTPException, OSError):
                self._drop()

    def _connected(self) -> smtplib.SMTP:
        seconds = min(self._timeout_seconds, self._deadline - time.monotonic())
        if seconds <= 0:
            raise DeadlinePassedError("the deadline passed before the call")
        if self._smtp is None:
            try:
                self._smtp = _connect(self._url, min(CONNECT_SECONDS, seconds))
            except (smtplib.SMTPException, OSError, ValueError) as error:
                raise NotSentError(f"no connection ({type(error).__name__})") from error
        if self._smtp.sock is not None:
            self._smtp.sock.settimeout(seconds)
        return self._smtp

    def _announce(self, smtp: smtplib.SMTP, written: WrittenEmail) -> None:
        options = ["SMTPUTF8", "BODY=8BITMIME"] if written.international else []
        code, words = smtp.mail(written.sender, options)
        if code != 250:
            raise RepliedError(code, words, of_sender=True)
        code, words = smtp.rcpt(written.recipient)
        if code not in {250, 251}:
            raise RepliedError(code, words)
        code, words = smtp.docmd("DATA")
        if code != 354:
            raise RepliedError(code, words)

    def _refusal(self, smtp: smtplib.SMTP, envelope: EmailEnvelope, error: RepliedError, call: int) -> Receipt:
        """5yz is for good, 4yz may be tried again (RFC 5321, 4.2.1).

        A refusal of the sender (530: log in first) is a setting: the message may go once it is mended.
        """
        permanent = 500 <= error.code < 600 and not error.of_sender
        transient = 400 <= error.code < 500 or error.of_sender
        outcome = Outcome.REJECTED if permanent else Outcome.REFUSED if transient else Outcome.UNKNOWN
        receipt = Receipt(
            envelope.message_id,
            outcome,
            status_code=error.code if error.code > 0 else None,
            detail=safe_detail(f"{error.code}: {error.words}"),
            retry_after_seconds=60.0 if transient else None,
            call=call,
        )
        if error.code == 421 or not (permanent or transient):
            self._drop()
        else:
            try:
                smtp.rset()
            except (smtplib.SMTPException, OSError):
                self._drop()
        if error.code == 421 or error.of_sender:
            raise StopLanesError([receipt])
        return receipt

    def _drop(self) -> None:
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None


def _connect(url: str, seconds: float) -> smtplib.SMTP:
    """Open, secure and log in."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError("not an SMTP address")
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    context = ssl.create_default_context()
    if parts.scheme == "smtps":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(parts.hostname, port, timeout=seconds, context=context)
    else:
        smtp = smtplib.SMTP(parts.hostname, port, timeout=seconds)
    try:
        smtp.ehlo_or_helo_if_needed()
        if parts.scheme == "smtp" and smtp.has_extn("starttls"):
            smtp.starttls(context=context)
            smtp.ehlo()
        elif parts.scheme == "smtp" and parts.username and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("the server offers no TLS, so the password is not sent")
        if parts.username:
            smtp.login(unquote(parts.username), unquote(parts.password or ""))
    except BaseException:
        smtp.close()
        raise
    return smtp

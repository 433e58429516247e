"""Email through any SMTP server (RFC 5321): a few connections at once, which stay open between windows."""

import time
from collections.abc import Sequence
from datetime import datetime
from email.errors import MessageError
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import SecretStr

from campaigns.providers.base import EmailEnvelope, LookUp, Outcome, Receipt, Search
from campaigns.providers.email_bytes import WrittenEmail, write
from campaigns.providers.lanes import Lanes, StopLanesError
from campaigns.providers.smtp_connections import Connections
from campaigns.providers.smtp_session import DEFAULT_PORTS, LostError, RepliedError, Session
from campaigns.providers.transport import DeadlinePassedError, safe_detail
from outreach.vocabulary import Channel


class Smtp:
    """Sends email over SMTP. STARTTLS is used wherever offered, and demanded before a password is sent."""

    name = "smtp"
    channel = Channel.EMAIL
    messages_per_call = 1

    def __init__(
        self, *, url: SecretStr | None, connections: int = 8, timeout_seconds: float = 20, window: int = 100
    ) -> None:
        self.window = window
        self._url = url.get_secret_value() if url else ""
        self._timeout_seconds = timeout_seconds
        self._lanes: Lanes[EmailEnvelope] = Lanes(self.name, connections, timeout_seconds=timeout_seconds)
        self._connections = Connections(self._url, connections)

    def send(self, envelopes: Sequence[EmailEnvelope], *, deadline: float) -> list[Receipt]:
        """Send each envelope over one of the connections; one receipt per envelope, in order."""
        groups = [[envelope] for envelope in envelopes]
        found = self._lanes.run(groups, lambda group, call: [self._send(group[0], call, deadline)], deadline=deadline)
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
        """Let the threads and the connections go."""
        self._lanes.close()
        self._connections.close()

    def _send(self, envelope: EmailEnvelope, call: int, deadline: float) -> Receipt:
        """Hand over one message; raises NotSentError where the server cannot be reached at all."""
        try:
            message = write(envelope)
        except (MessageError, ValueError, IndexError) as error:
            detail = f"the message cannot be written ({type(error).__name__}): look at its addresses"
            return Receipt(envelope.message_id, Outcome.REJECTED, detail=detail)
        anew = False
        while True:
            session = self._connections.take(self._ends(deadline), anew=anew)
            used = not session.fresh
            try:
                return self._deliver(session, message, envelope.message_id, call, deadline)
            except LostError as error:
                if error.begun or not used or anew:  # else nothing was sent, and a new connection may do
                    return Receipt(envelope.message_id, Outcome.REFUSED, detail=str(error), call=call)
            finally:
                self._connections.give_back(session)
            anew = True

    def _deliver(
        self, session: Session, message: WrittenEmail, message_id: UUID, call: int, deadline: float
    ) -> Receipt:
        if message.international and not session.takes_international_addresses():
            return Receipt(message_id, Outcome.REJECTED, detail="the server takes no international addresses")
        used, ends = not session.fresh, self._ends(deadline)
        try:
            session.deliver(message, ends)
        except RepliedError as error:
            if error.code == 421 and error.of_sender and used:
                # So ends a connection that was idle for too long, or that had as many messages as the server takes.
                session.close()
                raise LostError("421", begun=False) from error
            return self._refusal(session, message_id, error, call, ends)
        return Receipt(message_id, Outcome.ACCEPTED, str(message_id), 250, call=call)

    def _refusal(self, session: Session, message_id: UUID, error: RepliedError, call: int, ends: float) -> Receipt:
        """5yz is for good, 4yz may be tried again (RFC 5321, 4.2.1).

        A refusal of the sender (530: log in first) is a setting: the message may go once it is mended.
        """
        permanent = 500 <= error.code < 600 and not error.of_sender
        transient = 400 <= error.code < 500 or error.of_sender
        outcome = Outcome.REJECTED if permanent else Outcome.REFUSED if transient else Outcome.UNKNOWN
        receipt = Receipt(
            message_id,
            outcome,
            status_code=error.code if error.code > 0 else None,
            detail=safe_detail(f"{error.code}: {error.words}"),
            retry_after_seconds=60.0 if transient else None,
            call=call,
        )
        if error.code == 421 or not (permanent or transient):
            session.close()
        elif session.is_open:
            session.start_over(ends)
        if error.code == 421 or error.of_sender:
            raise StopLanesError([receipt])
        return receipt

    def _ends(self, deadline: float) -> float:
        """Return the moment (monotonic) until which one step may take; raises DeadlinePassedError."""
        now = time.monotonic()
        if now >= deadline:
            raise DeadlinePassedError("the deadline passed before the call")
        return min(deadline, now + self._timeout_seconds)

"""SMTP against a real server: what it accepts, refuses, and drops."""

import asyncio
import email as email_package
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from pydantic import SecretStr

from campaigns.providers.base import Outcome, Receipt, Search
from campaigns.providers.smtp import Smtp
from tests.campaigns.providers.cases import PRIVATE, email, message_id, smtp
from tests.campaigns.providers.test_email_bytes import LINK
from tests.outreach.test_safe_http import certificate_for


class Server:
    """A mail server with a behaviour per recipient (by the number in the address)."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.at_sender = ""
        self.asked = 0
        self.peers: set[Any] = set()
        self.at_recipient: dict[int, str] = {}
        self.after_data: dict[int, str] = {}
        self.drop_after_data: set[int] = set()
        self.hang_after_data: set[int] = set()

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.asked += 1
        if self.at_sender:
            return self.at_sender
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.peers.add(session.peer)
        refusal = self.at_recipient.get(number(address))
        if refusal == "drop":
            assert server.transport is not None
            server.transport.close()
            return "421 gone"
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        n = number(envelope.rcpt_tos[0])
        if n in self.after_data:
            return self.after_data[n]
        assert isinstance(envelope.content, bytes)
        self.messages.append(envelope.content)
        if n in self.drop_after_data:
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
        if n in self.hang_after_data:
            await asyncio.sleep(1.0)
        return "250 OK"


def number(address: str) -> int:
    """The n of cases.email."""
    return int(address.partition("@")[0].rpartition(".")[2])


@contextmanager
def running(server: Server, **options: Any) -> Iterator[int]:
    """Serve on a free port."""
    controller = Controller(server, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def send(server: Server, count: int, seconds: float = 2, **changes: Any) -> list[Receipt]:
    """Send `count` emails to a server."""
    with running(server) as port:
        provider = smtp(port, seconds)
        receipts = provider.send([email(n, **changes) for n in range(count)], deadline=time.monotonic() + 8)
        provider.close()
    assert [r.message_id for r in receipts] == [message_id(n) for n in range(count)]
    return receipts


def test_with_one_connection_a_window_travels_in_order() -> None:
    server = Server()
    receipts = send(server, 5)
    assert [r.outcome for r in receipts] == [Outcome.ACCEPTED] * 5
    assert len(server.peers) == 1
    assert len(server.messages) == 5


def test_the_message_carries_our_id_both_texts_and_the_headers() -> None:
    server = Server()
    send(server, 1, to_name="María", subject="Ünïcode", text=".dot\nline")
    message = email_package.message_from_bytes(server.messages[0], policy=policy.default)
    assert message["X-Outreach-Message"] == str(message_id(0))
    assert message["Message-ID"] == f"<{message_id(0)}@example.com>"
    assert message["List-Unsubscribe"] == "<https://example.com/u/0>"
    assert message["Subject"] == "Ünïcode"
    assert message["Reply-To"] == "r0@reply.example.com"
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().splitlines() == [".dot", "line"]
    assert html.get_content().rstrip() == email(0).html


def test_the_link_to_unsubscribe_arrives_whole_on_one_line() -> None:
    server = Server()
    headers = {"List-Unsubscribe": f"<{LINK}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    send(server, 1, headers=headers)
    assert f"\r\nList-Unsubscribe: <{LINK}>\r\n".encode() in server.messages[0]
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in server.messages[0]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_it_logs_in_over_tls_once_for_many_windows(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificate_for("localhost", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    logins: list[Any] = []

    def log_in(server: SMTP, session: Session, envelope: Envelope, mechanism: str, words: Any) -> AuthResult:
        logins.append((session.ssl is not None or scheme == "smtps", words.login, words.password))
        return AuthResult(success=True)

    server = Server()
    tls = {"ssl_context": context} if scheme == "smtps" else {"tls_context": context}
    with running(server, authenticator=log_in, auth_require_tls=scheme == "smtp", **tls) as port:
        provider = Smtp(url=SecretStr(f"{scheme}://user:pass%40word@localhost:{port}"), connections=1)
        for n in range(3):
            (receipt,) = provider.send([email(n)], deadline=time.monotonic() + 5)
            assert receipt.outcome is Outcome.ACCEPTED
        provider.close()
    assert logins == [(True, b"user", b"pass@word")]
    assert len(server.messages) == 3


def test_each_recipient_has_her_own_outcome() -> None:
    server = Server()
    server.at_recipient = {1: "550 5.1.1 no such user", 2: "451 4.3.0 try later"}
    server.after_data = {3: "554 5.7.1 looks like spam", 4: "452 4.3.1 full"}
    receipts = send(server, 6)
    assert [r.outcome for r in receipts] == [
        Outcome.ACCEPTED,
        Outcome.REJECTED,
        Outcome.REFUSED,
        Outcome.REJECTED,
        Outcome.REFUSED,
        Outcome.ACCEPTED,
    ]
    assert [r.status_code for r in receipts] == [250, 550, 451, 554, 452, 250]


@pytest.mark.parametrize("reply", ["530 5.7.0 log in first", "421 4.3.2 closing", "550 5.7.1 sender not allowed"])
def test_a_server_that_refuses_us_rejects_nobody_and_is_asked_once(reply: str) -> None:
    server = Server()
    server.at_sender = reply
    receipts = send(server, 5)
    assert {r.outcome for r in receipts} == {Outcome.REFUSED}
    assert server.asked == 1


def test_a_connection_dropped_after_the_message_is_unknown_and_the_rest_goes_on() -> None:
    server = Server()
    server.drop_after_data = {1}
    receipts = send(server, 3)
    assert [r.outcome for r in receipts] == [Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.ACCEPTED]
    assert len(server.messages) == 3


def test_a_connection_dropped_before_the_message_is_refused_and_the_rest_goes_on() -> None:
    server = Server()
    server.at_recipient = {1: "drop"}
    receipts = send(server, 3)
    assert [r.outcome for r in receipts] == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED]


def test_no_answer_after_the_message_is_unknown() -> None:
    server = Server()
    server.hang_after_data = {0}
    (receipt,) = send(server, 1, seconds=0.3)
    assert receipt.outcome is Outcome.UNKNOWN


def test_a_refused_connection_is_refused_for_all() -> None:
    provider = smtp(free_port())
    receipts = provider.send([email(n) for n in range(4)], deadline=time.monotonic() + 5)
    provider.close()
    assert {r.outcome for r in receipts} == {Outcome.REFUSED}
    assert len(receipts) == 4


def test_past_the_deadline_nothing_is_sent() -> None:
    server = Server()
    with running(server) as port:
        provider = smtp(port)
        receipts = provider.send([email(n) for n in range(3)], deadline=time.monotonic() - 1)
        provider.close()
    assert {r.outcome for r in receipts} == {Outcome.REFUSED}
    assert server.messages == []


def test_an_address_that_cannot_be_written_is_rejected_alone() -> None:
    server = Server()
    with running(server) as port:
        provider = smtp(port)
        receipts = provider.send([email(0), email(1, to="not an address@@x"), email(2)], deadline=time.monotonic() + 5)
        provider.close()
    assert [r.outcome for r in receipts] == [Outcome.ACCEPTED, Outcome.REJECTED, Outcome.ACCEPTED]


def test_the_password_and_the_addresses_are_in_no_log_and_no_receipt(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = Server()
    server.at_recipient = {0: f"550 <{PRIVATE}.0@example.org> unknown"}
    with running(server) as port:
        provider = Smtp(url=SecretStr(f"smtp://user:canary-password@127.0.0.1:{port}"), timeout_seconds=1)
        plain = smtp(port)
        with structlog.testing.capture_logs() as logs:
            refused = provider.send([email(0)], deadline=time.monotonic() + 5)
            rejected = plain.send([email(0)], deadline=time.monotonic() + 5)
        provider.close()
        plain.close()
    shown = repr(logs) + "".join(r.message for r in caplog.records if r.name != "mail.log")
    shown += repr(refused) + repr(rejected) + repr(provider)
    assert refused[0].outcome is Outcome.REFUSED  # the server offers no login
    assert rejected[0].outcome is Outcome.REJECTED
    assert "canary-password" not in shown
    assert PRIVATE not in shown


def test_smtp_has_no_search_and_check_names_the_setting() -> None:
    provider = Smtp(url=None)
    assert provider.look_up(message_id(0), "a", None).search is Search.UNABLE  # type: ignore[arg-type]
    assert "OUTREACH_SMTP_URL" in provider.check()[0]
    provider.close()
    for bad in ("mail.example.com", "http://x", "smtp://host:99999999"):
        odd = Smtp(url=SecretStr(bad))
        assert "OUTREACH_SMTP_URL" in odd.check()[0]
        odd.close()

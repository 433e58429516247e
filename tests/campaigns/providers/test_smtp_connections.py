"""Several connections to one mail server: at once, kept, replaced where they died, and what goes in one piece."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from campaigns.providers import smtp_connections
from campaigns.providers.base import Outcome, Receipt
from campaigns.providers.smtp import Smtp
from tests.campaigns.providers.cases import email, message_id, smtp
from tests.campaigns.providers.mail_wire import CUT, MailWire, mail_server

ACCEPTED, REFUSED, REJECTED, UNKNOWN = Outcome.ACCEPTED, Outcome.REFUSED, Outcome.REJECTED, Outcome.UNKNOWN


@contextmanager
def sending(wire: MailWire, connections: int = 1, seconds: float = 2) -> Iterator[Smtp]:
    """The adapter, pointed at a server."""
    with mail_server(wire):
        provider = smtp(wire.port, seconds, connections)
        try:
            yield provider
        finally:
            provider.close()


def send(provider: Smtp, *numbers: int, seconds: float = 8, **changes: Any) -> list[Receipt]:
    """Send these emails as one window."""
    receipts = provider.send([email(n, **changes) for n in numbers], deadline=time.monotonic() + seconds)
    assert [r.message_id for r in receipts] == [message_id(n) for n in numbers]
    return receipts


def outcomes(receipts: list[Receipt]) -> list[Outcome]:
    """What happened to each."""
    return [r.outcome for r in receipts]


def to(n: int) -> str:
    """The command that names a recipient."""
    return f"RCPT TO:<{email(n).to}>"


# --- How many, and for how long -------------------------------------------------------------------------------------


def test_a_window_travels_over_several_connections_at_once() -> None:
    wire = MailWire(delay_seconds=0.05)
    with sending(wire, connections=8) as provider:
        started = time.monotonic()
        assert set(outcomes(send(provider, *range(40)))) == {ACCEPTED}
        took = time.monotonic() - started
    assert wire.connections == 8
    assert len(wire.messages) == 40
    assert took < 40 * 4 * 0.05 / 2  # one after the other they would take eight seconds


def test_there_are_never_more_connections_than_messages() -> None:
    wire = MailWire(delay_seconds=0.01)
    with sending(wire, connections=8) as provider:
        send(provider, *range(3))
    assert wire.connections <= 3


def test_connections_stay_open_between_windows_and_end_with_the_adapter() -> None:
    wire = MailWire()
    with sending(wire) as provider:
        for n in range(5):
            assert outcomes(send(provider, n)) == [ACCEPTED]
        assert wire.connections == 1
        assert "QUIT" not in wire.commands
        assert "NOOP" not in wire.commands
        provider.close()
        assert wire.commands[-1] == "QUIT"


def test_an_idle_connection_is_asked_whether_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_connections, "CHECK_AFTER_SECONDS", 0.0)
    wire = MailWire()
    with sending(wire) as provider:
        send(provider, 0)
        send(provider, 1)
        assert wire.commands.count("NOOP") == 1
        assert wire.connections == 1
        wire.once = {"NOOP": "421 closing"}
        assert outcomes(send(provider, 2)) == [ACCEPTED]
        assert wire.connections == 2


def test_a_connection_that_was_idle_for_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_connections, "KEEP_SECONDS", 0.05)
    wire = MailWire()
    with sending(wire) as provider:
        send(provider, 0)
        time.sleep(0.1)
        send(provider, 1)
    assert wire.connections == 2
    assert "NOOP" not in wire.commands


def test_after_a_fork_the_parents_connection_is_left_alone() -> None:
    wire = MailWire()
    with sending(wire) as provider:
        send(provider, 0)
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if outcomes(send(provider, 1)) == [ACCEPTED] else 2
                provider.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert wire.connections == 2
        assert outcomes(send(provider, 2)) == [ACCEPTED]
        assert wire.connections == 2  # the parent's own still lives


def test_a_server_that_takes_few_connections_gets_all_messages_over_those() -> None:
    wire = MailWire(most_connections=2, delay_seconds=0.02)
    with sending(wire, connections=6) as provider:
        assert set(outcomes(send(provider, *range(30)))) == {ACCEPTED}
        asked = wire.turned_away
        assert 0 < asked <= 6
        assert set(outcomes(send(provider, *range(30, 60)))) == {ACCEPTED}
        assert wire.turned_away == asked  # it is not asked for more again and again
    assert wire.connections == 2


def test_a_server_that_takes_no_connection_refuses_all() -> None:
    wire = MailWire(most_connections=0)
    with sending(wire, connections=4) as provider:
        assert set(outcomes(send(provider, *range(20)))) == {REFUSED}
    assert wire.turned_away <= 8


def test_what_holds_for_all_stops_the_other_connections() -> None:
    wire = MailWire(answers={"MAIL": "530 5.7.0 log in first"}, delay_seconds=0.01)
    with sending(wire, connections=4) as provider:
        assert set(outcomes(send(provider, *range(40)))) == {REFUSED}
    assert sum(command.startswith("MAIL") for command in wire.commands) <= 8


# --- Dead connections -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("words", [b"", b"421 4.4.2 idle for too long\r\n"])
def test_a_connection_that_died_while_idle_is_replaced_at_once(pipelining: bool, words: bytes) -> None:
    wire = MailWire(pipelining=pipelining)
    with sending(wire) as provider:
        send(provider, 0)
        wire.end_all(words)
        assert outcomes(send(provider, 1, 2)) == [ACCEPTED, ACCEPTED]
    assert wire.connections == 2
    assert len(wire.messages) == 3


def test_a_connection_that_had_no_message_yet_is_replaced_too() -> None:
    wire = MailWire(international=False)
    with sending(wire) as provider:
        assert outcomes(send(provider, 0, to="josé.0@exämple.org")) == [REJECTED]
        wire.end_all()
        assert outcomes(send(provider, 1)) == [ACCEPTED]


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_server_that_ends_the_connection_after_some_messages_gets_the_rest_over_another(pipelining: bool) -> None:
    wire = MailWire(pipelining=pipelining)
    with sending(wire) as provider:
        send(provider, 0)
        wire.once = {"MAIL": "421 4.7.0 too many messages on this connection"}
        assert outcomes(send(provider, 1, 2)) == [ACCEPTED, ACCEPTED]
    assert wire.connections == 2


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_new_connection_that_dies_before_the_message_is_refused_and_not_tried_again(pipelining: bool) -> None:
    wire = MailWire(pipelining=pipelining, answers={"MAIL": CUT})
    with sending(wire) as provider:
        assert outcomes(send(provider, 0)) == [REFUSED]
    assert wire.connections == 1


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("command", ["RCPT", "DATA"])
def test_a_connection_that_dies_between_the_commands_is_refused(pipelining: bool, command: str) -> None:
    wire = MailWire(pipelining=pipelining)
    with sending(wire) as provider:
        send(provider, 0)
        wire.once = {command: CUT}
        assert outcomes(send(provider, 1, 2)) == [REFUSED, ACCEPTED]
    assert len(wire.messages) == 2


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_connection_that_dies_after_the_words_is_unknown_and_nothing_is_sent_twice(pipelining: bool) -> None:
    wire = MailWire(pipelining=pipelining)
    with sending(wire) as provider:
        send(provider, 0)
        wire.once = {".": CUT}
        assert outcomes(send(provider, 1, 2)) == [UNKNOWN, ACCEPTED]
    assert len(wire.messages) == 3


# --- In one piece ---------------------------------------------------------------------------------------------------


def test_the_commands_go_in_one_piece_and_the_words_only_after_the_answers() -> None:
    wire = MailWire()
    with sending(wire) as provider:
        send(provider, 0)
        commands = f"MAIL FROM:<care@example.com>\r\n{to(0)}\r\nDATA\r\n".encode()
        assert commands in wire.arrived
        assert wire.arrived[wire.arrived.index(commands) + 1].startswith(b"From: ")


def test_without_pipelining_each_command_waits_for_its_answer() -> None:
    wire = MailWire(pipelining=False)
    with sending(wire) as provider:
        send(provider, 0)
        assert wire.arrived[1:4] == [b"MAIL FROM:<care@example.com>\r\n", f"{to(0)}\r\n".encode(), b"DATA\r\n"]


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("go_on", ["354 go on", "503 no recipients"])
def test_a_refused_recipient_gets_nothing_whatever_the_server_says_to_data(pipelining: bool, go_on: str) -> None:
    wire = MailWire(pipelining=pipelining)
    with sending(wire) as provider:
        wire.once = (
            {to(1): "550 5.1.1 no such user", "DATA": go_on} if pipelining else {to(1): "550 5.1.1 no such user"}
        )
        receipts = send(provider, 1, 2)
    assert outcomes(receipts) == [REJECTED, ACCEPTED]
    assert receipts[0].status_code == 550
    assert len(wire.messages) == 1
    assert wire.undelivered == ([b"."] if pipelining and go_on.startswith("354") else [])
    assert wire.connections == 1
    assert "RSET" in wire.commands


def test_a_refused_sender_ends_the_connection_that_waits_for_words_to_a_recipient() -> None:
    wire = MailWire(answers={"MAIL": "550 5.7.1 sender not allowed", "DATA": "354 go on"})
    with sending(wire) as provider:
        assert outcomes(send(provider, 0)) == [REFUSED]
    assert wire.messages == []
    assert wire.undelivered == []
    assert "." not in wire.commands


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
@pytest.mark.parametrize("answer", ["451 4.3.0 later", "250-unfinished", "nonsense", "299 what"])
def test_no_words_are_sent_before_all_three_answers_are_good(command: str, answer: str) -> None:
    wire = MailWire(answers={command: answer})
    with sending(wire, seconds=0.5) as provider:
        (receipt,) = send(provider, 0)
    assert receipt.outcome in {REFUSED, UNKNOWN}
    assert wire.messages == []
    assert b"About your order" not in b"".join(wire.arrived)


def test_a_refusal_of_the_words_is_no_refusal_of_us() -> None:
    wire = MailWire(once={".": "554 5.7.1 looks like spam", "DATA": "451 4.3.0 later"})
    with sending(wire) as provider:
        assert outcomes(send(provider, 0, 1, 2)) == [REFUSED, REJECTED, ACCEPTED]
    assert wire.connections == 1


def test_lines_that_begin_with_a_dot_arrive_with_it() -> None:
    wire = MailWire()
    with sending(wire) as provider:
        send(provider, 0, text=".a\n..b\n.")
        assert b"\r\n..a\r\n...b\r\n=2E\r\n" in wire.messages[0]


def test_an_international_address_travels_with_its_options() -> None:
    wire = MailWire()
    with sending(wire) as provider:
        assert outcomes(send(provider, 0, to="josé.0@exämple.org")) == [ACCEPTED]
    sent = b"".join(wire.arrived)
    assert b"MAIL FROM:<care@example.com> SMTPUTF8 BODY=8BITMIME\r\n" in sent
    assert "RCPT TO:<josé.0@exämple.org>\r\n".encode() in sent


# --- Time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipelining", [True, False])
def test_the_deadline_bounds_a_server_that_answers_byte_by_byte(pipelining: bool) -> None:
    wire = MailWire(pipelining=pipelining)
    with sending(wire, seconds=30) as provider:
        send(provider, 0)
        wire.drip_seconds = 0.2
        started = time.monotonic()
        (receipt,) = send(provider, 1, seconds=0.6)
        took = time.monotonic() - started
    assert receipt.outcome is REFUSED
    assert took < 4


def test_the_deadline_bounds_the_wait_for_a_free_connection() -> None:
    wire = MailWire(most_connections=1, delay_seconds=0.3)
    with sending(wire, connections=3, seconds=30) as provider:
        started = time.monotonic()
        receipts = send(provider, *range(6), seconds=2.0)
        took = time.monotonic() - started
    assert ACCEPTED in outcomes(receipts)
    assert REFUSED in outcomes(receipts)
    assert took < 5


def test_the_wait_for_a_connection_that_another_window_has_ends_at_the_deadline() -> None:
    wire = MailWire(most_connections=1)
    with sending(wire, connections=2, seconds=30) as provider, ThreadPoolExecutor(1) as other:
        send(provider, 0)
        wire.delay_seconds = 0.5
        long = other.submit(send, provider, 1)
        wait_for_commands(wire, "MAIL", 2)
        started = time.monotonic()
        assert outcomes(send(provider, 2, seconds=0.3)) == [REFUSED]
        assert time.monotonic() - started < 1.4
        assert outcomes(long.result()) == [ACCEPTED]


def test_past_the_deadline_an_open_connection_is_neither_used_nor_lost() -> None:
    wire = MailWire()
    with sending(wire) as provider:
        send(provider, 0)
        said = len(wire.commands)
        (receipt,) = send(provider, 1, seconds=-1)
        assert (receipt.outcome, receipt.call) == (REFUSED, None)
        assert len(wire.commands) == said
        assert outcomes(send(provider, 2)) == [ACCEPTED]
    assert wire.connections == 1


def test_a_server_that_does_not_answer_is_tried_once_more_not_over_all_connections() -> None:
    wire = MailWire(delay_seconds=0.02)
    with sending(wire, connections=4, seconds=0.3) as provider:
        send(provider, *range(8))
        assert wire.connections > 2
        said = len(wire.commands)
        wire.delay_seconds = 1.0
        assert outcomes(send(provider, 8)) == [REFUSED]
        assert sum(command.startswith("MAIL") for command in wire.commands[said:]) <= 2


def test_where_all_idle_connections_died_a_new_one_is_opened_at_once() -> None:
    wire = MailWire(delay_seconds=0.02)
    with sending(wire, connections=4) as provider:
        send(provider, *range(8))
        before = wire.connections
        assert before > 2
        wire.end_all()
        assert outcomes(send(provider, 8)) == [ACCEPTED]
        assert wire.connections == before + 1


def wait_for_commands(wire: MailWire, beginning: str, count: int) -> None:
    """Wait until so many such commands came in."""
    ends = time.monotonic() + 5
    while sum(command.startswith(beginning) for command in wire.commands) < count:
        assert time.monotonic() < ends
        time.sleep(0.01)

"""What every HTTP adapter must do, against a real server that misbehaves."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from campaigns.circuits import is_trouble
from campaigns.providers.base import Outcome, Search
from tests.campaigns.providers.cases import HTTP_CASES, PRIVATE, SECRET, Case, message_id
from tests.campaigns.providers.wire import HANGS_SECONDS, Wire, http_server


@pytest.fixture(params=HTTP_CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Each adapter in turn."""
    found: Case = request.param
    return found


@pytest.fixture
def wire(case: Case) -> Iterator[Wire]:
    """Its provider."""
    with http_server(case.answers) as running:
        yield running


@pytest.fixture
def provider(case: Case, wire: Wire) -> Iterator[Any]:
    """The adapter, pointed at it."""
    made = case.make(wire.url, 1.0)
    yield made
    made.close()


def soon(seconds: float = 10) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def outcomes(receipts: list[Any]) -> set[Outcome]:
    """The outcomes that occur."""
    return {r.outcome for r in receipts}


def test_receipts_come_in_the_order_of_the_envelopes(case: Case, provider: Any) -> None:
    envelopes = [case.envelope(n) for n in range(23)]
    receipts = provider.send(envelopes, deadline=soon())
    assert [r.message_id for r in receipts] == [e.message_id for e in envelopes]
    assert outcomes(receipts) == {Outcome.ACCEPTED}
    assert all(r.provider_id for r in receipts)


def test_nothing_to_send_makes_no_call(provider: Any, wire: Wire) -> None:
    assert provider.send([], deadline=soon()) == []
    assert wire.calls == []


def test_our_id_travels_with_every_message(case: Case, provider: Any, wire: Wire) -> None:
    provider.send([case.envelope(n) for n in range(9)], deadline=soon())
    sent = b"".join(call.body for call in wire.calls)
    assert all(str(message_id(n)).encode() in sent for n in range(9))


def test_a_permanent_refusal_is_rejected(case: Case, provider: Any, wire: Wire) -> None:
    wire.behaviour = "reject"
    receipts = provider.send([case.envelope(n) for n in range(6)], deadline=soon())
    assert outcomes(receipts) == {Outcome.REJECTED}
    assert len(receipts) == 6


def test_one_bad_message_does_not_stop_the_rest(case: Case, provider: Any, wire: Wire) -> None:
    wire.refuse_where = str(message_id(5)).encode()
    receipts = provider.send([case.envelope(n) for n in range(11)], deadline=soon())
    assert [r.message_id for r in receipts if r.outcome is Outcome.REJECTED] == [message_id(5)]
    assert sum(r.outcome is Outcome.ACCEPTED for r in receipts) == 10


def test_a_rate_limit_is_refused_with_its_wait_and_spares_the_rest(case: Case, provider: Any, wire: Wire) -> None:
    wire.behaviour = "rate"
    receipts = provider.send([case.envelope(n) for n in range(40)], deadline=soon())
    assert outcomes(receipts) == {Outcome.REFUSED}
    assert {r.retry_after_seconds for r in receipts} == {7.0}
    # Four lanes may have been on their way when the first answer came.
    assert len(wire.calls) <= 8


def test_a_server_error_is_unknown(case: Case, provider: Any, wire: Wire) -> None:
    wire.behaviour = "error"
    receipts = provider.send([case.envelope(n) for n in range(6)], deadline=soon())
    assert outcomes(receipts) == {Outcome.UNKNOWN}


def test_an_unreadable_success_is_unknown(case: Case, provider: Any, wire: Wire) -> None:
    wire.behaviour = "unreadable"
    assert outcomes(provider.send([case.envelope()], deadline=soon())) == {Outcome.UNKNOWN}


def test_a_connection_dropped_after_the_request_is_unknown_and_not_repeated(
    case: Case, provider: Any, wire: Wire
) -> None:
    wire.behaviour = "drop"
    assert outcomes(provider.send([case.envelope()], deadline=soon())) == {Outcome.UNKNOWN}
    assert len(wire.calls) == 1


@pytest.mark.parametrize(("timeout_seconds", "deadline_seconds"), [(0.4, 60), (60, 0.4)])
def test_no_answer_in_time_is_unknown(case: Case, wire: Wire, timeout_seconds: float, deadline_seconds: float) -> None:
    wire.behaviour = "hang"
    provider = case.make(wire.url, timeout_seconds)
    started = time.monotonic()
    receipts = provider.send([case.envelope()], deadline=soon(deadline_seconds))
    took = time.monotonic() - started
    provider.close()
    assert outcomes(receipts) == {Outcome.UNKNOWN}
    assert took < HANGS_SECONDS / 2


def test_a_slow_answer_is_waited_for(case: Case, provider: Any, wire: Wire) -> None:
    wire.behaviour = "slow"
    assert outcomes(provider.send([case.envelope()], deadline=soon())) == {Outcome.ACCEPTED}


def test_a_refused_connection_is_refused(case: Case) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    provider = case.make(f"http://127.0.0.1:{port}", 1.0)
    receipts = provider.send([case.envelope(n) for n in range(9)], deadline=soon())
    provider.close()
    assert outcomes(receipts) == {Outcome.REFUSED}
    assert len(receipts) == 9


def test_a_host_that_does_not_exist_is_refused(case: Case) -> None:
    provider = case.make("http://no-such-host.invalid", 1.0)
    receipts = provider.send([case.envelope()], deadline=soon())
    provider.close()
    assert outcomes(receipts) == {Outcome.REFUSED}


def test_a_failed_tls_handshake_is_refused(case: Case, wire: Wire) -> None:
    provider = case.make(wire.url.replace("http://", "https://"), 1.0)
    receipts = provider.send([case.envelope()], deadline=soon())
    provider.close()
    assert outcomes(receipts) == {Outcome.REFUSED}
    assert wire.calls == []


@contextmanager
def a_full_host() -> Iterator[str]:
    """A host that takes no further connection and refuses none: whoever tries waits."""
    with ExitStack() as open_ones:
        host = open_ones.enter_context(socket.socket())
        host.bind(("127.0.0.1", 0))
        host.listen(0)
        for _ in range(4):
            waiting = open_ones.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(host.getsockname())
        yield f"http://127.0.0.1:{host.getsockname()[1]}"


def test_a_host_that_lets_nobody_in_is_told_from_a_deadline_that_came_first(case: Case) -> None:
    with a_full_host() as url:
        provider = case.make(url, 0.5)
        late = provider.send([case.envelope(n) for n in range(6)], deadline=soon(0.3))
        full = provider.send([case.envelope(n) for n in range(6)], deadline=soon())
        provider.close()
    assert outcomes(late + full) == {Outcome.REFUSED}
    assert not any(is_trouble(receipt) for receipt in late)  # says nothing of the provider: its circuit stays closed
    assert any(is_trouble(receipt) for receipt in full)


def test_past_the_deadline_no_call_is_made(case: Case, provider: Any, wire: Wire) -> None:
    receipts = provider.send([case.envelope(n) for n in range(6)], deadline=time.monotonic() - 0.001)
    assert outcomes(receipts) == {Outcome.REFUSED}
    assert all(r.call is None for r in receipts)
    assert wire.calls == []


def test_the_deadline_stops_a_long_window_and_tells_made_calls_from_others(
    case: Case, provider: Any, wire: Wire
) -> None:
    wire.behaviour = "slow"
    receipts = provider.send([case.envelope(n) for n in range(200)], deadline=soon(0.5))
    assert len(receipts) == 200
    assert {Outcome.ACCEPTED, Outcome.REFUSED} <= outcomes(receipts)
    asked = b"".join(call.body for call in wire.calls)
    for receipt in receipts:
        called = str(receipt.message_id).encode() in asked
        # What the deadline cut off is unclear: the server may have read it or not.
        assert receipt.outcome is Outcome.UNKNOWN or called == (receipt.outcome is Outcome.ACCEPTED)


def test_a_provider_that_became_slow_leaves_nobody_in_doubt(case: Case, wire: Wire) -> None:
    # A second call on a connection would be answered after two seconds, and so after the deadline.
    wire.behaviour, wire.slow_seconds = "slow", 1.0
    provider = case.make(wire.url, 20.0)
    receipts = provider.send([case.envelope(n) for n in range(200)], deadline=soon(1.9))
    provider.close()
    assert outcomes(receipts) == {Outcome.ACCEPTED, Outcome.REFUSED}
    assert not any(is_trouble(receipt) for receipt in receipts)


def test_a_bad_key_is_refused_not_rejected_and_spares_the_rest(case: Case, provider: Any, wire: Wire) -> None:
    wire.behaviour = "settings"
    receipts = provider.send([case.envelope(n) for n in range(40)], deadline=soon())
    assert outcomes(receipts) == {Outcome.REFUSED}
    assert len(wire.calls) <= 8


def test_a_redirect_is_not_followed(case: Case, provider: Any, wire: Wire) -> None:
    wire.behaviour = "redirect"
    assert outcomes(provider.send([case.envelope()], deadline=soon())) == {Outcome.REFUSED}
    assert len(wire.calls) == 1


def test_connections_are_kept_alive(case: Case, provider: Any, wire: Wire) -> None:
    for n in range(12):
        provider.send([case.envelope(n)], deadline=soon())
    assert len(wire.calls) == 12
    assert wire.connections == 1


@pytest.mark.parametrize("behaviour", ["accept", "reject", "rate", "error", "settings", "drop", "unreadable"])
def test_secrets_and_addresses_are_in_no_log_and_no_receipt(
    case: Case, provider: Any, wire: Wire, behaviour: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire.behaviour = behaviour
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logs:
        receipts = provider.send([case.envelope(n) for n in range(3)], deadline=soon())
    shown = repr(logs) + caplog.text + repr(receipts) + repr(provider)
    assert logs
    assert SECRET not in shown
    assert PRIVATE not in shown
    assert "+1555000" not in shown


def test_look_up_never_raises_and_never_claims_absence_without_an_answer(case: Case, provider: Any, wire: Wire) -> None:
    for behaviour in ("error", "drop", "rate", "settings", "redirect"):
        wire.behaviour = behaviour
        found = provider.look_up(message_id(1), "+15550000001", datetime.now(UTC), "text")
        assert found.search is Search.UNABLE


def test_a_well_set_up_adapter_has_nothing_to_complain_about(provider: Any) -> None:
    assert provider.check() == []

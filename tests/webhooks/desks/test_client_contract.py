"""What holds for the client of every help desk, against the sandbox's wire of that desk."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from outreach.errors import InvalidInput, NotAuthenticated, NotFound, Unavailable
from tests.sandbox.receiver import Receiver
from tests.sandbox.running import SECRETS, Sandbox
from webhooks.connectors import KINDS
from webhooks.desks import freshdesk, jira, servicenow, zammad, zendesk
from webhooks.desks.base import DeskClient, DeskEvent, DeskEventKind
from webhooks.desks.http import DeskBusy

ANN = "ann@example.com"
OTHERS = SECRETS["desks_secret"], SECRETS["desks_token"]


@dataclass(frozen=True)
class Case:
    """One desk: its adapter, its secret and token at the sandbox, its options, and how it writes a ticket's number."""

    name: str
    adapter: ModuleType
    secret: str
    token: str
    options: dict[str, str]
    reference: Callable[[int], str] = str

    def base(self, sandbox: Sandbox) -> str:
        return sandbox.url if self.name == "zendesk" else f"{sandbox.url}/{self.name}"

    def client(self, sandbox: Sandbox, token: str | None = None, mapping: Any = None) -> DeskClient:
        connect = KINDS[self.name].connect
        assert connect is not None
        return connect(
            self.base(sandbox), "agent@example.com", token or self.token, mapping=mapping or self.adapter.Mapping(),
            allow=[sandbox.url], **self.options,
        )  # fmt: skip


CASES = [
    Case("zendesk", zendesk, SECRETS["zendesk_secret"], SECRETS["zendesk_token"], {}),
    Case("jira", jira, *OTHERS, {"project": "CARE"}, "CARE-{}".format),
    Case("servicenow", servicenow, *OTHERS, {}, "{:032x}".format),
    Case("freshdesk", freshdesk, *OTHERS, {}),
    Case("zammad", zammad, *OTHERS, {}),
]
EVERY_DESK = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    receiver = Receiver()
    desks = ",".join(case.name for case in CASES)
    sandbox = Sandbox(tmp_path_factory.mktemp("desks"), receiver, "--desks", desks)
    yield sandbox
    sandbox.stop()
    receiver.close()


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.reset()
    return running


def tickets(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [one for one in sandbox.get("/_sandbox/tickets")["tickets"] if one["type"] != "problem"]


def problem(sandbox: Sandbox, **more: Any) -> int:
    return int(sandbox.post("/_sandbox/desk/problems", {"title": "Step 4 is missing", "desks": [], **more})["id"])


def told(sandbox: Sandbox, case: Case, mapping: Any = None) -> list[DeskEvent]:
    """Return what the desk's webhooks mean, each of them verified."""
    sandbox.settle()
    found: list[DeskEvent] = []
    for one in sandbox.receiver.at(f"/webhooks/desks/{case.name}"):
        case.adapter.verify(one.headers, one.body, [case.secret], datetime.now(UTC))
        found += case.adapter.parse(one.headers, one.body, mapping or case.adapter.Mapping())
    return found


@EVERY_DESK
def test_a_ticket_is_opened_once_per_key_even_when_the_answer_is_lost(sandbox: Sandbox, case: Case) -> None:
    client = case.client(sandbox)
    first = client.open_ticket("Still broken", "It leaks\n<b>a lot</b>", ANN, None, "response:1")
    assert client.open_ticket("Still broken", "It leaks\n<b>a lot</b>", ANN, None, "response:1") == first
    sandbox.post("/_sandbox/faults", {"desk": {"accept_then_drop": {"first": 1}}})
    with pytest.raises(Unavailable):
        client.open_ticket("Still broken", "It leaks", ANN, None, "response:2")
    second = client.open_ticket("Still broken", "It leaks", ANN, None, "response:2")
    assert len(tickets(sandbox)) == 2
    assert {first, second} == {case.reference(one["id"]) for one in tickets(sandbox)}
    found = client.fetch(first)
    assert found.ticket is not None
    assert (found.reference, found.ticket.subject) == (first, "Still broken")
    assert "It leaks" in (found.ticket.body or "") or case.name == "zammad"  # its texts are in articles
    assert found.ticket.solved_at is None
    assert abs((found.changed_at or datetime.min.replace(tzinfo=UTC)) - datetime.now(UTC)) < timedelta(minutes=1)


@EVERY_DESK
def test_what_we_open_belongs_to_its_problem_and_its_echo_is_ignored(sandbox: Sandbox, case: Case) -> None:
    number = problem(sandbox)
    client = case.client(sandbox)
    own = client.open_ticket("Still broken", "It leaks", ANN, case.reference(number), "response:1")
    (made,) = tickets(sandbox)
    assert (case.reference(made["id"]), made["problem_id"]) == (own, number)
    mapping = case.adapter.Mapping(our_actors=(client.who_am_i(),))
    client.comment(own, "The fix is on its way", public=True)
    assert {event.kind for event in told(sandbox, case, mapping)} == {DeskEventKind.IGNORED}
    found = client.fetch(own).ticket
    assert found is not None
    assert found.problem_reference == case.reference(number) or case.name == "zendesk"


@EVERY_DESK
def test_comments_reach_the_customer_or_the_agents_only(sandbox: Sandbox, case: Case) -> None:
    client = case.client(sandbox)
    own = client.open_ticket("Still broken", "It leaks", ANN, None, "response:1")
    client.comment(own, "for the <agents>", public=False)
    client.comment(own, "for Ann {{ x }}", public=True)
    client.add_link(own, "https://outreach.example.com/problems/P-1", "P-1")
    (made,) = tickets(sandbox)
    said = [(one["body"], one["public"]) for one in made["_comments"][1:]]
    escaped = "for the &lt;agents&gt;" if case.name == "freshdesk" else "for the <agents>"
    assert said[:2] == [(escaped, False), ("for Ann {{ x }}", True)]
    links = json.dumps([made.get("_links"), [one for one in said if not one[1]]])
    assert "https://outreach.example.com/problems/P-1" in links


@EVERY_DESK
def test_a_ticket_is_solved_once_with_a_last_word(sandbox: Sandbox, case: Case) -> None:
    client = case.client(sandbox)
    own = client.open_ticket("Still broken", "It leaks", ANN, None, "response:1")
    client.solve(own, "A new sheet is in the post")
    client.solve(own, "A new sheet is in the post")
    (made,) = tickets(sandbox)
    assert made["status"] == "solved"
    assert [(one["body"], one["public"]) for one in made["_comments"][1:]] == [("A new sheet is in the post", True)]
    found = client.fetch(own).ticket
    assert found is not None
    assert found.solved_at is not None


@EVERY_DESK
def test_a_problem_is_fetched_with_the_words_that_say_how_it_stands(sandbox: Sandbox, case: Case) -> None:
    number = problem(sandbox)
    client, steps = case.client(sandbox), case.adapter.Mapping().steps
    path = f"/_sandbox/desk/problems/{number}"
    assert not client.fetch(case.reference(number)).words & {*steps.known, *steps.resolved}
    for kind, carried in (("known", steps.known), ("resolved", steps.resolved)):
        sandbox.post(f"{path}/{kind}", {"desks": []})
        found = client.fetch(case.reference(number))
        assert found.problem is not None
        assert found.problem.title == "Step 4 is missing"
        assert found.words & set(carried)
    sandbox.post(f"{path}/reopened", {"desks": []})
    assert not client.fetch(case.reference(number)).words & set(steps.resolved)


@EVERY_DESK
def test_the_webhooks_of_a_problem_say_its_steps(sandbox: Sandbox, case: Case) -> None:
    number = problem(sandbox)
    kinds = []
    for kind in ("known", "workaround", "resolved", "reopened"):
        sandbox.post(f"/_sandbox/desk/problems/{number}/{kind}", {"desks": [case.name]})
        kinds = [event.kind for event in told(sandbox, case)]
    wanted = [DeskEventKind.PROBLEM_KNOWN, DeskEventKind.PROBLEM_WORKAROUND, DeskEventKind.PROBLEM_RESOLVED]
    assert kinds[:3] == wanted
    # Freshdesk and Zammad say how it stands, not what changed: open again looks like known again.
    assert kinds[3] in (DeskEventKind.PROBLEM_REOPENED, DeskEventKind.PROBLEM_WORKAROUND)
    events = told(sandbox, case)
    assert {event.problem.reference for event in events if event.problem} == {case.reference(number)}
    assert len({event.key for event in events}) >= len(events) - 1


@EVERY_DESK
def test_a_customers_ticket_is_told_and_listed_with_her_address(sandbox: Sandbox, case: Case) -> None:
    number = problem(sandbox)
    body = {"subject": "Broken", "body": "It arrived broken", "requester": {"email": ANN}, "problem_id": number}
    made = case.reference(int(sandbox.post("/_sandbox/desk/tickets", {**body, "desks": [case.name]})["id"]))
    (event,) = told(sandbox, case)
    assert event.ticket is not None
    assert (event.kind, event.ticket.reference) == (DeskEventKind.TICKET_CREATED, made)
    client = case.client(sandbox)
    listed = {state.reference: state for state in client.list_since(datetime.now(UTC) - timedelta(minutes=5))}
    assert set(listed) == {made, case.reference(number)}
    kept = listed[made].ticket
    assert kept is not None
    assert (kept.requester_email, kept.subject) == (ANN, "Broken")
    assert kept.problem_reference == case.reference(number)
    assert listed[case.reference(number)].problem is not None
    assert list(client.list_since(datetime.now(UTC) + timedelta(days=1))) == [] or case.name == "jira"


@EVERY_DESK
def test_all_pages_of_a_long_list_are_read(sandbox: Sandbox, case: Case) -> None:
    many = [{"subject": f"T{n}", "body": "x", "requester": {"email": f"p{n % 9}@example.com"}} for n in range(230)]
    sandbox.post("/_sandbox/desk/tickets", {"tickets": many, "desks": []})
    listed = [one.reference for one in case.client(sandbox).list_since(datetime.now(UTC) - timedelta(minutes=5))]
    assert len(listed) == len(set(listed)) == 230


@EVERY_DESK
def test_a_busy_desk_says_for_how_long(sandbox: Sandbox, case: Case) -> None:
    own = case.client(sandbox).open_ticket("Still broken", "It leaks", ANN, None, "response:1")
    sandbox.post("/_sandbox/faults", {"desk": {"rate_limit": {"first": 1}, "retry_after_seconds": 37}})
    with pytest.raises(DeskBusy) as refusal:
        case.client(sandbox).comment(own, "x", public=False)
    assert refusal.value.retry_after_seconds == 37
    sandbox.post("/_sandbox/faults", {"desk": {"error_before_accept": {"first": 1}}})
    with pytest.raises(Unavailable):
        case.client(sandbox).comment(own, "x", public=False)


@EVERY_DESK
def test_what_the_desk_refuses_for_good_is_no_unavailable(sandbox: Sandbox, case: Case) -> None:
    client = case.client(sandbox)
    with pytest.raises(NotFound):
        client.fetch(case.reference(9_999_999))
    with pytest.raises(NotFound):
        client.comment(case.reference(9_999_999), "x", public=False)
    with pytest.raises(NotAuthenticated) as refusal:
        case.client(sandbox, token="another token").who_am_i()
    assert "another token" not in refusal.value.message
    assert case.token not in repr(refusal.value)


@EVERY_DESK
def test_a_reference_with_strange_characters_reaches_nothing_else(sandbox: Sandbox, case: Case) -> None:
    for strange in ("../users/1", "1?x=1", "1#", "%2e%2e", "a^ORsys_idISNOTEMPTY", 'x" OR project = "Y'):
        with pytest.raises((NotFound, InvalidInput)):
            case.client(sandbox).fetch(strange)


@EVERY_DESK
def test_a_desk_inside_our_network_is_refused_unless_it_is_named(sandbox: Sandbox, case: Case) -> None:
    connect = KINDS[case.name].connect
    assert connect is not None
    mapping = case.adapter.Mapping()
    client = connect(case.base(sandbox), "agent@example.com", case.token, mapping=mapping, **case.options)
    with pytest.raises(InvalidInput):
        client.who_am_i()

"""The main job as a story, played by the people it is about: customers, the help desk, two support managers.

A lot of kettles went out with a line missing in the instructions. Everything is done from outside, over HTTP, by the
doors that real people and systems use: the desk's signed webhooks, the managers' API, the providers' wires. Only the
company's own data come in by import.
"""

import datetime as dt
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import urllib3

from app import demo_company
from app.demo_screen import Screen
from app.machine import Machine
from app.supervisor import wait_until
from campaigns.timing import Window, next_allowed
from outreach import clock
from outreach.db import transaction
from outreach.errors import Unavailable
from outreach.imports import run_import

CHANNELS = ("email", "sms", "postcard")
CHECK_IN_AFTER = timedelta(days=3, hours=1)
OPEN = ("owed",)
# An hour inside the hours of SMS on either side, for the check-in that comes an hour later in the day.
OFFICE_HOURS = Window(dt.time(9), dt.time(19))


@dataclass
class Doors:
    """The HTTP doors that the story goes through, and the API keys of the two managers."""

    api: str
    sandbox: str
    author_key: str
    approver_key: str
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=60))

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """Call the API as the first manager, or with another key; anything but 2xx ends the demo."""
        return self._request(method, f"{self.api}{path}", body, {"Authorization": f"Bearer {key or self.author_key}"})

    def control(self, path: str, body: Any = None) -> Any:
        """Act as the people around the desk and the customers, through the sandbox."""
        return self._request("GET" if body is None else "POST", f"{self.sandbox}/_sandbox/{path}", body, {})

    def _request(self, method: str, url: str, body: Any, headers: dict[str, str]) -> Any:
        encoded = None if body is None else orjson.dumps(body)
        answer = self.http.request(method, url, body=encoded, headers={**headers, "Content-Type": "application/json"})
        if answer.status >= 300:
            raise Unavailable(f"{method} {url} answered {answer.status}: {answer.data[:500].decode(errors='replace')}")
        return answer.json() if answer.data else None


class Story:
    """Plays the story on a running machine; each method is one stage."""

    def __init__(self, doors: Doors, machine: Machine, screen: Screen, folder: Path) -> None:
        self.doors, self.machine, self.screen, self.folder = doors, machine, screen, folder
        self.company = demo_company.Company(folder)
        self.problem = self.desk_problem = ""
        self.ticket_ids: list[str] = []

    def play(self) -> dict[str, Any]:
        """Play it from the first order to the last check-in and return what came of it."""
        began = time.monotonic()
        self.begin_by_day()
        self.import_company()
        self.customers_write()
        self.desk_marks_known()
        self.manager_accepts_scope()
        first = self.approve_and_watch("known")
        self.customers_answer()
        self.late_joiner_enrols(first)
        self.desk_resolves()
        self.approve_and_watch("resolved")
        self.check_in()
        return self.result() | {"seconds": round(time.monotonic() - began, 1)}

    def begin_by_day(self) -> None:
        """Move the clock to an hour at which all customers may be sent SMS: nobody watches a demo until morning."""
        zones = [ZoneInfo(name) for name in demo_company.ZONES]
        with transaction() as session:
            now = clock.now(session)
        slot = next_allowed(now, zones, OFFICE_HOURS)
        if slot is not None and slot.opens_at > now:
            self.doors.call("POST", "/api/clock/advance", {"seconds": int((slot.opens_at - now).total_seconds()) + 1})

    def import_company(self) -> None:
        """Import customers, products, orders and items as any user would."""
        self.screen.stage("The company", "5,000 customers, their orders and lots come in by import.")
        with transaction() as session:
            now = clock.now(session)
        self.company = demo_company.write_company(self.folder / "company", now=now)
        with self.screen.bars() as show:
            for kind in ("customers", "products", "orders", "items"):
                report = run_import(
                    self.company.folder / f"{kind}.csv",
                    kind=kind,
                    rejects=self.folder / f"{kind}.rejects.csv",
                    progress=lambda p: show(p.table, p.rows, max(p.rows, 1)),
                )
                counts = report.tables[kind]
                show(kind, counts.read - counts.rejected, counts.read)

    def customers_write(self) -> None:
        """Some of those who hold the faulty lot open tickets at the desk, and so do others, about other things."""
        self.screen.stage("Monday", "Customers write to the help desk. Its webhooks, signed, reach Outreach.")
        holders = self.company.holders[:24]
        tickets = [_ticket(c, "How do I descale it?", "Step 4 is missing in the instructions.") for c in holders]
        tickets += [_ticket(c, "Where is my order?", "It should have been here.") for c in self.company.others[:16]]
        self.ticket_ids = self.doors.control("desk/tickets", {"tickets": tickets})["ids"][: len(holders)]
        self.settle()
        self.screen.say(f"{len(tickets)} tickets, {len(holders)} of them about the instructions of one lot")

    def desk_marks_known(self) -> None:
        """An agent opens a problem, links the tickets and marks it known."""
        self.screen.stage("The desk marks the problem known")
        given = {
            "title": "A line is missing in the kettle's instructions",
            "summary": "Kettles of one lot were packed with instructions that lack the step on descaling. "
            "The kettle itself is sound.",
            "workaround": "Please do not descale it with vinegar. The missing step is: one spoon of citric acid "
            "to a litre of water, boil once, rinse twice.",
            "severity": "high",
            "department": "Publications",
        }
        self.desk_problem = self.doors.control("desk/problems", {**given, "ticket_ids": self.ticket_ids})["id"]
        self.settle()
        self.doors.control(f"desk/problems/{self.desk_problem}/known", given)
        self.wait(lambda: self.find_problem("known"), "the problem at Outreach")
        self.problem = self.find_problem("known")["key"]
        self.screen.say(f"Outreach knows it as {self.problem}")

    def manager_accepts_scope(self) -> None:
        """Outreach proposes whom it touches; a manager reads the sentence and accepts it."""
        self.screen.stage("Whom does it touch?", "Outreach looks at what the people with tickets have in common.")
        wanted = f"/api/problems/{self.problem}/scope"
        proposals = self.doors.call("POST", f"{wanted}/discover")
        for place, proposal in enumerate(proposals[:3], 1):
            self.screen.say(f"{place}. {proposal['sentence']}")
        self.doors.call("PUT", wanted, {"definition": proposals[0]["definition"]})
        self.wait(lambda: not self.doors.call("GET", wanted)["building"], "the audience")
        counts = self.audience()
        self.screen.table("The audience", ("grade", "customers"), [(grade, number) for grade, number in counts.items()])

    def approve_and_watch(self, kind: str) -> dict[str, Any]:
        """The second manager approves the notice; then everybody watches it go out."""
        campaign: dict[str, Any] = self.wait(lambda: self.find_campaign(kind), f"the {kind} campaign")
        self.screen.stage(f"A notice: {kind}", f"{campaign['key']} waits for approval; a second manager approves it.")
        self.doors.call("POST", f"/api/campaigns/{campaign['key']}/approve", key=self.doors.approver_key)
        self.watch(campaign["key"])
        return campaign

    def customers_answer(self) -> None:
        """STOP, "1", "2 still broken", a question by email and a one-click unsubscribe come back."""
        self.screen.stage("Customers answer")
        texts = self.accepted("twilio")
        mails = self.accepted("sendgrid")
        said = [("sms", texts[0], "STOP"), ("sms", texts[1], "1"), ("sms", texts[2], "2 still broken")]
        said += [("email", mails[0], "Thank you, that solved it."), ("email", mails[1], "Can I still use it tonight?")]
        said += [("email", mails[2], "I gave it away, this is not me any more."), ("unsubscribe", mails[3], "")]
        for channel, message, words in said:
            body = {"channel": channel, "message_id": message["message_id"], "text": words}
            self.doors.control("reply", body if words else {k: v for k, v in body.items() if k != "text"})
            self.screen.say(f"{channel:<11} {words or 'one click'}")
        self.settle()
        self.wait(lambda: sum(self.responses().values()) >= len(said), "the answers")

    def late_joiner_enrols(self, campaign: dict[str, Any]) -> None:
        """Somebody buys the lot while the problem is open: she enrols and is told by herself."""
        self.screen.stage("An order comes in", "It is of the faulty lot, so that its buyer enrols by herself.")
        known = {c["customer_id"] for c in (*self.company.holders, *self.company.waiting)}
        joiner = next(c for c in self.company.others if c["customer_id"] not in known and c["email"])
        with transaction() as session:
            folder = demo_company.write_late_order(self.folder / "late", joiner, now=clock.now(session))
        for kind in ("orders", "items"):
            run_import(folder / f"{kind}.csv", kind=kind, rejects=self.folder / "late.rejects.csv")
        self.wait(
            lambda: any(message["to"] == joiner["email"] for message in self.accepted("sendgrid")),
            "the notice to the late joiner",
        )
        self.watch(campaign["key"])
        self.screen.say(f"{joiner['customer_id']} was told")

    def desk_resolves(self) -> None:
        """The desk marks the problem resolved."""
        self.screen.stage("The desk marks the problem resolved")
        fix = "New instructions are on their way to you by post. You need not send anything back."
        self.doors.control(f"desk/problems/{self.desk_problem}/resolved", {"fix": fix})
        self.wait(lambda: self.find_problem("resolved"), "the resolution at Outreach")

    def check_in(self) -> None:
        """Some days later the check-ins are due; one answer opens a ticket back at the desk."""
        self.screen.stage("Three days later", "The clock moves, and everybody who was told is asked how it is going.")
        self.doors.call("POST", "/api/clock/advance", {"seconds": int(CHECK_IN_AFTER.total_seconds())})
        campaign = self.wait(lambda: self.find_campaign("check-in"), "the check-in campaign")
        self.wait(lambda: self.progress(campaign["key"])["notices"], "the first check-ins")
        self.watch(campaign["key"])
        before = len(self.doors.control("tickets")["tickets"])
        newest = self.accepted("sendgrid")[0]
        self.doors.control(
            "reply", {"channel": "email", "message_id": newest["message_id"], "text": "No, it is still broken."}
        )
        self.wait(lambda: len(self.doors.control("tickets")["tickets"]) > before, "the ticket at the desk")
        self.screen.say('One customer answered "still broken": a ticket is open at the desk')

    def result(self) -> dict[str, Any]:
        """Prove every campaign's account and return the figures."""
        campaigns = self.doors.call("GET", f"/api/campaigns?problem={self.problem}&limit=50")["items"]
        accounts: list[dict[str, Any]] = []
        messages: dict[str, dict[str, int]] = {channel: {} for channel in CHANNELS}
        for campaign in reversed(campaigns):
            account = self.doors.call("GET", f"/api/campaigns/{campaign['key']}/account")
            accounts.append({**account, "name": f"{campaign['key']} {campaign['kind']}", "kind": campaign["kind"]})
            for channel, words in self.progress(campaign["key"])["messages"].items():
                for word, number in words.items():
                    messages[channel][word] = messages[channel].get(word, 0) + number
        self.screen.account(accounts)
        counts = self.doors.control("counts")
        return {
            "problem": self.problem,
            "audience": self.audience(),
            "messages": messages,
            "responses": self.responses(),
            "check_ins": sum(a["delivered"] + a["on_the_way"] for a in accounts if a["kind"] == "check-in"),
            "unaccounted": sum(a["unaccounted"] for a in accounts),
            "duplicates": sum(a["duplicates"] for a in accounts) + _number(counts["duplicates"]),
        }

    # What the story looks at while it goes on.

    def watch(self, key: str) -> None:
        """Show the campaign's progress by channel until nobody's notice is on the way any more."""
        with self.screen.bars() as show:

            def settled() -> bool:
                now = self.progress(key)
                for channel, words in now["messages"].items():
                    total = sum(words.values())
                    under_way = sum(words.get(word, 0) for word in ("queued", "sending", "unknown", "accepted"))
                    show(channel, total - under_way, total)
                return bool(now["notices"]) and not any(now["notices"].get(state) for state in OPEN)

            self.wait(settled, f"campaign {key}", seconds=180)

    def settle(self) -> None:
        """Wait until every webhook has arrived and has been applied."""
        self.wait(lambda: self.doors.control("idle")["idle"], "the webhooks")

        def applied() -> bool:
            states = self.doors.call("GET", "/api/inbound-events/counts")
            return not any(states.get(state) for state in ("new", "waiting"))

        self.wait(applied, "the inbox")

    def wait(self, check: Any, what: str, *, seconds: float = 60) -> Any:
        """Return the first true answer of `check`, while the machine is being looked after."""
        found: list[Any] = []

        def look() -> bool:
            found[:] = [check()]
            return bool(found[0])

        wait_until(look, seconds, what, meanwhile=self.machine.supervisor.tend)
        return found[0]

    def find_problem(self, state: str) -> Any:
        """Return the story's problem once it is in this state."""
        listed = self.doors.call("GET", "/api/problems?limit=20")["items"]
        return next((p for p in listed if p["desk_reference"] == self.desk_problem and p["state"] == state), None)

    def find_campaign(self, kind: str) -> Any:
        """Return the newest campaign of this kind."""
        listed = self.doors.call("GET", f"/api/campaigns?problem={self.problem}&limit=50")["items"]
        return next((c for c in listed if c["kind"] == kind), None)

    def progress(self, key: str) -> Any:
        """Return how far a campaign is."""
        return self.doors.call("GET", f"/api/campaigns/{key}/progress")

    def audience(self) -> dict[str, int]:
        """Return the number of customers by grade."""
        counts = self.doors.call("GET", f"/api/problems/{self.problem}/scope")["counts"]
        return {grade: counts.get(grade, 0) for grade in ("affected", "likely", "incoming", "cleared")}

    def responses(self) -> dict[str, int]:
        """Return the number of answers by meaning."""
        found: dict[str, int] = self.doors.call("GET", f"/api/responses/counts?problem={self.problem}")
        return found

    def accepted(self, provider: str) -> list[dict[str, Any]]:
        """Return what the provider accepted, newest first."""
        found: list[dict[str, Any]] = self.doors.control(f"accepted?provider={provider}&limit=5000")["accepted"]
        return found


def _ticket(customer: dict[str, str], subject: str, body: str) -> dict[str, Any]:
    who = {"id": customer["customer_id"], "name": customer["name"], "email": customer["email"]}
    requester = {name: value for name, value in who.items() if value}
    return {"subject": subject, "body": body, "requester": requester, "priority": "normal"}


def _number(value: object) -> int:
    return len(value) if isinstance(value, list | dict) else int(str(value))

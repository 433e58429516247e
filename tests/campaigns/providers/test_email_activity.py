"""Looking messages up in SendGrid's Email Activity, against the sandbox's wire and against what may go wrong."""

import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from campaigns.providers.base import Asked, LookUp, Search
from campaigns.providers.email_activity import MESSAGES_PER_QUERY, activity_of
from campaigns.providers.transport import Answer, MaybeSentError
from sandbox.email_activity import InvalidQuery, conditions

DESCRIPTION = Path(__file__).parents[4] / "shared" / "data" / "openapi" / "sendgrid_tsg_email_activity_v3.json.gz"
NOW = datetime.now(UTC)


def asked(number: int, *, to: str | None = None, age: timedelta = timedelta(minutes=20)) -> Asked:
    """Return a question about one message."""
    return Asked(UUID(int=number), to or f"ann.{number}@example.com", NOW - age)


class Activity:
    """Answers like SendGrid for the messages it has."""

    def __init__(self, has: dict[UUID, str], status: int = 200) -> None:
        self.has, self.status, self.queries = has, status, []  # type: ignore[var-annotated]

    def __call__(self, path: str) -> Answer:
        """Answer one call."""
        query = parse_qs(urlsplit(path).query)["query"][0]
        self.queries.append(query)
        ids = [UUID(value) for value in re.findall(r"""unique_args\['message_id'\]="([^"]+)\"""", query)]
        listed = [{"to_email": self.has[i].upper(), "msg_id": f"m-{i.int}"} for i in ids if i in self.has]
        return Answer(self.status, {}, json.dumps({"messages": listed}).encode())


def test_found_and_absent_are_told_apart_whatever_the_case_of_the_address() -> None:
    one, other = asked(1), asked(2)
    answers = activity_of([one, other], Activity({one.message_id: one.to}))
    assert answers == {one.message_id: LookUp(Search.FOUND, "m-1"), other.message_id: LookUp(Search.ABSENT)}


def test_many_messages_share_few_calls_and_one_address_is_asked_once_per_call() -> None:
    many = [asked(n) for n in range(1, MESSAGES_PER_QUERY * 2)]
    twice = [asked(1000, to="ann@example.com"), asked(1001, to="Ann@example.com")]
    activity = Activity({})
    answers = activity_of([*many, *twice], activity)
    assert len(activity.queries) == 3
    assert {answer.search for answer in answers.values()} == {Search.ABSENT}
    assert not any("1000" in q and str(UUID(int=1001)) in q and str(UUID(int=1000)) in q for q in activity.queries)


def test_after_a_refusal_nothing_more_is_asked_and_nothing_is_claimed_absent() -> None:
    activity = Activity({}, status=429)
    answers = activity_of([asked(n) for n in range(1, 200)], activity)
    assert len(activity.queries) == 1
    assert {answer.search for answer in answers.values()} == {Search.UNABLE}


def lost(_path: str) -> Answer:
    """Break off."""
    raise MaybeSentError("no answer in time")


@pytest.mark.parametrize(
    "get",
    [
        lost,
        lambda _: Answer(200, {}, b"<html>"),
        lambda _: Answer(200, {}, b"{}"),
        lambda _: Answer(200, {}, b'{"messages": [{"to_email": "who@example.com", "msg_id": "x"}]}'),
    ],
    ids=["lost", "not JSON", "no list", "somebody else"],
)
def test_an_answer_that_cannot_be_read_is_no_absence(get: Any) -> None:
    assert activity_of([asked(1)], get)[UUID(int=1)].search is Search.UNABLE


def test_what_is_older_than_the_history_is_not_absent() -> None:
    old = asked(1, age=timedelta(days=4))
    assert activity_of([old], Activity({}))[old.message_id].search is Search.UNABLE


def test_the_sandbox_understands_the_query_and_no_other() -> None:
    activity = Activity({})
    activity_of([asked(1), asked(2)], activity)
    assert conditions(activity.queries[0]) == [("message_id", str(UUID(int=1))), ("message_id", str(UUID(int=2)))]
    for wrong in ("", 'subject="x"', "unique_args['other']=\"x\"", "to_email=x"):
        with pytest.raises(InvalidQuery):
            conditions(wrong)


def test_the_official_description_has_the_fields_that_are_read() -> None:
    if not DESCRIPTION.exists():
        pytest.skip("the official descriptions of ../shared/data are not here")
    with gzip.open(DESCRIPTION, "rt") as opened:
        call = json.load(opened)["paths"]["/v3/messages"]["get"]
    answer = call["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["messages"]["items"]
    assert {"to_email", "msg_id"} <= set(answer["required"])
    assert {parameter["name"] for parameter in call["parameters"]} == {"query", "limit"}
    assert next(p for p in call["parameters"] if p["name"] == "limit")["schema"]["maximum"] == 1000

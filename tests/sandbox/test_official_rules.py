"""The rules written out agree with the official descriptions, on a table of good and bad bodies."""

from pathlib import Path
from typing import Any

import pytest

from sandbox.rules import lob, sendgrid, twilio
from sandbox.rules.official import official_rules
from sandbox.world import Official
from tests.sandbox.receiver import Receiver
from tests.sandbox.running import FROM_NUMBER, Sandbox, person, postcard

DESCRIPTIONS = Path(__file__).resolve().parents[3] / "shared" / "data" / "openapi"


@pytest.fixture(scope="module")
def descriptions() -> Path:
    if not DESCRIPTIONS.is_dir():
        pytest.skip("the official API descriptions are absent: put them into ../shared/data/openapi")
    return DESCRIPTIONS


@pytest.fixture(scope="module")
def official(descriptions: Path) -> Official:
    return official_rules(descriptions)


def mail(**changes: Any) -> dict[str, Any]:
    """Return a mail that SendGrid takes; a change to None removes the field."""
    body: dict[str, Any] = {
        "personalizations": [person("jane@example.com", "m-1")],
        "from": {"email": "care@example.com", "name": "Care"},
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "Hello"}],
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


def text(**changes: str | None) -> dict[str, str]:
    """Return a text that Twilio takes; a change to None removes the field."""
    form: dict[str, str | None] = {"To": "+12025550142", "From": FROM_NUMBER, "Body": "Hello"}
    return {name: value for name, value in (form | changes).items() if value is not None}


def place(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (postcard()["to"] | changes).items() if value is not None}


ABROAD = {
    "name": "Anna",
    "address_line1": "Hauptstr. 1",
    "address_city": "Berlin",
    "address_zip": "10115",
    "address_country": "DE",
}

GOOD = [
    ("sendgrid", "the smallest", mail()),
    ("sendgrid", "a thousand people", mail(personalizations=[person(f"p{n}@example.com") for n in range(1000)])),
    ("sendgrid", "arguments of the message", mail(custom_args={"campaign": "7"})),
    ("sendgrid", "ten categories", mail(categories=[str(n) for n in range(10)])),
    ("sendgrid", "a group", mail(asm={"group_id": 1, "groups_to_display": [1, 2]})),
    ("sendgrid", "no tracking", mail(tracking_settings={"click_tracking": {"enable": False, "enable_text": False}})),
    ("sendgrid", "substitutions", mail(personalizations=[person("a@example.com", substitutions={"{n}": "Ann"})])),
    ("sendgrid", "a reply address", mail(reply_to={"email": "r+abc@reply.example.com"})),
    ("sendgrid", "headers", mail(headers={"List-Unsubscribe": "<https://example.com/u/1>"})),
    ("twilio", "the smallest", text()),
    ("twilio", "a callback", text(StatusCallback="https://example.com/status?message_id=1")),
    ("twilio", "a service", text(From=None, MessagingServiceSid="MG" + "0" * 32)),
    ("twilio", "a validity", text(ValidityPeriod="14400", SmartEncoded="true")),
    ("lob", "the smallest", postcard()),
    ("lob", "all options", postcard(size="6x9", mail_type="usps_standard", description="x", fsc=True)),
    ("lob", "a template", postcard(front="tmpl_abc123", merge_variables={"name": "Ann"})),
    ("lob", "a file", postcard(back="https://example.com/back.pdf")),
    ("lob", "abroad", postcard(to=ABROAD, **{"from": place()})),
    ("lob", "abroad with a state", postcard(to={**ABROAD, "address_state": "BE"}, **{"from": place()})),
    ("lob", "a company", postcard(to=place(name=None, company="Acme"))),
    ("lob", "a long zip", postcard(to=place(address_zip="94107-1234"))),
]

BAD = [
    ("sendgrid", "no body", []),
    ("sendgrid", "no people", mail(personalizations=None)),
    ("sendgrid", "too many people", mail(personalizations=[person(f"p{n}@example.com") for n in range(1001)])),
    ("sendgrid", "nobody", mail(personalizations=[{"subject": "x"}])),
    ("sendgrid", "no sender", mail(**{"from": None})),
    ("sendgrid", "a sender without address", mail(**{"from": {"name": "Care"}})),
    ("sendgrid", "an empty subject", mail(subject="")),
    ("sendgrid", "a subject that is a number", mail(subject=7)),
    ("sendgrid", "content without type", mail(content=[{"value": "x"}])),
    ("sendgrid", "empty content", mail(content=[{"type": "text/plain", "value": ""}])),
    ("sendgrid", "too many categories", mail(categories=[str(n) for n in range(11)])),
    ("sendgrid", "the same category twice", mail(categories=["a", "a"])),
    ("sendgrid", "a category too long", mail(categories=["x" * 256])),
    ("sendgrid", "an attachment without content", mail(attachments=[{"filename": "a.pdf"}])),
    ("sendgrid", "too many groups", mail(asm={"group_id": 1, "groups_to_display": list(range(26))})),
    ("sendgrid", "a group without id", mail(asm={"groups_to_display": [1]})),
    ("sendgrid", "a pool name too short", mail(ip_pool_name="x")),
    ("sendgrid", "a send time as text", mail(send_at="now")),
    ("sendgrid", "a substitution that is a number", mail(personalizations=[person("a@b.co", substitutions={"n": 1})])),
    ("twilio", "nobody", text(To=None)),
    ("twilio", "a service that is none", text(MessagingServiceSid="MG1")),
    ("twilio", "content that is none", text(ContentSid="HX1")),
    ("twilio", "an application that is none", text(ApplicationSid="AP1")),
    ("twilio", "a validity in words", text(ValidityPeriod="long")),
    ("lob", "nobody", postcard(to=None)),
    ("lob", "no front", postcard(front=None)),
    ("lob", "no back", postcard(back=None)),
    ("lob", "no use", postcard(use_type=None)),
    ("lob", "another use", postcard(use_type="fun")),
    ("lob", "another size", postcard(size="5x7")),
    ("lob", "another mail type", postcard(mail_type="pigeon")),
    ("lob", "a front too long", postcard(front="<p>" + "x" * 10_000)),
    ("lob", "a front that is nothing", postcard(front="hello")),
    ("lob", "a nameless address", postcard(to=place(name=None))),
    ("lob", "a name too long", postcard(to=place(name="x" * 41))),
    ("lob", "no street", postcard(to=place(address_line1=None))),
    ("lob", "a street too long", postcard(to=place(address_line1="x" * 65))),
    ("lob", "a zip that is none", postcard(to=place(address_zip="9410"))),
    ("lob", "a state that is none", postcard(to=place(address_state="California"))),
    ("lob", "no city", postcard(to=place(address_city=None))),
    ("lob", "metadata that is a number", postcard(metadata={"n": 1})),
    ("lob", "a code without width", postcard(qr_code={"position": "relative", "redirect_url": "https://example.com"})),
]

# Limits that the documentation states and the descriptions leave out, or state in words only.
STRICTER = [
    ("sendgrid", "an address that is none", mail(personalizations=[person("nobody")])),
    ("sendgrid", "the same person twice", mail(personalizations=[{"to": [{"email": "a@b.co"}, {"email": "A@b.co"}]}])),
    ("sendgrid", "no content", mail(content=None)),
    ("sendgrid", "no subject", mail(subject=None)),
    ("sendgrid", "large arguments", mail(personalizations=[person("a@b.co", custom_args={"a": "x" * 10_000})])),
    ("sendgrid", "large substitutions", mail(personalizations=[person("a@b.co", substitutions={"a": "ü" * 5_000})])),
    ("sendgrid", "a reserved header", mail(headers={"Reply-To": "x@example.com"})),
    ("sendgrid", "a line break in a header", mail(headers={"X-A": "1\r\nBcc: x@example.com"})),
    ("sendgrid", "a field that is none", mail(subjekt="x")),
    ("twilio", "no sender", text(From=None)),
    ("twilio", "no words", text(Body="")),
    ("twilio", "too many words", text(Body="x" * 1601)),
    ("twilio", "a number that is none", text(To="12025550142")),
    ("twilio", "a validity too long", text(ValidityPeriod="36001")),
    ("lob", "a 4x6 by standard mail", postcard(mail_type="usps_standard")),
    ("lob", "abroad in another size", postcard(to=ABROAD, size="6x9", **{"from": place()})),
    ("lob", "abroad without sender", postcard(to=ABROAD)),
    ("lob", "too much metadata", postcard(metadata={str(n): "x" for n in range(21)})),
    ("lob", "metadata too long", postcard(metadata={"n": "x" * 501})),
    ("lob", "large merge variables", postcard(merge_variables={"a": "x" * 25_000})),
    ("lob", "a date far ahead", postcard(send_date="2999-01-01")),
]


def ours(provider: str, body: Any) -> bool:
    """Say whether the rules written out take a body."""
    if provider == "sendgrid":
        return not sendgrid.problems(body)
    return not lob.problems(body) if provider == "lob" else twilio.refusal(body) is None


def ids(table: list[Any]) -> list[str]:
    return [f"{provider}: {name}" for provider, name, _ in table]


@pytest.mark.parametrize(("provider", "_name", "body"), GOOD, ids=ids(GOOD))
def test_what_the_description_takes_is_taken(official: Official, provider: str, _name: str, body: Any) -> None:
    assert official(provider, body) == []
    assert ours(provider, body)


@pytest.mark.parametrize(("provider", "_name", "body"), BAD, ids=ids(BAD))
def test_what_the_description_refuses_is_refused(official: Official, provider: str, _name: str, body: Any) -> None:
    assert official(provider, body) != []
    assert not ours(provider, body)


@pytest.mark.parametrize(("provider", "_name", "body"), STRICTER, ids=ids(STRICTER))
def test_limits_that_only_the_documentation_states_are_kept(provider: str, _name: str, body: Any) -> None:
    assert not ours(provider, body)


def test_a_sandbox_with_the_descriptions_takes_good_bodies_and_refuses_bad_ones(
    descriptions: Path, own_home: Path, receiver: Receiver
) -> None:
    sandbox = Sandbox(own_home, receiver, "--openapi", str(descriptions))
    try:
        assert sandbox.mail(person("jane@example.com", "m-1")).status == 202
        assert sandbox.text("+12025550142").status == 201
        assert sandbox.lob("POST", body=postcard()).status == 200
        # Only the description refuses this one: a reply address may be listed once.
        twice = [{"email": "r@example.com"}, {"email": "r@example.com"}]
        assert sandbox.mail(person("jane@example.com", "m-2"), reply_to_list=twice).status == 400
    finally:
        sandbox.stop()

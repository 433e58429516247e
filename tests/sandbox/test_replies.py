"""What customers answer: texts, mails and one-click unsubscribes, as Outreach receives them."""

import io
import json
from email.parser import Parser
from urllib.parse import parse_qs, parse_qsl, urlsplit

from python_multipart import parse_form
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from tests.sandbox.receiver import Received
from tests.sandbox.running import FROM_NUMBER, SECRETS, Sandbox, person

INBOUND = "/webhooks/sendgrid/inbound"


def fields_of(one: Received) -> dict[str, str]:
    """Read the multipart body with the parser that FastAPI uses."""
    fields: dict[str, str] = {}

    def keep(field: object) -> None:
        fields[field.field_name.decode()] = field.value.decode()  # type: ignore[attr-defined]

    headers = {"Content-Type": one.headers["content-type"].encode()}
    parse_form(headers, io.BytesIO(one.body), keep, None)
    return fields


def test_a_text_of_a_customer_arrives_signed(sandbox: Sandbox) -> None:
    sandbox.text("+12025550142")
    sandbox.post("/_sandbox/reply", {"channel": "sms", "to": "+12025550142", "text": "Ça ne marche pas"})
    sandbox.settle()
    (one,) = sandbox.receiver.at("/webhooks/twilio/inbound")
    fields = dict(parse_qsl(one.body.decode(), keep_blank_values=True))
    assert (fields["From"], fields["To"], fields["Body"]) == ("+12025550142", FROM_NUMBER, "Ça ne marche pas")
    assert "OptOutType" not in fields
    url = sandbox.receiver.url + one.path
    assert RequestValidator(SECRETS["twilio_token"]).validate(url, fields, one.headers["x-twilio-signature"])


def test_a_mail_of_a_customer_comes_through_inbound_parse_to_the_reply_address(sandbox: Sandbox) -> None:
    asked = person("jane@example.com", "m-1", substitutions={"{key}": "abc"})
    sandbox.mail(asked, reply_to={"email": "r+{key}@reply.example.com"}, subject="Your order")
    accepted = sandbox.get("/_sandbox/accepted", to="jane@example.com")["accepted"][0]
    sandbox.post("/_sandbox/reply", {"channel": "email", "message_id": "m-1", "text": "Still broken"})
    sandbox.settle()
    (one,) = sandbox.receiver.at(INBOUND)
    assert parse_qs(urlsplit(one.path).query)["token"] == [SECRETS["inbound_token"]]
    fields = fields_of(one)
    assert {"headers", "from", "to", "subject", "text", "envelope", "attachments", "charsets", "SPF"} <= fields.keys()
    assert json.loads(fields["envelope"]) == {"to": ["r+abc@reply.example.com"], "from": "jane@example.com"}
    assert (fields["to"], fields["text"], fields["subject"]) == (
        "r+abc@reply.example.com",
        "Still broken",
        "Re: Your order",
    )
    headers = Parser().parsestr(fields["headers"])
    assert accepted["provider_id"] in headers["In-Reply-To"]
    assert headers["Auto-Submitted"] is None


def test_an_automatic_reply_says_that_it_is_one(sandbox: Sandbox) -> None:
    sandbox.mail(person("jane@example.com", "m-1"))
    sandbox.post("/_sandbox/reply", {"channel": "email", "to": "jane@example.com", "text": "Away", "auto": True})
    sandbox.settle()
    headers = Parser().parsestr(fields_of(sandbox.receiver.at(INBOUND)[0])["headers"])
    assert headers["Auto-Submitted"] == "auto-replied"


def test_one_click_unsubscribe_posts_to_the_address_of_the_mail(sandbox: Sandbox) -> None:
    headers = {
        "List-Unsubscribe": f"<mailto:stop@example.com>, <{sandbox.receiver.url}/u/abc?x=1>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    sandbox.mail(person("jane@example.com", "m-1", headers=headers))
    sandbox.post("/_sandbox/reply", {"channel": "unsubscribe", "to": "jane@example.com"})
    sandbox.settle()
    (one,) = sandbox.receiver.at("/u/abc")
    assert (one.path, one.body) == ("/u/abc?x=1", b"List-Unsubscribe=One-Click")


def test_an_address_of_a_foreign_host_is_called_at_outreach_instead(sandbox: Sandbox) -> None:
    sandbox.text("+12025550142", StatusCallback="https://outreach.example.com/callbacks/status?message_id=m")
    sandbox.settle()
    received = sandbox.receiver.at("/callbacks/status")
    assert len(received) == 2
    fields = dict(parse_qsl(received[0].body.decode()))
    signed = "https://outreach.example.com/callbacks/status?message_id=m"
    assert RequestValidator(SECRETS["twilio_token"]).validate(signed, fields, received[0].headers["x-twilio-signature"])


def test_a_reply_to_nothing_is_refused_with_the_reason(sandbox: Sandbox) -> None:
    path = "/_sandbox/reply"
    assert "channel" in sandbox.post(path, {"to": "x"}, expect=(400,))["error"]
    assert "no accepted mail" in sandbox.post(path, {"channel": "email", "to": "x"}, expect=(404,))["error"]
    sandbox.mail(person("jane@example.com"))
    body = {"channel": "unsubscribe", "to": "jane@example.com"}
    assert "one-click" in sandbox.post(path, body, expect=(409,))["error"]


def test_a_control_call_that_is_not_json_is_refused(sandbox: Sandbox) -> None:
    answer = sandbox.http.request("POST", sandbox.url + "/_sandbox/reset", body=b"{}")
    assert answer.status == 415

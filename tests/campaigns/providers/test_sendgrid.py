"""SendGrid: the same JSON as the official SDK, and many people per call without mixing them up."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Content, CustomArg, From, Header, Mail, Personalization, ReplyTo, Subject, To

from campaigns.providers.base import EmailEnvelope, Outcome
from campaigns.providers.sendgrid import SendGrid
from campaigns.providers.sharing import HTML_TAG, MAX_SUBSTITUTION_BYTES, TEXT_TAG, common_parts, groups_of
from outreach.vocabulary import NoticeClass
from tests.campaigns.providers.cases import SENDGRID, email, message_id
from tests.campaigns.providers.wire import http_server

OPENAPI = Path(__file__).parents[4] / "shared/data/openapi/sendgrid_tsg_mail_v3.json.gz"


def adapter(url: str = "https://api.sendgrid.com", **changes: Any) -> SendGrid:
    """The adapter."""
    return SendGrid(base_url=url, api_key=SecretStr("SG.x"), connections=2, **changes)


def by_the_sdk(envelope: EmailEnvelope) -> Any:
    """What the official SDK would send."""
    mail = Mail(from_email=From(envelope.from_address, envelope.from_name), subject=Subject(envelope.subject))
    person = Personalization()
    person.add_to(To(envelope.to, envelope.to_name))
    person.add_custom_arg(CustomArg("message_id", str(envelope.message_id)))
    for name, value in envelope.headers.items():
        person.add_header(Header(name, value))
    mail.add_personalization(person)
    mail.add_content(Content("text/plain", envelope.text))
    mail.add_content(Content("text/html", envelope.html))
    mail.reply_to = ReplyTo(envelope.reply_to)
    return mail


@pytest.mark.parametrize("changes", [{}, {"to_name": "María"}, {"headers": {}}, {"subject": "Ü – ”"}])
def test_one_message_is_the_json_of_the_official_sdk(changes: dict[str, Any]) -> None:
    envelope = email(1, **changes)
    assert adapter().body_for([envelope]) == by_the_sdk(envelope).get()


def test_the_official_client_reaches_the_same_server_with_the_same_request() -> None:
    envelope = email(1)
    with http_server(SENDGRID.answers) as wire:
        ours = adapter(wire.url)
        ours.send([envelope], deadline=time.monotonic() + 5)
        ours.close()
        answer = SendGridAPIClient("SG.x", host=wire.url).send(by_the_sdk(envelope))
    assert answer.status_code == 202
    first, second = wire.calls
    assert (first.method, first.path) == (second.method, second.path)
    assert first.headers["authorization"] == second.headers["authorization"]
    assert json.loads(first.body) == json.loads(second.body)


def as_delivered(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What each person gets, by SendGrid's own rules for substitutions."""
    people = []
    for person in body["personalizations"]:
        texts = [content["value"] for content in body["content"]]
        reply_to = body.get("reply_to", {}).get("email")
        subject = person.get("subject", body["subject"])
        for tag, value in person.get("substitutions", {}).items():
            texts = [text.replace(tag, value) for text in texts]
            reply_to = reply_to.replace(tag, value)
        people.append((person["custom_args"]["message_id"], person["to"][0]["email"], subject, *texts, reply_to))
    return people


def as_asked(envelope: EmailEnvelope) -> tuple[Any, ...]:
    """What she should get."""
    return (str(envelope.message_id), envelope.to, envelope.subject, envelope.text, envelope.html, envelope.reply_to)


words = st.text(alphabet="ab-<>/ é", max_size=12)


@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=8), st.integers(1, 5))
def test_everybody_gets_exactly_what_was_rendered_for_her(parts: list[tuple[str, str, str]], size: int) -> None:
    envelopes = [
        email(n, subject="S" + subject, text=f"Hi {text}, same end", html=f"<p>Hi {html}</p> same end")
        for n, (subject, text, html) in enumerate(parts)
    ]
    provider = adapter(messages_per_call=size)
    delivered = []
    for numbers in groups_of(envelopes, size):
        delivered += as_delivered(provider.body_for([envelopes[i] for i in numbers]))
    provider.close()
    assert sorted(delivered) == sorted(as_asked(e) for e in envelopes)


@given(st.lists(st.text(alphabet="abc", max_size=9), min_size=1, max_size=6))
def test_beginning_middle_and_end_are_the_text(texts: list[str]) -> None:
    shared = common_parts(texts)
    for text in texts:
        middle = "" if shared.identical else shared.middle(text)
        assert shared.beginning + middle + shared.end == text


def test_what_is_the_same_for_all_travels_once() -> None:
    frame = "<html>" + "x" * 5000
    group = [email(n, html=f"{frame}{n}{frame}", text="same", reply_to=None) for n in range(1, 5)]
    body = adapter().body_for(group)
    assert json.dumps(body).count(frame) == 2
    assert [p["substitutions"] for p in body["personalizations"]] == [{HTML_TAG: str(n)} for n in range(1, 5)]


def test_who_has_too_much_of_her_own_gets_a_call_of_her_own() -> None:
    envelopes = [email(n, html=f"<p>{n}</p>") for n in range(4)]
    envelopes[2] = email(2, html="é" * (MAX_SUBSTITUTION_BYTES // 2))
    assert sorted(map(sorted, groups_of(envelopes, 50))) == [[0, 1, 3], [2]]


def test_class_safety_travels_alone() -> None:
    envelopes = [email(n, notice_class=NoticeClass.SAFETY) for n in range(3)]
    assert groups_of(envelopes, 50) == [[0], [1], [2]]


def test_a_text_that_holds_one_of_our_tags_travels_alone_and_unchanged() -> None:
    envelopes = [email(0), email(1, html=f"see {TEXT_TAG} here"), email(2)]
    assert sorted(groups_of(envelopes, 50)) == [[0, 2], [1]]
    body = adapter().body_for([envelopes[1]])
    assert body["content"][1]["value"] == f"see {TEXT_TAG} here"
    assert "substitutions" not in body["personalizations"][0]


def test_different_senders_and_reply_domains_do_not_share_a_call() -> None:
    envelopes = [email(0), email(1, from_address="other@example.com"), email(2, reply_to="r@b.example"), email(3)]
    assert sorted(groups_of(envelopes, 50)) == [[0, 3], [1], [2]]


def test_messages_of_one_call_share_its_number_and_id() -> None:
    with http_server(SENDGRID.answers) as wire:
        provider = adapter(wire.url, messages_per_call=3)
        receipts = provider.send([email(n) for n in range(6)], deadline=time.monotonic() + 5)
        provider.close()
    assert len(wire.calls) == 2
    assert [r.call for r in receipts] == [0, 0, 0, 1, 1, 1]
    assert {r.provider_id for r in receipts} == {"sg-1"}


def test_groups_and_bypass_follow_the_class_where_they_are_set() -> None:
    provider = adapter(unsubscribe_groups={NoticeClass.SERVICE: 7}, bypass_for_safety=True)
    assert provider.body_for([email(0)])["asm"] == {"group_id": 7}
    assert "mail_settings" not in provider.body_for([email(0)])
    safety = provider.body_for([email(0, notice_class=NoticeClass.SAFETY)])
    assert safety["mail_settings"] == {"bypass_list_management": {"enable": True}}
    assert "asm" not in safety


def test_a_sandbox_answer_counts_as_accepted() -> None:
    with http_server({"accept": (200, {"Content-Type": "application/json"}, b"{}")}) as wire:
        provider = adapter(wire.url)
        (receipt,) = provider.send([email(0)], deadline=time.monotonic() + 5)
        provider.close()
    assert receipt.outcome is Outcome.ACCEPTED


def test_the_official_description_accepts_our_request() -> None:
    if not OPENAPI.exists():
        pytest.skip("the official OpenAPI descriptions are not beside the project (../shared/data)")
    from openapi_schema_validator import OAS31Validator
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    description = json.loads(gzip.decompress(OPENAPI.read_bytes()))
    registry: Registry[Any] = Registry().with_resource("urn:sendgrid", DRAFT202012.create_resource(description))
    reference = "urn:sendgrid#/components/requestBodies/PostMailSend/content/application~1json/schema"
    validator = OAS31Validator({"$ref": reference}, registry=registry)
    group = [email(n) for n in range(3)]
    assert [e.message for e in validator.iter_errors(adapter().body_for(group))] == []
    broken = adapter().body_for(group)
    del broken["personalizations"]
    assert list(validator.iter_errors(broken))


@pytest.mark.parametrize(("key", "word"), [(None, "not set"), (SecretStr("SG.x\n"), "line break")])
def test_check_names_the_setting(key: SecretStr | None, word: str) -> None:
    provider = SendGrid(base_url="https://api.sendgrid.com", api_key=key)
    assert word in provider.check()[0]
    assert "SG.x" not in provider.check()[0]
    assert provider.look_up(message_id(0), "a", None).search == "unable"  # type: ignore[arg-type]
    provider.close()


def test_a_key_with_a_line_break_makes_no_second_header() -> None:
    with http_server(SENDGRID.answers) as wire:
        ours = SendGrid(base_url=wire.url, api_key=SecretStr("SG.x\r\nX-Evil: yes"), connections=1)
        ours.send([email(1)], deadline=time.monotonic() + 5)
        ours.close()
    (call,) = wire.calls
    assert call.headers["authorization"] == "Bearer SG.x??X-Evil: yes"
    assert "x-evil" not in call.headers


def test_one_bad_person_is_found_with_few_calls_and_each_call_has_its_own_number() -> None:
    envelopes = [email(n) for n in range(16)]
    with http_server(SENDGRID.answers) as wire:
        wire.refuse_where = str(envelopes[5].message_id).encode()
        ours = adapter(wire.url)
        receipts = ours.send(envelopes, deadline=time.monotonic() + 5)
        ours.close()
    assert [n for n, receipt in enumerate(receipts) if receipt.outcome is not Outcome.ACCEPTED] == [5]
    assert receipts[5].outcome is Outcome.REJECTED
    assert len(wire.calls) == 9  # 16; 8, 8; 4, 4; 2, 2; 1, 1
    shared: dict[int | None, list[int]] = {}
    for n, receipt in enumerate(receipts):
        shared.setdefault(receipt.call, []).append(n)
    assert sorted(shared.values()) == [[0, 1, 2, 3], [4], [5], [6, 7], [8, 9, 10, 11, 12, 13, 14, 15]]

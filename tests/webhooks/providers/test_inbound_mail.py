import json
import time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outreach.errors import InvalidInput, OutreachError, TooLarge
from outreach.vocabulary import Channel, Intent
from tests.webhooks.samples import sample_bytes
from webhooks.intents import understand
from webhooks.providers.inbound_mail import LARGEST_BODY, parse_inbound
from webhooks.quoted_text import newest_words

TOKEN = "0198c0de000070008000000000000001"
KIND = "multipart/form-data; boundary=xYzZY"


def body_of(files: list[tuple[str, str, bytes]] | None = None, /, **fields: str) -> bytes:
    parts = [
        f'--xYzZY\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()
    ]
    for index, (name, media_type, data) in enumerate(files or [], 1):
        head = f'--xYzZY\r\nContent-Disposition: form-data; name="attachment{index}"; filename="{name}"\r\n'
        parts.append(head.encode() + f"Content-Type: {media_type}\r\n\r\n".encode() + data + b"\r\n")
    return b"".join(parts) + b"--xYzZY--\r\n"


def mail(headers: str = "", **fields: str) -> Any:
    base = {"from": "Ann <ann@Example.com>", "to": f"reply+{TOKEN}@reply.example.com", "text": "Still broken"}
    return parse_inbound(KIND, body_of(headers=headers, **(base | fields)))


def raw_mail(raw: str) -> Any:
    return parse_inbound(KIND, body_of(email=raw, to="a@b.c", **{"from": "ann@example.com"}))


def unix_newlines(body: bytes) -> bytes:
    # The samples were stored with plain newlines; on the wire a form has CRLF.
    return body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@pytest.mark.parametrize("name", ["inbound_parse_default", "inbound_parse_raw"])
def test_the_real_samples_are_read_in_both_modes(name: str) -> None:
    reply = parse_inbound(KIND, unix_newlines(sample_bytes(f"sendgrid/{name}.multipart.txt")))
    assert (reply.channel, reply.sender) == (Channel.EMAIL, "test@example.com")
    assert reply.text == "Hello Twilio SendGrid!"
    assert reply.subject in ("Testing non-raw", "Testing with Request.bin")
    assert (reply.automatic, reply.message_id, reply.attachments) == (False, None, ())


def test_the_address_they_answered_to_names_the_message() -> None:
    reply = mail()
    assert (reply.message_id, reply.sender) == (UUID(TOKEN), "ann@example.com")
    envelope = json.dumps({"to": [f"REPLY+{TOKEN.upper()}@reply.example.com"], "from": "ann@example.com"})
    found = mail(to="care@example.com", envelope=envelope)
    assert (found.message_id, found.recipient) == (UUID(TOKEN), f"REPLY+{TOKEN.upper()}@reply.example.com")


@pytest.mark.parametrize(
    "to", [f"reply+{TOKEN[:-1]}@x.y", f"reply+{TOKEN}0@x.y", f"reply-{TOKEN}@x.y", "reply+@x.y", ""]
)
def test_a_broken_token_names_no_message(to: str) -> None:
    assert mail(to=to).message_id is None


def test_the_thread_is_kept_newest_first() -> None:
    headers = "Message-ID: <3@x>\r\nIn-Reply-To: <2@x>\r\nReferences: <1@x>\r\n <2@x>"
    assert mail(headers).thread_ids == ("2@x", "1@x")


@pytest.mark.parametrize(
    "headers",
    [
        "Auto-Submitted: auto-replied",
        "auto-submitted: auto-generated; owner-email=x",
        "Precedence: bulk",
        "X-Autoreply: yes",
        "X-Auto-Response-Suppress: All",
        "List-Id: <l.example.com>",
        "Return-Path: <>",
        "Content-Type: multipart/report; report-type=delivery-status",
    ],
)
def test_machines_are_marked(headers: str) -> None:
    assert mail(headers).automatic


def test_out_of_office_is_marked_by_its_subject_and_a_person_is_not() -> None:
    assert mail(subject="Automatic reply: away").automatic
    assert mail(subject="Re: Abwesenheitsnotiz").automatic
    assert mail(subject="Out of Office: Ann").automatic
    assert not mail("Auto-Submitted: no", subject="Re: your parcel").automatic
    assert mail(envelope='{"to":["a@b.c"],"from":""}').automatic
    assert mail(**{"from": "MAILER-DAEMON@example.com"}).automatic


def test_a_repeated_delivery_has_the_same_key_and_another_text_another() -> None:
    assert mail("Message-ID: <1@x>", spam_score="1").key == mail("Message-ID: <1@x>", spam_score="2").key
    assert mail("Message-ID: <1@x>").key != mail("Message-ID: <2@x>").key
    assert mail("Message-ID: <1@x>").key != mail("Message-ID: <1@x>", text="other").key


def test_attachments_are_listed_but_not_kept() -> None:
    files = [("photo.jpg", "image/jpeg", b"\xff\xd8" * 50), ("../../etc/passwd", "text/plain", b"x")]
    reply = parse_inbound(KIND, body_of(files, text="see photo", **{"from": "a@b.c"}))
    assert [(one.name, one.media_type, one.size) for one in reply.attachments] == [
        ("photo.jpg", "image/jpeg", 100),
        ("passwd", "text/plain", 1),
    ]


def test_the_charset_of_each_field_is_used_and_a_strange_one_ignored() -> None:
    head = b'--xYzZY\r\nContent-Disposition: form-data; name="text"\r\n\r\n'
    rest = body_of(charsets='{"text": "iso-8859-1", "from": "zlib"}', **{"from": "a@b.c"})
    assert parse_inbound(KIND, head + "défaut".encode("latin-1") + b"\r\n" + rest).text == "défaut"


def test_html_alone_becomes_words_without_quotes_and_scripts() -> None:
    source = "<p>Hi &amp; <b>bye</b></p><script>alert(1)</script><blockquote>Reply STOP to stop</blockquote>"
    assert mail(text="", html=source).text == "Hi & bye"


def test_a_display_name_cannot_pose_as_an_address() -> None:
    assert mail(**{"from": '"ceo@example.com" <eve@evil.example>'}).sender == "eve@evil.example"
    hidden = "From: =?utf-8?q?ceo=40example=2Ecom_=3Cceo=40example=2Ecom=3E?= <eve@evil.example>\r\n\r\nhi"
    assert parse_inbound(KIND, body_of(email=hidden)).sender == "eve@evil.example"


def test_a_nul_is_taken_out() -> None:
    assert mail(text="a\x00b").text == "ab"


def test_stop_in_old_quoted_text_is_not_a_stop() -> None:
    text = "It works now, thanks!\r\n\r\nOn Mon, 2 Mar 2026, Shop <care@example.com> wrote:\r\n> Reply STOP to stop."
    reply = mail(text=text)
    assert understand(newest_words(reply.text)).intent is Intent.SOLVED


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", b""),
        ("text/plain", b"hello"),
        ("multipart/form-data", b"--x--"),
        (KIND, b""),
        (KIND, b"garbage"),
        (KIND, body_of(text="who am I?")),
        (KIND, body_of(text="x", **{"from": "nobody"})),
        (KIND, body_of(text="x", **{"from": ""})),
    ],
)
def test_what_is_no_email_is_refused_with_a_reason(kind: str, body: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_inbound(kind, body)


def test_forty_megabytes_are_refused_before_reading() -> None:
    with pytest.raises(TooLarge, match="are the most we read"):
        parse_inbound(KIND, b"x" * (LARGEST_BODY + 1))


def test_ten_thousand_parts_are_refused() -> None:
    with pytest.raises(TooLarge, match="200 parts"):
        parse_inbound(KIND, body_of([(f"{i}.txt", "text/plain", b"") for i in range(10_000)], **{"from": "a@b.c"}))


def test_a_huge_field_is_refused() -> None:
    with pytest.raises(TooLarge, match="text"):
        mail(text="x" * 3_000_000)


@pytest.mark.parametrize("wrapper", ["message/rfc822", "multipart/mixed"])
def test_a_mime_bomb_is_refused_in_time(wrapper: str) -> None:
    parts = ["From: a@b.c\r\n"]
    for depth in range(3000):
        ending = f'; boundary="b{depth}"\r\n\r\n--b{depth}\r\n' if wrapper.startswith("multipart") else "\r\n\r\n"
        parts.append(f"Content-Type: {wrapper}{ending}")
    started = time.monotonic()
    with pytest.raises(TooLarge):
        raw_mail("".join(parts))
    assert time.monotonic() - started < 5


def test_a_raw_message_of_ten_thousand_parts_is_refused_in_time() -> None:
    raw = 'From: a@b.c\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n' + "--b\r\n\r\nx\r\n" * 10_000 + "--b--"
    started = time.monotonic()
    with pytest.raises(TooLarge):
        raw_mail(raw)
    assert time.monotonic() - started < 5


def test_a_raw_message_lists_attachments_and_decodes_words() -> None:
    raw = (
        "From: =?utf-8?q?J=C3=B6rg?= <jo@example.com>\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nR3LDvMOfZQ==\r\n"
        '--b\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename="a.png"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n"
    )
    reply = parse_inbound(KIND, body_of(email=raw))
    assert (reply.sender, reply.subject, reply.text) == ("jo@example.com", "Grüße", "Grüße")
    assert [(one.name, one.media_type, one.size) for one in reply.attachments] == [("a.png", "image/png", 3)]


@given(
    st.dictionaries(
        st.sampled_from(["from", "to", "text", "html", "headers", "envelope", "charsets", "email"]), st.text()
    )
)
def test_no_form_whatever_it_holds_raises_anything_else(fields: dict[str, str]) -> None:
    try:
        reply = parse_inbound(KIND, body_of(**{k: v.encode("utf-8", "replace").decode() for k, v in fields.items()}))
    except OutreachError:
        return
    assert "\x00" not in reply.text

import base64
import hashlib
import hmac
from urllib.parse import urlencode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outreach.errors import InvalidInput, NotAuthenticated
from outreach.vocabulary import Channel, EventKind, SuppressionReason
from tests.webhooks.samples import flipped, sample
from webhooks.providers import twilio

URL = "https://care.example.com/webhooks/twilio/status?message_id=0198c0de000070008000000000000001"


def sign(url: str, pairs: list[tuple[str, str]], token: str = "secret") -> dict[str, str]:
    signed = url + "".join(name + value for name, value in sorted(set(pairs)))
    digest = hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    return {"X-Twilio-Signature": base64.b64encode(digest).decode()}


def form(**fields: str) -> bytes:
    return urlencode(fields).encode()


def refused(headers: dict[str, str], body: bytes, url: str, tokens: list[str]) -> bool:
    try:
        twilio.verify(headers, body, url, tokens)
    except NotAuthenticated:
        return True
    return False


def test_official_signature_vectors_hold() -> None:
    for case in sample("twilio/signature_vectors.json")["cases"]:
        body = case["raw_body"].encode() if "raw_body" in case else urlencode(case["params"], doseq=True).encode()
        headers = {"X-Twilio-Signature": case["header_signature"]}
        assert refused(headers, body, case["url"], [case["auth_token"]]) != case["valid"], case["name"]


def test_every_flipped_byte_of_a_signed_form_is_refused() -> None:
    pairs = [("MessageSid", "SM1"), ("MessageStatus", "delivered"), ("To", "+15550100")]
    body = urlencode(pairs).encode()
    headers = sign(URL, pairs)
    twilio.verify(headers, body, URL, ["secret"])
    # Changing a %2B to %2b, or a letter of a percent code's case, changes no value: flips of a bit never do that.
    assert all(refused(headers, other, URL, ["secret"]) for other in flipped(body))


def test_a_json_body_is_covered_by_its_hash() -> None:
    case = next(one for one in sample("twilio/signature_vectors.json")["cases"] if "raw_body" in one)
    headers = {"X-Twilio-Signature": case["header_signature"]}
    for body in flipped(case["raw_body"].encode()):
        assert refused(headers, body, case["url"], [case["auth_token"]])


def test_two_tokens_are_accepted_while_one_replaces_the_other() -> None:
    headers = sign(URL, [("a", "b")], "new")
    twilio.verify(headers, b"a=b", URL, ["old", "new"])
    assert refused(headers, b"a=b", URL, ["old"])


@pytest.mark.parametrize("tokens", [[], [""], [" "]])
def test_without_a_token_everything_is_refused(tokens: list[str]) -> None:
    assert refused(sign(URL, [], ""), b"", URL, tokens)


@pytest.mark.parametrize("value", ["", "x", "none", "sha1=abc", "=" * 28, "é" * 28])
def test_a_signature_that_is_none_is_refused(value: str) -> None:
    assert refused({"X-Twilio-Signature": value}, b"", URL, ["secret"])
    assert refused({}, b"", URL, ["secret"])


@pytest.mark.parametrize(
    "url",
    [
        "https://care.example.com:8443/hook?a=1",
        "https://care.example.com/hook%20with/encoded%2Fpath?x=%C3%A9",
        "https://care.example.com/hook/",
        "https://care.example.com",
    ],
)
def test_the_configured_address_is_taken_as_it_is(url: str) -> None:
    headers = sign(url, [("a", "1")])
    assert not refused(headers, b"a=1", url, ["secret"])
    assert refused(headers, b"a=1", url + "x", ["secret"])


def test_repeated_keys_are_signed_once_per_value() -> None:
    pairs = [("MediaUrl", "b"), ("MediaUrl", "a"), ("MediaUrl", "a")]
    assert not refused(sign(URL, pairs), urlencode(pairs).encode(), URL, ["secret"])


def test_real_status_callbacks_are_read() -> None:
    posts = sample("twilio/form_posts.json")["posts"]
    delivered = twilio.parse_events(posts["statusValid"].encode()).events[0]
    assert delivered.kind is EventKind.DELIVERED
    assert delivered.key == f"{delivered.provider_id}:delivered"
    sent = twilio.parse_events(posts["tmsStatusExtra"].encode()).events[0]
    assert (sent.kind, sent.address) == (EventKind.SENT, "2021")


def test_error_21610_bars_the_number() -> None:
    stopped = twilio.parse_events(sample("twilio/form_posts.json")["posts"]["statusStop"].encode()).events[0]
    assert (stopped.kind, stopped.bars) == (EventKind.FAILED, SuppressionReason.OPTED_OUT_AT_PROVIDER)
    assert (stopped.address, stopped.detail) == (
        "+12028831111",
        "failed (error 21610: this person has opted out at Twilio)",
    )


@pytest.mark.parametrize(("code", "bars"), [("30006", SuppressionReason.UNUSABLE_NUMBER), ("30003", None), ("x", None)])
def test_only_permanent_errors_bar_the_number(code: str, bars: SuppressionReason | None) -> None:
    body = form(MessageSid="SM1", MessageStatus="undelivered", ErrorCode=code, To="+15550100")
    assert twilio.parse_events(body).events[0].bars is bars


def test_the_message_is_the_one_named_in_the_callback_address() -> None:
    body = form(MessageSid="SM1", MessageStatus="sent")
    hexadecimal = "0198c0de000070008000000000000001"
    assert twilio.parse_events(body, hexadecimal).events[0].message_id == UUID(hexadecimal)
    assert twilio.parse_events(body, "nonsense").events[0].message_id is None
    assert twilio.parse_events(body).events[0].message_id is None


def test_an_unknown_status_is_kept_as_unknown() -> None:
    assert twilio.parse_events(form(MessageSid="SM1", MessageStatus="Beamed")).events[0].kind is EventKind.UNKNOWN


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b"MessageSid=SM1",
        b"MessageStatus=sent",
        b"MessageSid=&MessageStatus=",
        b"MessageSid=SM1&MessageSid=SM2&MessageStatus=sent",
        b"MessageSid=SM1&MessageStatus=sent&MessageStatus=failed",
        b"&".join(b"a%d=1" % i for i in range(2000)),
    ],
)
def test_a_callback_that_cannot_be_read_is_malformed(body: bytes) -> None:
    batch = twilio.parse_events(body)
    assert (batch.events, len(batch.malformed)) == ((), 1)


def test_a_real_incoming_message_is_read() -> None:
    reply = twilio.parse_inbound(sample("twilio/form_posts.json")["posts"]["receiveValid"].encode())
    assert (reply.sender, reply.recipient, reply.text) == ("+14133881111", "+12028831111", "Msg")
    assert (reply.channel, reply.key) == (Channel.SMS, "SMe287d7109a5a925f182f0e07fe5b223b")
    assert (reply.attachments, reply.provider_keyword) == ((), None)


def test_the_opt_out_type_of_twilio_is_kept() -> None:
    fields = {"MessageSid": "SM1", "From": "+15550100", "To": "+15550199", "Body": "Stopp"}
    assert twilio.parse_inbound(form(**fields, OptOutType="STOP")).provider_keyword == "STOP"
    assert twilio.parse_inbound(form(**fields, OptOutType="DANCE")).provider_keyword is None


def test_a_picture_without_words_is_a_reply_with_an_attachment() -> None:
    body = form(
        MessageSid="MM1", From="+15550100", To="+15550199", Body="", NumMedia="1",
        MediaUrl0="https://api.twilio.com/m/1", MediaContentType0="image/jpeg",
    )  # fmt: skip
    reply = twilio.parse_inbound(body)
    assert (reply.text, [(one.name, one.media_type) for one in reply.attachments]) == (
        "",
        [("https://api.twilio.com/m/1", "image/jpeg")],
    )


def test_the_channel_before_the_number_is_taken_off() -> None:
    assert twilio.parse_inbound(form(MessageSid="S", From="whatsapp:+15550100", Body="hi")).sender == "+15550100"


def test_a_nul_in_a_message_is_taken_out() -> None:
    assert twilio.parse_inbound(b"MessageSid=S&From=%2B1555&Body=ST%00OP").text == "STOP"


@pytest.mark.parametrize("body", [b"", b"{}", b"From=%2B1", b"MessageSid=S", b"MessageSid=S&From=a&From=b", b"\xff"])
def test_an_incoming_message_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        twilio.parse_inbound(body)


@given(st.dictionaries(st.sampled_from(["MessageSid", "MessageStatus", "ErrorCode", "To", "x"]), st.text()))
def test_no_form_whatever_it_holds_raises(fields: dict[str, str]) -> None:
    body = urlencode(fields, errors="replace").encode()
    batch = twilio.parse_events(body, fields.get("x"))
    assert len(batch.events) + len(batch.malformed) == 1

"""What a reader finds in the bytes of an email: exactly what the envelope says."""

import email as email_package
import re
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from campaigns.providers.email_bytes import write
from tests.campaigns.providers.cases import email, message_id

LINK = "https://outreach.example.com/u/" + "a9Zk3sX9qLw8TnVb2R" * 5  # as long as the product makes them
ALPHABETS = (
    st.characters(min_codepoint=32, max_codepoint=126),
    st.sampled_from('"\\<>@,;:()[]=?_. \t' + "\x01\x0b\x0c\x1b\x7f\x85\u2028\u2029\ufeff\u200f"),
    st.sampled_from("éàüñßøŁ–“”"),
    st.sampled_from("東京都客様注文中華人民한국어"),
    st.sampled_from("😀👩‍👩‍👧🇩🇪́"),
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"),
)
CHARACTERS = st.one_of(*ALPHABETS)
ONE_LINE = st.one_of(*(st.text(alphabet, max_size=120) for alphabet in (*ALPHABETS, CHARACTERS)))
LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n.", "\n..\n", " \n", "\t\r\n", "\nFrom ", "\r\n--", "=\n", "\0"])
TEXTS = st.lists(st.one_of(ONE_LINE, LINE_ENDS, st.text(CHARACTERS, min_size=200, max_size=400)), max_size=8).map(
    "".join
)
HOSTILE = "=?utf-8?q?=0D=0ABcc:_x=40example.com?="


def read(**changes: Any) -> tuple[EmailMessage, bytes]:
    """An email as a client reads it, and its bytes."""
    payload = write(email(0, **changes)).payload
    return email_package.message_from_bytes(payload, policy=policy.default), payload


def name_in(payload: bytes, header: str) -> str:
    """A display name, by the older reader: until 3.13 the newer one puts a space between two encoded words."""
    raw = email_package.message_from_bytes(payload, policy=policy.compat32)[header]
    return str(make_header(decode_header(parseaddr(raw.replace("\r\n", ""))[0])))


def texts_of(message: EmailMessage) -> list[str]:
    """The plain text and the HTML."""
    found = []
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        assert isinstance(part, EmailMessage)
        found.append(part.get_content())
    return found


def lines(text: str) -> str:
    """A text with the line ends of an email, the last line ended (as any mail has them)."""
    ended = re.sub(r"\r\n?|\n", "\n", text)
    return (ended if ended.endswith("\n") else ended + "\n").replace("\n", "\r\n")


@given(subject=ONE_LINE, to_name=ONE_LINE, from_name=ONE_LINE, text=TEXTS, html=TEXTS)
@example(subject=HOSTILE, to_name=HOSTILE, from_name='"x" <y@z>, q', text=HOSTILE, html="--=_0190\r\n\r\n")
@example(subject="x" * 5000, to_name="n" * 3000, from_name="å" * 3000, text="x" * 5000, html="東" * 5000)
@example(subject="x " * 300, to_name="a " * 300, from_name=" ", text="\n" * 99, html="a" + " " * 300)
@example(subject="Größe", to_name="Łukasz, O’Neil", from_name='A "B" \\ C', text="From me\nFrom you", html=".\n..")
def test_a_client_reads_exactly_what_the_envelope_says(
    subject: str, to_name: str, from_name: str, text: str, html: str
) -> None:
    message, payload = read(subject=subject, to_name=to_name, from_name=from_name, text=text, html=html)
    assert message["Subject"] == subject
    assert name_in(payload, "To") == to_name
    assert name_in(payload, "From") == from_name
    assert message["To"].addresses[0].addr_spec == email(0).to
    assert message["From"].addresses[0].addr_spec == "care@example.com"
    assert message["Reply-To"] == "r0@reply.example.com"
    assert message["Message-ID"] == f"<{message_id(0)}@example.com>"
    assert message["X-Outreach-Message"] == str(message_id(0))
    assert message["List-Unsubscribe"] == "<https://example.com/u/0>"
    assert message["Bcc"] is None
    assert texts_of(message) == [lines(text), lines(html)]
    assert not message.defects


@given(subject=ONE_LINE, to_name=ONE_LINE, from_name=ONE_LINE, text=TEXTS, html=TEXTS)
@example(subject="x" * 5000, to_name="n" * 3000, from_name="å" * 3000, text="x" * 5000, html="東" * 5000)
@example(subject="x" * 989, to_name='"' * 64, from_name="😀" * 40, text="a" + " " * 300, html=("a" * 74 + " \n") * 3)
@example(subject="", to_name="", from_name="", text="From " + "x" * 90, html="\nFrom " + "From " * 30)
def test_every_line_ends_in_crlf_and_none_is_too_long(
    subject: str, to_name: str, from_name: str, text: str, html: str
) -> None:
    _, payload = read(subject=subject, to_name=to_name, from_name=from_name, text=text, html=html)
    assert payload.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|[^\r\n\t\x20-\x7e]", payload)
    head, _, bodies = payload.partition(b"\r\n\r\n")
    assert max(map(len, head.split(b"\r\n"))) <= 998
    assert max(map(len, bodies.split(b"\r\n"))) <= 76
    assert not re.search(rb"\r\nFrom ", bodies)
    assert all(len(line) <= 76 for line in head.split(b"\r\n") if b"=?utf-8?" in line)


def test_a_long_link_to_unsubscribe_is_written_as_it_is() -> None:
    headers = {"List-Unsubscribe": f"<{LINK}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    message, payload = read(headers=headers)
    assert f"\r\nList-Unsubscribe: <{LINK}>\r\n".encode() in payload
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in payload
    assert message["List-Unsubscribe"] == f"<{LINK}>"


def test_a_header_that_no_line_can_hold_is_folded_into_words() -> None:
    message, _ = read(headers={"X-Long": "x" * 2000, "X-Named": "Größe"})
    assert message["X-Long"] == "x" * 2000
    assert message["X-Named"] == "Größe"


@pytest.mark.parametrize(
    "address", ["", "x", "a b@example.com", "a@@b", "a@b>, <c@d", "x" * 320 + "@example.com", "a\x85b@example.com"]
)
@pytest.mark.parametrize("field", ["to", "from_address", "reply_to"])
def test_an_address_that_cannot_be_written_is_refused(field: str, address: str) -> None:
    with pytest.raises((ValueError, IndexError, email_package.errors.MessageError)):
        write(email(0, **{field: address}))


def test_a_quoted_and_an_international_address_are_kept() -> None:
    quoted = write(email(0, to='"a b"@example.org'))
    assert (quoted.recipient, quoted.international) == ('"a b"@example.org', False)
    abroad = write(email(0, to="josé@exämple.org", to_name="José"))
    assert (abroad.recipient, abroad.international) == ("josé@exämple.org", True)
    assert "\r\nTo: =?utf-8?b?Sm9zw6k=?=\r\n <josé@exämple.org>\r\n".encode() in abroad.payload


def test_half_of_a_character_pair_in_a_text_cannot_be_written() -> None:
    with pytest.raises(ValueError):
        write(email(0, text="\ud83d"))


def test_a_text_that_is_mostly_not_ascii_is_base64() -> None:
    _, payload = read(text="ご注文について\n" * 20, html="<p>About your Größe</p>")
    assert payload.count(b"Content-Transfer-Encoding: base64") == 1
    assert payload.count(b"Content-Transfer-Encoding: quoted-printable") == 1

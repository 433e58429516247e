"""QR codes on postcards: the printed picture holds the link, and nothing else comes out of it."""

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
import zxingcpp
from PIL import Image

from campaigns import postcard_proofs
from campaigns.context import Links
from campaigns.default_templates import KEYS, default_templates
from campaigns.liquid_templates import LiquidTemplate
from campaigns.postcard_proofs import Side, as_png
from campaigns.postcard_sizes import SIZES, PostcardSize
from campaigns.previews import example_context
from campaigns.qr_codes import MOST_BYTES
from campaigns.rendering import MAX_POSTCARD_CHARACTERS, Content, compile_content
from outreach.errors import InvalidTemplate
from outreach.vocabulary import Channel

MESSAGE = UUID("0192f0a0-1111-7abc-8def-0123456789ab")
SMALL = SIZES["4x6"]
ADDRESS = ("Maria Lindqvist", "1 Quay", "Portland, OR 97205")
drawn = pytest.mark.skipif(not postcard_proofs.available(), reason=postcard_proofs.MISSING)


def default_card(key: str, size: PostcardSize) -> Content:
    """The default postcard, made for this size as an author would."""
    content = default_templates()[key, Channel.POSTCARD]
    small, wanted = (f"width: {each.width}in; height: {each.height}in" for each in (SMALL, size))
    assert small in content.body
    assert small in (content.back or "")
    return replace(content, body=content.body.replace(small, wanted), back=(content.back or "").replace(small, wanted))


def read(html: str, size: str, address: tuple[str, ...] = ADDRESS) -> list[str]:
    """What a reader of barcodes finds on a drawn side."""
    picture = Image.open(BytesIO(as_png(Side(html, size, address))))
    return [found.text for found in zxingcpp.read_barcodes(picture) if found.format == zxingcpp.BarcodeFormat.QRCode]


def from_paper(source: str, context: dict[str, Any]) -> str:
    return LiquidTemplate(source, "the card", html=True, paper=True).render(context)


@drawn
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("key", KEYS)
def test_the_printed_card_holds_the_signed_link(key: str, size: PostcardSize) -> None:
    context = example_context()
    context["links"] |= Links(datetime.now(UTC)).of(MESSAGE)
    made = compile_content(default_card(key, size)).render(context)
    assert made.size == size.name
    assert read(made.back or "", size.name) == [context["links"]["answer"]]
    assert context["links"]["answer"] not in (made.back or "")


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("key", KEYS)
def test_the_default_cards_are_short_enough_for_lob(key: str, size: PostcardSize) -> None:
    context = example_context()
    context["customer"]["name"] = "&" * 100  # each takes five characters
    context["problem"] |= dict.fromkeys(("title", "summary", "workaround", "fix"), "&" * 2000)
    start = "https://care.example.com/answer/"
    context["links"]["answer"] = start + ("aB3-" * MOST_BYTES)[: MOST_BYTES - len(start)]
    made = compile_content(default_card(key, size)).render(context)
    for side in (made.html, made.back):
        assert len(side or "") < MAX_POSTCARD_CHARACTERS


def test_the_picture_is_three_centimetres_wide_and_keeps_its_quiet_zone() -> None:
    svg = from_paper("{{ links.answer | qr_code }}", example_context())
    assert svg.startswith('<svg width="1.2in" height="1.2in" shape-rendering="crispEdges" viewBox="0 0 ')
    modules = int(svg.partition('viewBox="0 0 ')[2].split()[0])
    assert f'fill="#fff" d="M0 0h{modules}v{modules}h-{modules}z"' in svg
    assert 'stroke="#000" d="M4 4.5h7' in svg  # the corner mark, four modules from the edge


@drawn
@pytest.mark.parametrize(
    "value", ['"><script>alert(1)</script>', "{{ customer.name }}", "' onload='x", "Zoë 東京", "x" * MOST_BYTES]
)
def test_whatever_it_is_given_stays_inside_of_the_picture(value: str) -> None:
    svg = from_paper("{{ customer.name | qr_code }}", {"customer": {"name": value}})
    assert value not in svg
    assert set(svg) <= set('<>/="#-.: 0123456789abcdefghijklmnopqrstuvwxyzBEHMS')
    assert (svg.count("<"), svg.count(">")) == (4, 4)  # the svg, its ground and its modules
    assert read(svg, "4x6", ()) == [value]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (12, "takes a text such as links.answer"),
        (None, "takes a text such as links.answer"),
        (" ", "takes a text such as links.answer"),
        (["https://example.com"], "takes a text such as links.answer"),
        ("é" * (MOST_BYTES // 2 + 1), "at most 200 bytes, this text has 202"),
    ],
)
def test_what_cannot_become_a_code_is_refused_with_the_reason(value: Any, said: str) -> None:
    with pytest.raises(InvalidTemplate, match=f"the card cannot be rendered: .*{said}"):
        from_paper("{{ a | qr_code }}", {"a": value})


def test_a_link_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidTemplate, match=r"links\.answr.*Correct its name"):
        from_paper("{{ links.answr | qr_code }}", example_context())


@pytest.mark.parametrize(
    "content",
    [
        Content(Channel.SMS, None, "Scan {{ links.answer | qr_code }}"),
        Content(Channel.EMAIL, "{{ links.answer | qr_code }}", "Hello"),
        Content(Channel.EMAIL, "Hello", "Scan {{ links.answer | qr_code }}"),
        Content(
            Channel.EMAIL,
            "Hello",
            "<mjml><mj-body><mj-section><mj-column><mj-text>{{ links.answer | qr_code }}</mj-text></mj-column>"
            "</mj-section></mj-body></mjml>",
        ),
    ],
    ids=["sms", "subject", "markdown", "mjml"],
)
def test_only_paper_has_codes(content: Content) -> None:
    with pytest.raises(InvalidTemplate, match=r"qr_code, which is for postcards only: .*\{\{ links.answer \}\}"):
        compile_content(content)


@pytest.mark.parametrize("around", ["{}", "a {{% if c %}}{}{{% endif %}} b", "{{% for x in l %}}{}{{% endfor %}}"])
def test_both_ways_of_rendering_agree_on_codes(around: str) -> None:
    context = {"c": "yes", "l": ["x", "y"], "links": {"answer": "https://care.example.com/a"}}
    template = LiquidTemplate(around.format("{{ links.answer | qr_code }}"), "t", html=True, paper=True)
    assert "<svg" in template.render(context)
    assert template.render(context) == template.bound(context).render(context) == template.render_fully(context)

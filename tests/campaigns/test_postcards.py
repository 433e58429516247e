"""Postcards: the three sizes, and their proofs."""

from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pypdfium2
import pytest
from sqlalchemy import text

from campaigns import postcard_proofs
from campaigns.default_templates import KEYS, default_templates
from campaigns.planning import plan_slice
from campaigns.postcard_proofs import Side, as_pdf, as_png, draw
from campaigns.postcard_sizes import SIZES, size_of
from campaigns.previews import example_context
from campaigns.providers.lob import body_for
from campaigns.rendering import Content, compile_content
from outreach import clock
from outreach.db import transaction
from outreach.errors import InvalidInput, InvalidTemplate, Unavailable
from outreach.permissions import Permission
from outreach.vocabulary import Channel
from tests.campaigns.providers.cases import ADDRESS, postcard
from tests.campaigns.providers.wire import http_server
from tests.people import a_campaign

drawn = pytest.mark.skipif(not postcard_proofs.available(), reason=postcard_proofs.MISSING)


def page(width: float, height: float, words: str = "Hello") -> str:
    """A side of this size."""
    return (
        f"<html><head><style>body {{ width: {width}in; height: {height}in }}</style></head><body>{words}</body></html>"
    )


@pytest.mark.parametrize(
    ("html", "size"),
    [
        (page(6.25, 4.25), "4x6"),
        (page(9.25, 6.25), "6x9"),
        (page(11.25, 6.25), "6x11"),
        ("<p>no size</p>", "4x6"),
        ("<style>body{margin:0;max-width:2in}.x{width:3in}</style>", "4x6"),
        ("<style>p{}\nBODY { WIDTH : 11.25in }</style>", "6x11"),
    ],
)
def test_the_body_of_the_front_says_the_size(html: str, size: str) -> None:
    assert size_of(html, "t") == size


@pytest.mark.parametrize(("width", "height"), [(6, 4), (9.25, 4.25), (4.25, 6.25)])
def test_a_size_that_nobody_prints_is_named(width: float, height: float) -> None:
    with pytest.raises(InvalidTemplate, match=r"9\.25in x 6\.25in"):
        size_of(page(width, height), "t")


def test_both_sides_have_one_size_which_reaches_the_printer() -> None:
    with pytest.raises(InvalidTemplate, match="the front is a 6x9, the back a 4x6"):
        compile_content(Content(Channel.POSTCARD, None, page(9.25, 6.25), page(6.25, 4.25)))
    made = compile_content(Content(Channel.POSTCARD, None, page(9.25, 6.25), page(9.25, 6.25)))
    assert made.render(example_context()).size == "6x9"
    assert body_for(postcard(1, size="6x9"))["size"] == "6x9"


def test_only_the_small_card_goes_abroad() -> None:
    abroad = replace(ADDRESS, country="FR")
    assert postcard(1, to=abroad).size == "4x6"
    with pytest.raises(InvalidInput, match="United States only"):
        postcard(1, to=abroad, size="6x11")


@drawn
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_proof_has_the_size_of_the_card(size: Any) -> None:
    side = Side(page(size.width, size.height), size.name)
    with pypdfium2.PdfDocument(as_pdf([side, side])) as document:
        assert len(document) == 2
        assert document[1].get_size() == pytest.approx((size.width * 72, size.height * 72))
    header = as_png(side)[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(header[16:20]), int.from_bytes(header[20:24])) == (size.width * 144, size.height * 144)


@drawn
def test_the_words_that_we_come_with_fit_and_the_address_lies_over_the_back() -> None:
    for (key, channel), content in default_templates().items():
        if channel is not Channel.POSTCARD:
            continue
        made = compile_content(content).render(example_context())
        for html in (made.html, made.back):
            assert draw(Side(html or "", "4x6")).fits, key
        pdf = as_pdf([Side(made.back or "", "4x6", ("Maria <b>Lindqvist", "1 Quay"))])
        with pypdfium2.PdfDocument(pdf) as document:
            words = document[0].get_textpage().get_text_range()
        assert "Maria <b>Lindqvist" in words
        assert "1 Quay" in words


@drawn
@pytest.mark.parametrize("key", KEYS)
def test_the_code_and_the_words_beside_the_picture_are_seen_however_long_the_others_are(key: str) -> None:
    context = example_context()
    long = "A word or two about what to do meanwhile. " * 10
    context["problem"] |= {"summary": long, "workaround": long, "fix": long}
    context["code"] = "7Q4K-9DM2-XW3B"
    back = compile_content(default_templates()[key, Channel.POSTCARD]).render(context).back or ""
    with pypdfium2.PdfDocument(draw(Side(back, "4x6")).pdf) as document:
        words = document[0].get_textpage()
        place = {}
        for said in ("Scan to tell us", "Really from us"):
            found = words.search(said).get_next()
            assert found is not None, said
            letters = [words.get_charbox(found[0] + n) for n in range(len(said))]
            place[said] = (min(box[1] for box in letters) / 72, max(box[3] for box in letters) / 72)
    # In inches from the lower edge, the bleed of an eighth included; each inside of the box that clips it.
    scan, code = place.values()
    assert 4.25 - (2.5 + 1.2) <= scan[0] < scan[1] <= 4.25 - 2.5
    assert 4.25 - (3.72 + 0.36) <= code[0] < code[1] <= 4.25 - 3.72


@drawn
def test_what_runs_over_the_edge_does_not_fit() -> None:
    assert not draw(Side(page(6.25, 4.25, "<p>word</p>" * 60), "4x6")).fits


@drawn
def test_a_proof_fetches_nothing() -> None:
    red = (
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='600' height='400'%3E"
        "%3Crect width='600' height='400' fill='red'/%3E%3C/svg%3E"
    )
    with http_server(
        {"accept": (200, {"Content-Type": "image/svg+xml"}, unquote(red.partition(",")[2]).encode())}
    ) as wire:
        for address in (f"{wire.url}/red.svg", "file:///etc/passwd", "ftp://example.com/x"):
            as_png(Side(page(6.25, 4.25, f'<img src="{address}"><link rel="stylesheet" href="{address}">'), "4x6"))
        assert wire.calls == []
    empty = as_png(Side(page(6.25, 4.25, ""), "4x6"))
    assert as_png(Side(page(6.25, 4.25, f'<img src="{red}">'), "4x6")) != empty


def test_without_the_libraries_of_the_system_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postcard_proofs, "available", lambda: False)
    with pytest.raises(Unavailable, match="libpango"):
        as_png(Side(page(6.25, 4.25), "4x6"))


@drawn
def test_the_proof_of_one_recipient_over_the_api(api_server: Any) -> None:
    with transaction() as session:
        now = clock.now(session)
        campaign = a_campaign(session, 5, now)
        plan_slice(session, campaign=campaign, now=now)
        key = campaign.key
        number = session.scalar(text("SELECT external_id FROM customers ORDER BY id DESC LIMIT 1"))
    path = f"/api/campaigns/{key}/proof"
    assert api_server.ask("GET", path).status == 401
    reader = api_server.key(Permission.CAMPAIGNS_READ)
    whole = api_server.ask("GET", path, authorization=reader)
    assert (whole.status, whole.headers["Content-Type"], whole.data[:5]) == (200, "application/pdf", b"%PDF-")
    back = api_server.ask("GET", f"{path}?file=back.png&customer={number}", authorization=reader)
    assert (back.status, back.headers["Content-Type"], back.data[1:4]) == (200, "image/png", b"PNG")
    assert api_server.ask("GET", f"{path}?customer=nobody", authorization=reader).status == 422
    assert api_server.ask("GET", f"{path}?file=../x", authorization=reader).status == 422

"""MJML bodies: HTML that mail programs show, a text part, and the same safety as Markdown."""

import re

import pytest

from campaigns.previews import example_context
from campaigns.rendering import Content, compile_content
from outreach.errors import InvalidTemplate
from outreach.vocabulary import Channel, Grade

HOSTILE = "<script>alert(1)</script>{{ organisation.name }} & \"q\" 'a'"


def mjml(inside: str, head: str = "") -> str:
    """A whole MJML page around the inside of one column."""
    return (
        f"<mjml><mj-head>{head}</mj-head><mj-body><mj-section><mj-column>{inside}</mj-column></mj-section></mj-body>"
        "</mjml>"
    )


def compiled(inside: str, head: str = "", language: str = "en"):  # type: ignore[no-untyped-def]
    """The template of an email with this body."""
    return compile_content(Content(Channel.EMAIL, "About your order", mjml(inside, head), None, language))


GREETING = "<mj-text>Hello <b>{{ customer.name }}</b>,<br/>{{ problem.summary }}</mj-text>"


def test_data_are_words_and_nothing_else() -> None:
    context = example_context()
    context["customer"]["name"] = context["problem"]["summary"] = HOSTILE
    made = compiled(GREETING).render(context)
    assert "<script" not in (made.html or "")
    assert "&lt;script&gt;" in (made.html or "")
    assert "{{ organisation.name }}" in (made.html or "")  # what a customer is called is not Liquid either
    assert HOSTILE in (made.text or "")


def test_the_text_part_reads_like_a_letter_and_names_every_link() -> None:
    inside = (
        GREETING
        + '<mj-text><ul><li>one</li><li>two</li></ul><a href="https://example.com/a?c={{ customer.external_id }}">More'
        + '</a></mj-text><mj-image src="https://example.com/x.png" alt="A kettle"/>'
        + '<mj-button href="{{ links.answer }}">It works</mj-button>'
    )
    made = compiled(inside, "<mj-title>not here</mj-title><mj-preview>nor this</mj-preview>").render(example_context())
    text = made.text or ""
    assert text.startswith("Hello Maria Lindqvist,\nFilters of lot L-77")
    assert "- one\n\n- two" in text or "- one\n- two" in text
    assert "More: https://example.com/a?c=C-20418" in text
    assert "A kettle" in text
    assert "It works: https://care.example.com/a/9tKx" in text
    assert "not here" not in text
    assert "nor this" not in text
    assert "\n\n\n" not in text


def test_every_email_ends_with_who_we_are_the_code_and_the_way_out() -> None:
    made = compiled(GREETING).render(example_context())
    for part in (made.html or "", made.text or ""):
        for expected in ("K7M-2QX", "https://care.example.com/u/4fQ8", "12 Harbour Street", "example.com/verify"):
            assert expected in part


def test_styles_stand_in_the_elements_and_nothing_is_fetched() -> None:
    made = compiled(GREETING, language="pt-BR").render(example_context())
    html = made.html or ""
    assert 'lang="pt-BR"' in html
    assert re.search(r'<div style="[^"]*font-size:13px', html)
    assert "googleapis" not in html
    assert "<!--[if mso | IE]>" in html


def test_conditions_hold_in_both_parts() -> None:
    inside = (
        GREETING + '<mj-raw>{% if grade == "affected" %}</mj-raw><mj-text>You told us.</mj-text><mj-raw>{% endif %}'
        "</mj-raw>"
    )
    template = compiled(inside)
    told, others = template.render(example_context(Grade.AFFECTED)), template.render(example_context())
    for part in ("html", "text"):
        assert "You told us." in getattr(told, part)
        assert "You told us." not in getattr(others, part)


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("<mj-text><script>x</script></mj-text>", "runs no code"),
        ('<mj-text><p onclick="x()">a</p></mj-text>', "runs no code"),
        ('<mj-include path="/etc/passwd"/>', "may not contain"),
        ('<mj-image src="https://example.com/{{ customer.external_id }}.png"/>', "may not stand in src"),
        ('<mj-text color="{{ customer.name }}">a</mj-text>', "may not stand in color"),
        ('<mj-button href="{{ customer.name }}">a</mj-button>', "link must be"),
        ('<mj-text><a href="https://{{ customer.name }}.example.com/">a</a></mj-text>', "link must be"),
        ("<mj-text><a href={{ links.answer }}>a</a></mj-text>", "with quotes"),
        ('<mj-text {% if grade %}color="red"{% endif %}>a</mj-text>', "inside a tag"),
        ("<mj-text>{{ nobody.knows }}</mj-text>", "nobody.knows"),
        ("<mj-text>a</mj-text></mj-column>", "is no MJML"),
    ],
)
def test_what_cannot_be_made_safe_is_refused_in_words(inside: str, said: str) -> None:
    with pytest.raises(InvalidTemplate, match=said):
        compiled(inside)


def test_a_slot_in_a_style_and_a_page_without_an_end_are_refused() -> None:
    with pytest.raises(InvalidTemplate, match="inside a style"):
        compiled(GREETING, "<mj-style>.x { color: {{ customer.name }} }</mj-style>")
    with pytest.raises(InvalidTemplate, match="must end with"):
        compile_content(Content(Channel.EMAIL, "s", "<mjml><mj-body><mj-text>a</mj-text></mj-body>"))


def test_anything_else_is_markdown() -> None:
    made = compile_content(Content(Channel.EMAIL, "s", "Hello **you** about mjml")).render(example_context())
    assert "<strong>you</strong>" in (made.html or "")

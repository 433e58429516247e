"""What customers get: escaped, complete, in one frame; what operators hear when their words cannot be sent."""

import dataclasses
import re
from html import unescape
from typing import Any

import pytest

from campaigns.previews import example_context, preview
from campaigns.rendering import Content, Rendered, compile_content
from outreach.errors import InvalidTemplate
from outreach.vocabulary import Channel

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "**bold** # heading",
    "{{ 7 | times: 7 }}",
    "{% for i in (1..9) %}x{% endfor %}",
    '"><a href="https://evil.example">',
    "' onmouseover='alert(1)",
    "Lq0z Lqq1z",
    "</td></tr></table><h1>",
]


def email(body: str, subject: str = "About it") -> Content:
    """Email words."""
    return Content(Channel.EMAIL, subject, body, name="my words")


def rendered(content: Content, **changes: Any) -> Rendered:
    """Render with the example facts, changed."""
    return compile_content(content).render({**example_context(), **changes})


def inside(html: str | None) -> str:
    """The part of the email that the template made."""
    assert html is not None
    return html.split('class="inside" style="padding:28px')[1].split("</td>")[0].partition(">")[2]


@pytest.mark.parametrize("attack", ATTACKS)
def test_customer_data_are_never_markup_and_never_evaluated(attack: str) -> None:
    context = {"customer": {"name": attack}}
    content = email("Hello **{{ customer.name }}**,\n\n- {{ customer.name }}\n\n`{{ customer.name }}`")
    harmless = rendered(content, customer={"name": "Maria"})
    result = rendered(content, **context)
    tags = re.compile(r"<[^>]*>")
    # The very same elements as with a harmless name, and the name as text, three times.
    assert tags.findall(inside(result.html)) == tags.findall(inside(harmless.html))
    text = re.sub(tags, "", inside(result.html))
    assert unescape(text).count(attack) == 3
    assert (result.text or "").count(attack) == 3


@pytest.mark.parametrize("attack", ATTACKS)
def test_data_inside_a_link_stay_inside_their_place(attack: str) -> None:
    content = email("[see](https://example.com/find?q={{ customer.name }})")
    result = rendered(content, customer={"name": attack + "&x=1#y"})
    (target,) = re.findall(r'href="(https://example.com/find[^"]*)"', result.html or "")
    assert re.fullmatch(r"https://example\.com/find\?q=[\w.%+~*-]*", target)
    assert target in (result.text or "")


@pytest.mark.parametrize(
    "target",
    [
        "{{ customer.website }}",
        "https://{{ customer.city }}.example.com/",
        "https://example.com{{ customer.name }}",
        "{{ customer.name }}://example.com/",
        "http://example.com/",
        "//example.com/",
        "/path",
        "https://example.com/{% if grade %}a{% endif %}",
    ],
)
def test_a_link_whose_host_could_be_anything_is_refused(target: str) -> None:
    with pytest.raises(InvalidTemplate, match="link"):
        compile_content(email(f"[x]({target.replace(' ', '')})".replace("{%ifgrade%}", "{%if grade%}")))


def test_html_and_script_links_of_the_author_come_to_nothing() -> None:
    html = inside(rendered(email("<b onclick=go()>b</b> <script>x</script>")).html)
    assert re.findall(r"<\w+", html) == ["<p"]
    with pytest.raises(InvalidTemplate, match="link"):
        compile_content(email("[x](javascript:alert(1))"))


def test_our_links_are_used_as_they_are() -> None:
    links = {"answer": "https://a.example/?a=1&b=2", "unsubscribe": None, "verify": None}
    result = rendered(email("**[Answer]({{ links.answer }})**"), links=links)
    assert 'href="https://a.example/?a=1&amp;b=2"' in (result.html or "")
    assert 'class="button"' in (result.html or "")
    assert "Answer: https://a.example/?a=1&b=2" in (result.text or "")


def test_every_email_says_who_wrote_where_they_are_how_to_leave_and_how_to_check() -> None:
    result = rendered(email("Some words that are long enough for everybody."))
    facts = example_context()
    for text in (result.html or "", result.text or ""):
        assert facts["links"]["unsubscribe"] in text
        assert facts["organisation"]["postal_address"] in text
        assert facts["code"] in text
        assert facts["links"]["verify"] in text
    assert "Alder &amp; Finch" in (result.html or "")
    assert "Alder & Finch" in (result.text or "")


def test_the_first_paragraph_is_shown_beside_the_subject() -> None:
    result = rendered(email("Hello,\n\nthe filter of {{ customer.name }} needs a moment of your time."))
    (hidden,) = re.findall(r'<div style="display:none[^>]*>(.*?)</div>', result.html or "", re.S)
    assert hidden == "the filter of Maria Lindqvist needs a moment of your time."


def test_a_loop_over_list_items_makes_one_list() -> None:
    items = [{"product": f"P{n}"} for n in range(3)]
    result = rendered(email("{% for item in items %}\n- {{ item.product }}\n{% endfor %}"), items=items)
    html = inside(result.html)
    assert (html.count("<ul"), html.count("<li")) == (1, 3)
    assert "- P0\n- P1\n- P2\n" in (result.text or "")


def test_optional_paragraphs_leave_no_gaps() -> None:
    body = "One.\n\n{% if code == 'no' %}\nTwo.\n{% endif %}\n\n{% if code == 'no' %}\n## Three\n{% endif %}\n\nFour."
    assert (rendered(email(body)).text or "").startswith("One.\n\nFour.\n")


def test_line_breaks_in_facts_are_kept() -> None:
    problem = {**example_context()["problem"], "workaround": "First\nSecond"}
    html = inside(rendered(email("{{ problem.workaround }}"), problem=problem).html)
    assert re.search(r"First<br />\s*Second", html)


@pytest.mark.parametrize(
    "body",
    [
        "*a {% if code %} b* c {% endif %}",
        "{% if code %}**a{% endif %}** b",
        "- a {% for i in items %}\n- b {% endfor %}",
    ],
)
def test_formatting_that_crosses_a_block_is_refused(body: str) -> None:
    with pytest.raises(InvalidTemplate, match="crosses"):
        compile_content(email(body))


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        ("a\r\nBcc: all@example.com", "a Bcc: all@example.com"),
        ("a\tb  c", "a b c"),
        ("pay\u202eexe.slip", "payexe.slip"),
        ("half \ud83d", "half"),
        ("zero\0byte", "zero byte"),
        ("x" * 400, "x" * 250),
        ("Grüße 🙂", "Grüße 🙂"),
    ],
)
def test_a_subject_is_one_plain_line(subject: str, shown: str) -> None:
    result = rendered(email("text", "{{ customer.name }}"), customer={"name": subject})
    assert result.subject == shown


def test_an_empty_subject_is_refused() -> None:
    with pytest.raises(InvalidTemplate, match="subject"):
        compile_content(email("text", " "))
    with pytest.raises(InvalidTemplate, match="subject is empty"):
        rendered(email("text", "{{ customer.name }}"), customer={"name": None})


@pytest.mark.parametrize("channel", list(Channel))
def test_words_that_are_not_there_are_named_when_the_template_is_written(channel: Channel) -> None:
    with pytest.raises(InvalidTemplate, match=r"my words.*custmer\.name"):
        compile_content(Content(channel, "s", "{{ custmer.name }}", "back", name="my words"))


@pytest.mark.parametrize("channel", list(Channel))
def test_an_empty_body_is_refused(channel: Channel) -> None:
    with pytest.raises(InvalidTemplate, match="no text"):
        compile_content(Content(channel, "s", " \n", "back"))


@pytest.mark.parametrize("language", ["", "e", '"><script>', "en US"])
def test_a_language_that_is_none_is_refused(language: str) -> None:
    with pytest.raises(InvalidTemplate, match="language"):
        compile_content(dataclasses.replace(email("text"), language=language))


CODE = "\nCode K7M-2QX: https://care.example.com/verify"  # what a text message ends with


def test_a_text_message_is_plain_and_trimmed() -> None:
    words = "{{ customer.name }}: hi\n{% if grade == 'affected' %}\nthanks\n{% endif %}\nbye\n"
    result = rendered(Content(Channel.SMS, None, words), customer={"name": "<b> & {{ x }}"})
    assert result == Rendered(text=f"<b> & {{{{ x }}}}: hi\nbye{CODE}")


def test_a_text_message_that_is_too_long_is_refused_with_its_size() -> None:
    content = Content(Channel.SMS, None, "{{ customer.name }}", name="my words")
    longest = 1530 - len(CODE)
    assert rendered(content, customer={"name": "a" * longest}).text
    with pytest.raises(InvalidTemplate, match="my words: the text takes 11 segments"):
        rendered(content, customer={"name": "a" * (longest + 1)})
    with pytest.raises(InvalidTemplate, match="empty for this person"):
        rendered(content, customer={"name": " "})
    with pytest.raises(InvalidTemplate, match="UCS-2"):
        rendered(content, customer={"name": "a" * 700 + "🙂"})


@pytest.mark.parametrize("side", ["front", "back"])
def test_a_postcard_side_that_is_too_long_is_refused(side: str) -> None:
    words = "<p>{{ customer.name }}</p>"
    content = Content(Channel.POSTCARD, None, words if side == "front" else "x", words if side == "back" else "x")
    assert rendered(content, customer={"name": "a" * 9_000})
    with pytest.raises(InvalidTemplate, match="10,000"):
        rendered(content, customer={"name": "a" * 10_000})


@pytest.mark.parametrize("attack", ATTACKS)
def test_customer_data_on_a_postcard_are_text(attack: str) -> None:
    content = Content(Channel.POSTCARD, None, '<p title="{{ customer.name }}">{{ customer.name }}</p>', "<p>back</p>")
    html = rendered(content, customer={"name": attack}).html or ""
    assert re.fullmatch(r'<p title="[^"<>]*">[^<>]*</p>', html)


@pytest.mark.parametrize(
    "front",
    [
        "<script>alert(1)</script>",
        "<p onclick=go()>x</p>",
        '<iframe src="https://a"></iframe>',
        '<a href="javascript:x">x</a>',
        "<style>p { color: {{ customer.name }} }</style>",
        "<p class={{ customer.name }}>x</p>",
    ],
)
def test_a_postcard_that_is_more_than_paper_is_refused(front: str) -> None:
    with pytest.raises(InvalidTemplate, match="front"):
        compile_content(Content(Channel.POSTCARD, None, front, "<p>back</p>"))


def test_a_template_is_read_once_however_often_it_is_used() -> None:
    assert compile_content(email("same")) is compile_content(email("same"))


def test_a_preview_shows_the_text_its_length_and_its_facts() -> None:
    shown = preview(Content(Channel.SMS, None, "{{ organisation.name }}: {{ problem.title }}"))
    assert shown.rendered.text == "Alder & Finch: The enclosed instructions are for another model" + CODE
    assert shown.segments is not None
    assert shown.segments.segments == 1
    assert shown.variables == ("code", "links.verify", "organisation.name", "problem.title")

"""The words that Outreach comes with can be sent, to everybody, on every channel."""

from typing import Any

import pytest

from campaigns.default_templates import KEYS, default_templates
from campaigns.previews import example_context, preview
from campaigns.rendering import Content, compile_content
from outreach.vocabulary import Channel, Grade

ALL = [pytest.param(content, id=content.name) for content in default_templates().values()]


def bare(context: dict[str, Any]) -> dict[str, Any]:
    """The same facts with everything absent that may be."""
    return {
        **context,
        "customer": dict.fromkeys(context["customer"]),
        "problem": {**dict.fromkeys(context["problem"]), "title": "It broke", "summary": "We look into it."},
        "items": [],
        "tickets": [],
        "links": {**context["links"], "unsubscribe": None, "verify": None},
        "code": None,
    }


def test_each_key_has_words_for_each_channel() -> None:
    assert set(default_templates()) == {(key, channel) for key in KEYS for channel in Channel}


@pytest.mark.parametrize("grade", list(Grade))
@pytest.mark.parametrize("content", ALL)
def test_they_can_be_sent_with_many_facts_and_with_few(content: Content, grade: Grade) -> None:
    for context in (example_context(grade), bare(example_context(grade))):
        shown = preview(content, context)
        for text in (shown.rendered.subject, shown.rendered.text, shown.rendered.html, shown.rendered.back):
            assert text is None or ("{{" not in text and "None" not in text and text.strip())
        assert shown.segments is None or shown.segments.segments <= 3
        assert shown.segments is None or shown.segments.encoding == "GSM-7"


@pytest.mark.parametrize("content", ALL)
def test_both_ways_of_rendering_agree_on_them(content: Content) -> None:
    for grade in Grade:
        for context in (example_context(grade), bare(example_context(grade))):
            for part in compile_content(content).parts.values():
                assert part.render(context) == part.render_fully(context)


@pytest.mark.parametrize("content", ALL)
def test_emails_and_text_messages_go_the_quick_way(content: Content) -> None:
    assert content.channel is Channel.POSTCARD or compile_content(content).is_fast


@pytest.mark.parametrize(
    ("grade", "words"),
    [
        (Grade.AFFECTED, "You told us"),
        (Grade.LIKELY, "our records show"),
        (Grade.INCOMING, "on its way to you"),
    ],
)
def test_the_first_notice_speaks_by_what_we_know(grade: Grade, words: str) -> None:
    context = example_context(grade)
    texts = {channel: preview(default_templates()["problem-known", channel], context).rendered for channel in Channel}
    assert words in (texts[Channel.EMAIL].text or "")
    assert words in (texts[Channel.EMAIL].html or "")
    assert words.lower() in (texts[Channel.POSTCARD].html or "").lower()


def test_every_text_message_says_how_to_answer_and_how_to_leave() -> None:
    for key in KEYS:
        text = preview(default_templates()[key, Channel.SMS]).rendered.text or ""
        assert "Reply 1 if solved, 2 if still broken, STOP to opt out" in text


@pytest.mark.parametrize("content", ALL)
def test_every_message_carries_its_verification_code(content: Content) -> None:
    context = example_context()
    rendered = preview(content, context).rendered
    shown = rendered.back if content.channel is Channel.POSTCARD else rendered.text
    assert context["code"] in (shown or "")
    assert context["links"]["verify"] in (shown or "")


def test_a_text_message_gets_its_code_once_wherever_its_author_put_it() -> None:
    context = example_context()
    for body in ("Hello", "Hello {{ code }}", "Hello {% if code %}{{ code }}{% endif %}"):
        text = preview(Content(Channel.SMS, None, body), context).rendered.text or ""
        assert text.count(context["code"]) == 1

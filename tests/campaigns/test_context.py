"""What words may say to one recipient: all that they read, and no work for what they do not."""

from uuid import UUID

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from campaigns.context import Recipient, contexts
from campaigns.default_templates import default_templates
from campaigns.rendering import Content, compile_content
from outreach import clock
from outreach.vocabulary import Channel
from tests.people import a_campaign

MESSAGE = UUID("0192f0a0-1111-7abc-8def-0123456789ab")


@pytest.mark.parametrize(
    ("words", "there", "links"),
    [
        ("Hello", set(), {"verify"}),
        ("{{ links.answer }}", set(), {"verify", "answer"}),
        ("{% assign all = links %}{{ all.unsubscribe }}", set(), {"verify", "answer", "unsubscribe"}),
        ("{% for item in items %}{{ item.lot }}{% endfor %}", {"items"}, {"verify"}),
        ("{{ items[0].lot }}{{ tickets.size }}", {"items", "tickets"}, {"verify"}),
    ],
)
def test_only_what_the_words_read_is_loaded(session: Session, words: str, there: set[str], links: set[str]) -> None:
    now = clock.now(session)
    campaign = a_campaign(session, 3, now)
    row = session.execute(text("SELECT customer_id, evidence_items FROM audience_members LIMIT 1")).one()
    person = Recipient(MESSAGE, "a@example.com", {"language": "en"}, "likely", row.evidence_items, [], [])
    reads = compile_content(Content(Channel.SMS, None, words + " {{ code }}")).reads
    asked: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda *given: asked.append(given[2]))
    found = contexts(session, campaign=campaign, recipients=[person], now=now, reads=reads)[MESSAGE]
    assert {"items", "orders", "tickets"} & set(found) == there
    assert set(found["links"]) == links
    assert any("FROM order_items" in statement for statement in asked) == (
        "items" in there and bool(row.evidence_items)
    )
    everything = contexts(session, campaign=campaign, recipients=[person], now=now)[MESSAGE]
    assert {"items", "orders", "tickets"} <= set(everything)
    assert {name: everything[name] for name in there} == {name: found[name] for name in there}
    assert everything["links"].items() >= found["links"].items()


def test_the_default_words_say_the_same_with_no_more_than_they_read(session: Session) -> None:
    now = clock.now(session)
    campaign = a_campaign(session, 3, now)
    items = session.scalars(text("SELECT id FROM order_items")).all()
    customer = {"name": "Ann Lee", "first_name": "Ann", "language": "en"}
    person = Recipient(MESSAGE, "a@example.com", customer, "affected", items[:2], [], [])
    for content in default_templates().values():
        compiled = compile_content(content)
        less, more = (
            contexts(session, campaign=campaign, recipients=[person], now=now, reads=reads)[MESSAGE]
            for reads in (compiled.reads, None)
        )
        assert compiled.render(less) == compiled.render(more)

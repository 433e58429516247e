"""The words of programmes and surveys that Outreach comes with, for email and SMS; operators copy and change them."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from outreach.models import Template
from outreach.vocabulary import Channel

_HELLO = "Hello{% if customer.first_name %} {{ customer.first_name }}{% endif %},\n\n"
_THINGS = (
    "{% for item in items %}\n- {{ item.product }}{% if item.serial %} ({{ item.serial }}){% endif %}\n{% endfor %}\n"
)


def _asking(scores: Iterable[int]) -> tuple[str, str, str]:
    """The words of a survey: the scores are links that preselect, the page records."""
    row = " ".join(f"[{score}]({{{{ links.score_{score} }}}})" for score in scores)
    email = (
        f"{_HELLO}{{{{ survey.question }}}}\n\n{row}\n\n"
        "**[Answer on one page]({{ links.survey }})**\n\nYour choice is recorded when you press the button there.\n"
    )
    return (
        "One question from {{ organisation.name }}",
        email,
        "{{ organisation.name }}: {{ survey.question }} Reply {{ survey.low }} to {{ survey.high }}, STOP to opt out",
    )


# By key: subject and Markdown of the email, and the text message.
WORDS: dict[str, tuple[str, str, str]] = {
    "survey": _asking(()),
    "survey-csat": _asking(range(1, 6)),
    "survey-nps": _asking(range(11)),
    "survey-ces": _asking(range(1, 8)),
    "how-is-it-going": (
        "How is it going?",
        _HELLO + "We would like to know how things are with what you have from us.\n\n"
        "**[Tell us how it is going]({{ links.answer }})**\n\n"
        "It takes less than a minute. If something is wrong, a person will take care of it.\n",
        "{{ organisation.name }}: how is it going? Reply 1 if all is well, 2 if something is wrong, STOP to opt out",
    ),
    "getting-started": (
        "Getting started",
        _HELLO + "Welcome. The first steps are quick, and we are here if one of them does not work.\n\n"
        "**[Tell us where you are]({{ links.answer }})**\n",
        "{{ organisation.name }}: welcome! If a first step does not work, reply here. STOP to opt out",
    ),
    "tip": (
        "A tip from {{ organisation.name }}",
        _HELLO + "Something that others found useful with what you have:\n\n"
        "**[Ask us how it works]({{ links.answer }})**\n",
        "{{ organisation.name }} has a tip for you. Reply to hear it, STOP to opt out",
    ),
    "maintenance-due": (
        "Time for maintenance",
        _HELLO + "It is time to look after what you have from us:\n\n" + _THINGS + "\n"
        "**[It is done, or I need help]({{ links.answer }})**\n",
        "{{ organisation.name }}: maintenance is due. Reply 1 when it is done, 2 if you need help, STOP to opt out",
    ),
}


def install_words(session: Session) -> None:
    """Add these templates where they are missing; changes nothing else."""
    known = set(session.scalars(select(Template.key).where(Template.key.in_(WORDS))))
    for key, (subject, email, sms) in WORDS.items():
        if key not in known:
            for channel, title, body in ((Channel.EMAIL, subject, email), (Channel.SMS, None, sms)):
                session.add(
                    Template(
                        key=key, version=1, channel=channel, language="en", subject=title, body=body, author="outreach"
                    )
                )
    session.flush()

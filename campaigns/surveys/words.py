"""The words of programmes and surveys that Outreach comes with, for email and SMS; operators copy and change them."""

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from campaigns.surveys.phrases import LANGUAGES, US, phrase
from outreach.models import Template
from outreach.vocabulary import Channel

AUTHOR = "outreach"
_THINGS = (
    "\n\n{% for item in items %}\n- {{ item.product }}{% if item.serial %} ({{ item.serial }}){% endif %}\n"
    "{% endfor %}\n\n"
)
Words = tuple[str, str, str]  # the subject and the Markdown of the email, and the text message


def _asking(language: str, scores: Iterable[int]) -> Words:
    """The words of a survey: the scores are links that preselect, the page records."""
    row = " ".join(f"[{score}]({{{{ links.score_{score} }}}})" for score in scores)
    parts = [phrase("hello", language), "{{ survey.question }}", row, phrase("survey_page", language)]
    email = "\n\n".join(part for part in [*parts, phrase("survey_press", language)] if part)
    sms = f"{US}: {{{{ survey.question }}}} {phrase('survey_sms', language)}"
    return phrase("survey_subject", language), f"{email}\n", sms


def _saying(language: str, name: str, body: str | None = None) -> Words:
    email = f"{phrase('hello', language)}\n\n{body or phrase(f'{name}_body', language)}\n"
    return phrase(f"{name}_subject", language), email, f"{US}: {phrase(f'{name}_sms', language)}"


def words_in(language: str) -> dict[str, Words]:
    """Return all of them in one language, by the key of the template."""
    service = phrase("service_body", language) + _THINGS + phrase("service_done", language)
    return {
        "survey": _asking(language, ()),
        "survey-csat": _asking(language, range(1, 6)),
        "survey-nps": _asking(language, range(11)),
        "survey-ces": _asking(language, range(1, 8)),
        "how-is-it-going": _saying(language, "check"),
        "getting-started": _saying(language, "start"),
        "tip": _saying(language, "tip"),
        "maintenance-due": _saying(language, "service", service),
    }


def install_words(session: Session) -> None:
    """Add what is missing of these templates; what an operator wrote, and every version of it, stays as it is."""
    keys = list(words_in("en"))
    wanted = select(Template.key, Template.language, Template.channel).where(Template.key.in_(keys))
    known = {(row.key, row.language, row.channel) for row in session.execute(wanted.where(Template.version == 1))}
    theirs = set(
        session.scalars(
            select(Template.key)
            .where(Template.key.in_(keys))
            .group_by(Template.key)
            .having((func.max(Template.version) > 1) | func.bool_or(Template.author != AUTHOR))
        )
    )
    for language in LANGUAGES:
        for key, (subject, email, sms) in words_in(language).items():
            for channel, title, body in ((Channel.EMAIL, subject, email), (Channel.SMS, None, sms)):
                if key not in theirs and (key, language, channel) not in known:
                    session.add(
                        Template(
                            key=key, version=1, channel=channel, language=language, subject=title, body=body,
                            author=AUTHOR,
                        )
                    )  # fmt: skip
    session.flush()

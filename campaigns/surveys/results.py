"""What a survey found, counted from the raw answers: figures with intervals, response rate, trend, groups, comments."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.surveys.asking import questions_of
from campaigns.surveys.statistics import Figures, figures
from outreach.models import Survey


class By(StrEnum):
    """How results may be taken apart."""

    SEGMENT = "segment"
    PRODUCT = "product"
    PROBLEM = "problem"
    DEPARTMENT = "department"
    CHANNEL = "channel"
    LANGUAGE = "language"


# For each way: what names the group of ask `a`, and what has to be joined. An ask may be in several groups.
_GROUPS: dict[By, tuple[str, str]] = {
    By.SEGMENT: (
        "sg.key",
        """JOIN audience_members am ON am.customer_id = a.customer_id AND am.entered_at <= a.asked_at
               AND (am.left_at IS NULL OR am.left_at > a.asked_at)
           JOIN segments sg ON sg.id = am.segment_id""",
    ),
    By.PRODUCT: (
        "p.external_id",
        """JOIN LATERAL (SELECT DISTINCT i.product_id FROM order_items i WHERE i.id = ANY(n.evidence_items)) i ON true
           JOIN products p ON p.id = i.product_id""",
    ),
    By.PROBLEM: ("pr.key", "JOIN problems pr ON pr.id = a.problem_id"),
    By.DEPARTMENT: ("pr.department", "JOIN problems pr ON pr.id = a.problem_id"),
    By.CHANNEL: ("s.channel", ""),
    By.LANGUAGE: ("s.language", ""),
}


@dataclass(frozen=True, slots=True)
class Part:
    """The figures of one group, or of all: asked, delivered, completed, and the completed share of the delivered."""

    name: str
    asked: int
    delivered: int
    completed: int
    response_rate: float | None
    counts: dict[int, int]
    figures: Figures


@dataclass(frozen=True, slots=True)
class Results:
    """What a survey found; `trend` by calendar month (UTC), oldest first. Answers of programs count nowhere."""

    survey: str
    total: Part
    trend: list[Part]
    groups: list[Part]
    suspected_bots: int


def results(
    session: Session,
    *,
    survey: Survey,
    by: By | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Results:
    """Count a survey's answers; `since` and `until` bound when it was asked."""
    parameters = {"survey_id": survey.id, "question": questions_of(survey)[0].key, "since": since, "until": until}
    total = _parts(session, survey, "'all'", "", parameters)
    bots = session.scalar(
        text("SELECT count(*) FROM survey_asks WHERE survey_id = :survey_id AND suspected_bot"), parameters
    )
    return Results(
        survey=survey.key,
        total=total[0] if total else _part(survey, "all", []),
        trend=_parts(session, survey, "to_char(a.asked_at AT TIME ZONE 'UTC', 'YYYY-MM')", "", parameters),
        groups=_parts(session, survey, *_GROUPS[by], parameters) if by else [],
        suspected_bots=bots or 0,
    )


_TOTALS = text("""
SELECT a.survey_id, s.score, count(*) AS asked, count(*) FILTER (WHERE n.state = 'delivered') AS delivered,
       count(*) FILTER (WHERE a.answered_at IS NOT NULL AND NOT a.suspected_bot) AS completed
FROM surveys v JOIN survey_asks a ON a.survey_id = v.id JOIN notices n ON n.id = a.notice_id
LEFT JOIN survey_answers s ON s.ask_id = a.id AND s.question = v.questions -> 0 ->> 'key' AND NOT a.suspected_bot
WHERE v.id = ANY(cast(:ids AS bigint[])) GROUP BY 1, 2
""")


def totals(session: Session, *, surveys: Sequence[Survey]) -> dict[int, Part]:
    """Return the figures of several surveys at once, by id."""
    rows = session.execute(_TOTALS, {"ids": [survey.id for survey in surveys]}).all()
    return {each.id: _part(each, "all", [row for row in rows if row.survey_id == each.id]) for each in surveys}


def _parts(session: Session, survey: Survey, name: str, joined: str, parameters: dict[str, Any]) -> list[Part]:
    rows = session.execute(
        text(f"""
SELECT {name} AS name, s.score, count(*) AS asked, count(*) FILTER (WHERE n.state = 'delivered') AS delivered,
       count(*) FILTER (WHERE a.answered_at IS NOT NULL AND NOT a.suspected_bot) AS completed
FROM survey_asks a JOIN notices n ON n.id = a.notice_id
LEFT JOIN survey_answers s ON s.ask_id = a.id AND s.question = :question AND NOT a.suspected_bot
{joined}
WHERE a.survey_id = :survey_id AND {name} IS NOT NULL
  AND a.asked_at >= coalesce(cast(:since AS timestamptz), '-infinity')
  AND a.asked_at < coalesce(cast(:until AS timestamptz), 'infinity')
GROUP BY 1, 2 ORDER BY 1, 2
"""),
        parameters,
    ).all()
    names = list(dict.fromkeys(row.name for row in rows))
    return [_part(survey, name, [row for row in rows if row.name == name]) for name in names]


def _part(survey: Survey, name: str, rows: Iterable[Any]) -> Part:
    rows = list(rows)
    counts = {row.score: row.completed for row in rows if row.score is not None and row.completed}
    delivered, completed = (sum(getattr(row, what) for row in rows) for what in ("delivered", "completed"))
    return Part(
        name=name,
        asked=sum(row.asked for row in rows),
        delivered=delivered,
        completed=completed,
        # An answer proves delivery, also where the provider has not said so yet.
        response_rate=min(1.0, completed / delivered) if delivered else None,
        counts=counts,
        figures=figures(survey.kind, counts),
    )


def comments(
    session: Session, *, survey: Survey, contains: str = "", limit: int = 50, before: int | None = None
) -> list[dict[str, Any]]:
    """Return what people wrote, newest first, whose words hold `contains` whatever its case and accents."""
    rows = session.execute(
        text("""
SELECT w.id, w.words, w.question, w.channel, w.language, w.answered_at, c.external_id AS customer, s.score,
       pr.key AS problem
FROM survey_answers w JOIN survey_asks a ON a.id = w.ask_id JOIN customers c ON c.id = w.customer_id
LEFT JOIN survey_answers s ON s.ask_id = w.ask_id AND s.score IS NOT NULL AND s.question = :question
LEFT JOIN problems pr ON pr.id = a.problem_id
WHERE w.survey_id = :survey_id AND w.words IS NOT NULL AND NOT a.suspected_bot
  AND strpos(fold_text(w.words), fold_text(:contains)) > 0 AND w.id < coalesce(cast(:before AS bigint), w.id + 1)
ORDER BY w.id DESC LIMIT :limit
"""),
        {
            "survey_id": survey.id,
            "question": questions_of(survey)[0].key,
            "contains": contains,
            "limit": limit,
            "before": before,
        },
    )
    return [dict(row) for row in rows.mappings()]

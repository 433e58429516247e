"""Surveys: what is asked, how an answer comes back, what scanners and programs cannot do, and the figures."""

import csv
import gzip
import math
import re
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import scipy.stats
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.context import Recipient, contexts
from campaigns.programmes import verbs
from campaigns.programmes.sweeps import sweep
from campaigns.surveys import results as counting
from campaigns.surveys import writing
from campaigns.surveys.asking import answer_by_text
from campaigns.surveys.questions import Question, checked_questions, score_in_text, standard_questions
from campaigns.surveys.statistics import figures
from outreach import clock
from outreach.db import transaction
from outreach.errors import InvalidInput
from outreach.models import Campaign
from outreach.security import sign_link
from outreach.vocabulary import ProgrammeKind, SurveyKind
from tests.campaigns.programmes.people import at, customers, days, delivered, segment, survey

ACTOR = "test"


def asked(
    kind: SurveyKind, number: int = 3, *, channel: str = "email", questions: list[Any] | None = None
) -> list[UUID]:
    """Ask so many customers and return the ids of their messages."""
    with transaction() as session:
        now = clock.now(session)
        customers(session, number, now)
        segment(session, "all", now)
        writing.make(session, key="s", name="S", kind=kind, actor=ACTOR, now=now, questions=questions or [])
        made = verbs.make(
            session, key="p", name="P", kind=ProgrammeKind.CHECK_IN, segment="all", actor=ACTOR, now=now,
            definition={"schedule": {"hours": "0-23", "business_days": False}, "steps": [survey("s", channel)]},
        )  # fmt: skip
        verbs.activate(session, programme=made, actor=ACTOR, now=now)
    for hours in (0, 24, 26, 50, 52):
        sweep(at(now + days(hours / 24)))
        with transaction() as session:
            delivered(session, now + days(hours / 24))
    with transaction() as session:
        session.execute(text("UPDATE survey_asks SET asked_at = :now"), {"now": now})
        return list(session.scalars(text("SELECT id FROM messages ORDER BY customer_id")))


def token(message_id: UUID) -> str:
    return sign_link("survey", str(message_id), expires_at=None)


def answers() -> list[tuple[Any, ...]]:
    with transaction() as session:
        rows = session.execute(text("SELECT customer_id, question, score, words FROM survey_answers ORDER BY 1, 2"))
        return [tuple(row) for row in rows]


def post(api: Any, path: str, body: str) -> Any:
    return api.ask("POST", path, body=body.encode(), content_type="application/x-www-form-urlencoded")


def test_no_link_of_a_survey_mail_records_anything_however_often_it_is_fetched(api_server: Any) -> None:
    message_ids = asked(SurveyKind.NPS, 2)
    with transaction() as session:
        campaign = session.query(Campaign).one()
        recipients = [
            Recipient(each, "a@example.com", {"language": "de"}, "likely", [], [], []) for each in message_ids
        ]
        facts = contexts(session, campaign=campaign, recipients=recipients, now=clock.now(session))
    links = [link for words in facts.values() for link in words["links"].values()]
    assert len(links) == 2 * (1 + 11 + 3)  # the page, the scores, the three of every mail
    before = snapshot()
    for _ in range(2):
        for link in links:
            path = re.sub(r"^https?://[^/]+", "", link)
            assert api_server.ask("GET", path).status == 200
            assert api_server.ask("HEAD", path).status in (200, 405)
    assert snapshot() == before
    assert answers() == []


def snapshot() -> list[Any]:
    with transaction() as session:
        return [
            session.scalar(text(f"SELECT coalesce(sum(hashtext(t::text)::bigint), 0) FROM {table} t"))
            for table in (
                "survey_asks",
                "survey_answers",
                "responses",
                "suppressions",
                "consents",
                "messages",
                "notices",
            )
        ]


def test_a_link_preselects_and_a_press_records_once_however_often(api_server: Any) -> None:
    first, *_ = asked(SurveyKind.CSAT, 2)
    path = f"/survey/{token(first)}"
    page = api_server.ask("GET", f"{path}?score=4").data.decode()
    assert re.search(r'value="4" checked', page)
    presses = [threading.Thread(target=post, args=(api_server, path, "score=4&comment=Gut+gemacht")) for _ in range(20)]
    for press in presses:
        press.start()
    for press in presses:
        press.join()
    assert [row[1:] for row in answers()] == [("comment", None, "Gut gemacht"), ("score", 4, None)]
    assert post(api_server, path, "score=2").status == 200
    assert [row[1:] for row in answers()] == [("comment", None, "Gut gemacht"), ("score", 2, None)]


@pytest.mark.parametrize(
    "body", ["score=6", "score=0", "score=-1", "score=5+", "score=5&score=3", "score=%D9%A3", "", "score=abc"]
)
def test_what_is_no_answer_is_refused(api_server: Any, body: str) -> None:
    first, *_ = asked(SurveyKind.CSAT, 1)
    assert post(api_server, f"/survey/{token(first)}", body).status == 422
    assert answers() == []


def test_a_wrong_token_opens_nothing(api_server: Any) -> None:
    first, *_ = asked(SurveyKind.CSAT, 1)
    good, other = token(first), sign_link("answer", str(first), expires_at=None)
    past = sign_link("survey", str(first), expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    for bad in (good[:-5], good[:9] + ("B" if good[9] == "A" else "A") + good[10:], other, past, "x"):
        assert api_server.ask("GET", f"/survey/{bad}").status == 401
        assert post(api_server, f"/survey/{bad}", "score=5").status == 401
    assert api_server.ask("OPTIONS", f"/survey/{good}").status == 405
    assert answers() == []


def test_a_closed_survey_and_an_erased_customer_take_no_answer(api_server: Any) -> None:
    first, second, *_ = asked(SurveyKind.CSAT, 2)
    with transaction() as session:
        session.execute(text("UPDATE customers SET erased_at = now() WHERE external_id = 'c-1'"))
    assert post(api_server, f"/survey/{token(first)}", "score=5").status == 404
    with transaction() as session:
        writing.close(session, survey=writing.find(session, "s"), actor=ACTOR, now=clock.now(session))
    assert post(api_server, f"/survey/{token(second)}", "score=5").status == 409
    assert answers() == []


def test_what_a_program_filled_in_counts_nowhere(api_server: Any) -> None:
    first, second, *_ = asked(SurveyKind.CSAT, 2)
    assert post(api_server, f"/survey/{token(first)}", "score=1&website=spam").status == 200
    assert post(api_server, f"/survey/{token(second)}", "score=5").status == 200
    with transaction() as session:
        found = counting.results(session, survey=writing.find(session, "s"))
    assert (found.total.completed, found.total.counts, found.suspected_bots) == (1, {5: 1}, 1)
    assert found.total.response_rate == 0.5


def test_a_digit_by_sms_answers_the_question_that_is_pending(database: str) -> None:
    asked(SurveyKind.CES, 3, channel="sms")
    with transaction() as session:
        now = clock.now(session)
        ids = list(session.scalars(text("SELECT id FROM customers ORDER BY id")))
        assert answer_by_text(session, ids[0], "9", now) is None
        found = answer_by_text(session, ids[0], " 6, quick help!", now)
        assert found is not None
        assert (found.score, found.words) == (6, "quick help!")
        assert answer_by_text(session, ids[0], "7", now) is None  # nothing is pending any more
        assert answer_by_text(session, ids[1], "what is this?", now) is None
        assert answer_by_text(session, ids[2], "5", now + days(15)) is None
    assert [row[1:] for row in answers()] == [("comment", None, "quick help!"), ("score", 6, None)]


@pytest.mark.parametrize(
    ("said", "score"),
    [("10", 10), ("７", 7), ("9/10", 9), ("9/11", None), ("8.", 8), ("3-4", None), ("1st", 1), ("100", None),
     ("-1", None),      ("7.5", None), ("ten", None), ("", None), ("0 never", 0), ("12:30", None)],
)  # fmt: skip
def test_a_score_leads_a_text(said: str, score: int | None) -> None:
    found = score_in_text(standard_questions(SurveyKind.NPS)[0], said)
    assert (found[0] if found else None) == score


def test_a_survey_of_ones_own_speaks_the_customers_language(api_server: Any) -> None:
    questions = [
        {"key": "fit", "kind": "choice", "text": {"en": "Does it fit?", "de": "Passt es?"}, "choices": ["yes", "no"]},
        {"key": "why", "kind": "words", "text": {"en": "Why?"}},
    ]
    first, *_ = asked(SurveyKind.CUSTOM, 1, questions=questions)
    with transaction() as session:
        session.execute(text("UPDATE customers SET locale = 'de-AT'"))
    assert "Passt es?" in api_server.ask("GET", f"/survey/{token(first)}").data.decode()
    assert post(api_server, f"/survey/{token(first)}", "fit=maybe").status == 422
    assert post(api_server, f"/survey/{token(first)}", "fit=no&why=%3Cscript%3E").status == 200
    assert [row[1:] for row in answers()] == [("fit", None, "no"), ("why", None, "<script>")]


def test_questions_that_cannot_be_asked_are_refused() -> None:
    for bad in (
        [{"key": "score", "kind": "score", "text": {"en": "?"}, "low": 1, "high": 6}],
        [{"key": "x", "kind": "score", "text": {}}],
        [Question(key="score", kind="score", text={"en": "?"}, high=5).model_dump()] * 2,
    ):
        with pytest.raises(InvalidInput):
            checked_questions(SurveyKind.CSAT, bad)


def test_a_survey_can_be_tried_without_recording(api_server: Any) -> None:
    asked(SurveyKind.CSAT, 1)
    with transaction() as session:
        found = writing.look(session, survey=writing.find(session, "s"), language="de")
    assert "zufrieden" in (found.messages["sms"].rendered.text or "")
    path = re.sub(r"^https?://[^/]+", "", found.page)
    assert api_server.ask("GET", path).status == 200
    assert post(api_server, path, "score=9").status == 422
    assert post(api_server, path, "score=5").status == 200
    assert answers() == []


def put_answers(session: Session, kind: SurveyKind, scores: dict[int, int]) -> None:
    """Write so many asks with these scores, half as many again unanswered, straight into the tables."""
    now = clock.now(session)
    segment(session, "none", now, "false")
    writing.make(session, key="s", name="S", kind=kind, actor=ACTOR, now=now)
    session.execute(
        text("""
WITH given AS (
    SELECT row_number() OVER () AS number, cast(score AS smallint) AS score
    FROM unnest(cast(:scores AS int[]), cast(:times AS int[])) AS s(score, times), generate_series(1, s.times)
), told AS (
    INSERT INTO notices (campaign_id, customer_id, occurrence, grade, state)
    SELECT 1, number, 0, 'likely', 'delivered' FROM generate_series(1, (SELECT count(*) * 3 / 2 FROM given)) n(number)
    RETURNING id, customer_id
), asks AS (
    INSERT INTO survey_asks (survey_id, customer_id, notice_id, campaign_id, asked_at, answered_at)
    SELECT (SELECT id FROM surveys), t.customer_id, t.id, 1, now(), CASE WHEN g.score IS NOT NULL THEN now() END
    FROM told t LEFT JOIN given g ON g.number = t.customer_id RETURNING id, customer_id
)
INSERT INTO survey_answers (ask_id, survey_id, customer_id, question, score, channel, language, answered_at)
SELECT a.id, (SELECT id FROM surveys), a.customer_id, 'score', g.score, 'email', 'en', now()
FROM asks a JOIN given g ON g.number = a.customer_id"""),
        {"scores": list(scores), "times": list(scores.values())},
    )


def olist(shared_data: Path) -> Counter[int]:
    path = shared_data / "olist" / "olist_order_reviews_dataset.csv.gz"
    if not path.exists():
        pytest.skip("the reviews of Olist are not here")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return Counter(int(row["review_score"]) for row in csv.DictReader(file))


def close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)


def test_csat_of_the_real_reviews_equals_scipys_wilson_interval(session: Session, shared_data: Path) -> None:
    scores = olist(shared_data)
    put_answers(session, SurveyKind.CSAT, dict(scores))
    found = counting.results(session, survey=writing.find(session, "s"))
    n = sum(scores.values())
    satisfied = scores[4] + scores[5]
    reference = scipy.stats.binomtest(satisfied, n).proportion_ci(0.95, method="wilson")
    figure = found.total.figures.headline
    assert figure is not None
    assert (found.total.figures.n, found.total.completed, found.total.counts) == (n, n, dict(scores))
    assert close(figure.value, 100 * satisfied / n)
    assert close(figure.low, 100 * reference.low)
    assert close(figure.high, 100 * reference.high)
    assert found.total.response_rate is not None
    assert close(found.total.response_rate, n / (n * 3 // 2))


def test_nps_and_ces_of_the_real_reviews_equal_scipys_intervals(shared_data: Path) -> None:
    scores = olist(shared_data)
    # The five stars on the scales of the other two: 1…5 → 2, 4, 6, 8, 10 and 1, 2, 4, 6, 7.
    tens = {2 * score: number for score, number in scores.items()}
    classes = [(100.0, tens[10]), (0.0, tens[8]), (-100.0, tens[2] + tens[4] + tens[6])]
    n = sum(number for _, number in classes)
    spread = scipy.stats.rv_discrete(
        values=([int(value) for value, _ in classes], [number / n for _, number in classes])
    )
    low, high = scipy.stats.norm.interval(0.95, loc=spread.mean(), scale=spread.std() / math.sqrt(n))
    figure = figures(SurveyKind.NPS, tens).headline
    assert figure is not None
    assert close(figure.value, spread.mean())
    assert math.isclose(figure.low, low, rel_tol=1e-7)
    assert math.isclose(figure.high, high, rel_tol=1e-7)

    sevens = dict(zip((1, 2, 4, 6, 7), (scores[star] for star in range(1, 6)), strict=True))
    values = [score for score, number in sevens.items() for _ in range(number)]
    low, high = scipy.stats.norm.interval(0.95, loc=scipy.stats.tmean(values), scale=scipy.stats.sem(values))
    found = figures(SurveyKind.CES, sevens)
    top = scipy.stats.binomtest(sevens[6] + sevens[7], n).proportion_ci(0.95, method="wilson")
    assert found.headline is not None
    assert found.top_share is not None
    assert math.isclose(found.headline.low, low, rel_tol=1e-9)
    assert math.isclose(found.headline.high, high, rel_tol=1e-9)
    assert close(found.top_share.low, 100 * top.low)
    assert close(found.top_share.high, 100 * top.high)

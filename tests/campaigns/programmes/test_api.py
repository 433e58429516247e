"""The routes of programmes, surveys and health, as a program uses them."""

from typing import Any

from sqlalchemy import text

from campaigns.programmes.sweeps import sweep
from outreach import clock
from outreach.db import transaction
from outreach.permissions import Permission
from tests.campaigns.programmes.people import at, customers, days, delivered, message, segment, survey

EVERYTHING = tuple(Permission)


def test_a_programme_and_its_survey_from_the_first_draft_to_the_results(api_server: Any) -> None:
    key = api_server.key(*EVERYTHING)

    def ask(method: str, path: str, body: Any = None) -> Any:
        answer = api_server.ask(method, path, body, authorization=key)
        assert answer.status in (200, 201), f"{method} {path}: {answer.data!r}"
        return answer.json()

    with transaction() as session:
        now = clock.now(session)
        customers(session, 3, now)
        segment(session, "all", now)
    ask("POST", "/api/surveys", {"key": "s", "name": "S", "kind": "csat"})
    schedule = {"hours": "0-23", "business_days": False}
    made = ask("POST", "/api/programmes", {
        "key": "p", "name": "P", "kind": "check-in", "segment": "all",
        "definition": {"schedule": schedule, "steps": [survey("s"), {"do": "wait", "days": 5}, message()]},
    })  # fmt: skip
    assert (made["state"], made["version"]) == ("draft", 1)
    assert ask("POST", "/api/programmes/p/activate")["state"] == "active"
    for hours in (0, 24, 26, 50):
        sweep(at(now + days(hours / 24)))
        with transaction() as session:
            delivered(session, now + days(hours / 24))
    shown = ask("GET", "/api/programmes/p/progress")
    assert shown["enrolled"] == 3
    assert [(step["what"], step["waiting"], step["notices"]) for step in shown["steps"]] == [
        ("survey", 0, {"delivered": 3}), ("wait", 0, {}), ("message", 3, {}),
    ]  # fmt: skip
    with transaction() as session:
        session.execute(
            text("""WITH answered AS (UPDATE survey_asks SET answered_at = asked_at RETURNING *)
                    INSERT INTO survey_answers (ask_id, survey_id, customer_id, question, score, words, channel,
                                                language, answered_at)
                    SELECT id, survey_id, customer_id, 'score', 2 + customer_id, NULL, 'email', 'en', asked_at
                    FROM answered
                    UNION ALL SELECT id, survey_id, customer_id, 'comment', NULL, 'Très bien', 'email', 'fr', asked_at
                    FROM answered WHERE customer_id = 1""")
        )
    found = ask("GET", "/api/surveys/s/results?by=segment")
    assert (found["total"]["figures"]["n"], found["total"]["response_rate"]) == (3, 1.0)
    assert round(found["total"]["figures"]["headline"]["value"], 1) == 66.7
    assert [part["name"] for part in found["groups"]] == ["all"]
    assert [each["words"] for each in ask("GET", "/api/surveys/s/comments?contains=tres")["items"]] == ["Très bien"]
    assert "score_3" not in ask("GET", "/api/surveys/s/preview?language=de")["messages"]["email"]["text"]
    edited = ask("PUT", "/api/programmes/p/definition", {"definition": {"schedule": schedule, "steps": [message()]}})
    assert edited["version"] == 2
    assert ask("POST", "/api/programmes/p/pause")["state"] == "paused"
    assert ask("POST", "/api/programmes/p/resume")["state"] == "active"
    assert ask("POST", "/api/programmes/p/end")["state"] == "ended"
    assert ask("GET", "/api/programmes/p/progress")["enrolled"] == 0
    assert ask("POST", "/api/surveys/s/close")["state"] == "closed"


def test_health_by_the_api(api_server: Any) -> None:
    key = api_server.key(*EVERYTHING)
    with transaction() as session:
        now = clock.now(session)
        customers(session, 2, now)
    sweep(at(now))
    shown = api_server.ask("GET", "/api/health-scores/c-1", authorization=key).json()
    assert shown["signals"].keys() == {"orders"}
    assert api_server.ask("GET", "/api/health-scores", authorization=key).json()["bands"]["good"] == 2
    assert api_server.ask("GET", "/api/health-scores/nobody", authorization=key).status == 404
    rules = api_server.ask("GET", "/api/health-scores/rules", authorization=key).json()
    assert (
        api_server.ask("PUT", "/api/health-scores/rules", {**rules, "drop_points": 10}, authorization=key).status == 200
    )
    assert api_server.ask("PUT", "/api/health-scores/rules", {"weights": {}}, authorization=key).status == 422
    sweep(at(now + days(200)))
    tasks = api_server.ask("GET", "/api/health-scores/tasks", authorization=key).json()["items"]
    assert {task["cause"] for task in tasks} >= {"silence"}
    path = f"/api/health-scores/tasks/{tasks[0]['id']}/done"
    assert api_server.ask("POST", path, authorization=key).status == 200
    assert api_server.ask("POST", path, authorization=key).status == 409


def test_what_is_wrong_is_named(api_server: Any) -> None:
    key = api_server.key(*EVERYTHING)
    body = {"key": "p", "name": "P", "kind": "tips", "definition": {"steps": [message()], "schedule": {"rrule": "x"}}}
    answer = api_server.ask("POST", "/api/programmes", body, authorization=key)
    assert (answer.status, "RRULE" in answer.data.decode()) == (422, True)
    body = {"key": "s", "name": "S", "kind": "nps", "state": "closed"}
    assert api_server.ask("POST", "/api/surveys", body, authorization=key).status == 422
    assert api_server.ask("GET", "/api/programmes/none", authorization=key).status == 404

"""F20: one message kills every worker that renders it; it alone is given up."""

from sqlalchemy import text

from campaigns import ledger
from campaigns.lifecycle import find
from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import Judged, a_campaign_on, judge, rest

PEOPLE = 16


def test_a_message_that_kills_its_worker_is_given_up_alone(database: str, install: Install) -> None:
    installation = install(lease_seconds="2")
    a_campaign_on(Channel.EMAIL, PEOPLE)
    worker = installation.start("tests.faults.plain_worker", "email", OUTREACH_CRASH_AT="rendering c-7")
    rest(90)
    installation.kill(worker)
    with transaction() as session:
        given_up = session.execute(
            text("""SELECT c.external_id, m.reason, n.state FROM messages m JOIN notices n ON n.id = m.notice_id
                    JOIN customers c ON c.id = m.customer_id WHERE m.send_state <> 'accepted'""")
        ).all()
        assert ledger.verify(session, campaign=find(session, "C-1")).discrepancies == []
    assert [tuple(row)[:2] for row in given_up] == [("c-7", "template")]
    assert judge(installation) == Judged(PEOPLE - 1, 0, 0, {"accepted": PEOPLE - 1, "rejected": 1})
    # Two for the whole chunk, one for each half that held it, and the last ones alone.
    assert 5 <= installation.log().count("worker ended with -9") <= 10

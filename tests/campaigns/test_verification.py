from uuid import uuid4

from sqlalchemy import text

from campaigns.sweeps import plan_all
from campaigns.verification import find_by_code, verification_code
from outreach import clock
from outreach.db import transaction
from tests.people import a_campaign


def test_a_code_finds_its_message_however_people_type_it(database: str) -> None:
    with transaction() as session:
        campaign_id = a_campaign(session, 40, clock.now(session)).id
    plan_all(campaign_id)
    with transaction() as session:
        for message_id in session.execute(text("SELECT id FROM messages")).scalars():
            code = verification_code(message_id)
            assert len(code) == 14
            assert find_by_code(session, code) == message_id
            typed = f" {code.lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')} "
            assert find_by_code(session, typed) == message_id


def test_a_code_of_no_message_finds_nothing(database: str) -> None:
    with transaction() as session:
        for given in (verification_code(uuid4()), "", "7Q4K", "ÄÖÜ?-0000-0000", "U" * 12, "0" * 4000):
            assert find_by_code(session, given) is None

"""A test of a survey: its message to an address of our own, whose links lead to a page that records nothing."""

from campaigns import trial_sends
from campaigns.context import Recipient
from campaigns.standing_in import usable_sender
from campaigns.surveys import writing
from campaigns.unrecorded import new_unrecorded_id
from outreach.db import transaction
from outreach.vocabulary import Channel, NoticeClass


def send_trial(key: str, *, channel: Channel, address: str, language: str, actor: str) -> str:
    """Send one test and return what became of it; opens its own transactions, none during the call."""
    sender = usable_sender(channel)
    with transaction() as session:
        survey = writing.find(session, key)
        _, facts = writing.trial_facts(survey, language)
        content = sender.content(session, survey.template_key, writing.newest_words(session, survey))
        nobody = Recipient(new_unrecorded_id(), address, facts["customer"], facts["grade"], [], [], [])
        envelope = sender.envelope(nobody, facts, content, language, NoticeClass.SURVEY)
    return trial_sends.hand_over(sender, envelope, subject=subject_of(key), actor=actor)


def subject_of(key: str) -> str:
    """Return the name under which the tests of a survey are in the audit log."""
    return f"survey:{key}"

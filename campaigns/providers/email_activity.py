"""SendGrid's Email Activity: which of these messages does it have?

https://www.twilio.com/docs/sendgrid/api-reference/email-activity: `GET /v3/messages?query=…`. It is a paid add-on,
takes 6 requests a minute, and its answers name address and subject but not our own argument, so that the messages of
one call all go to different addresses.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

import orjson

from campaigns.providers.base import Asked, LookUp, Search
from campaigns.providers.transport import Answer, MaybeSentError, NotSentError

# The query travels in the address; 50 ids make about 5,000 characters.
MESSAGES_PER_QUERY = 50
MOST_ANSWERS = 1000
# The smallest history that SendGrid sells; what is older may be missing although it was accepted.
HISTORY = timedelta(days=3)


def activity_of(asked: Sequence[Asked], get: Callable[[str], Answer]) -> dict[UUID, LookUp]:
    """Return one answer per message; `get` makes one authenticated call.

    The first call that fails answers for all that follow: at 6 requests a minute, asking on would only prolong it.
    """
    found: dict[UUID, LookUp] = {}
    trouble: LookUp | None = None
    for group in _groups(asked):
        answers = _ask(group, get) if trouble is None else trouble
        if isinstance(answers, LookUp):
            trouble = answers
            found.update(dict.fromkeys((one.message_id for one in group), answers))
        else:
            found.update(answers)
    return found


def _groups(asked: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Yield groups in which no address appears twice."""
    waiting = list(asked)
    while waiting:
        group: dict[str, Asked] = {}
        later = []
        for one in waiting:
            if one.to.lower() in group or len(group) == MESSAGES_PER_QUERY:
                later.append(one)
            else:
                group[one.to.lower()] = one
        waiting = later
        yield list(group.values())


def _ask(group: Sequence[Asked], get: Callable[[str], Answer]) -> dict[UUID, LookUp] | LookUp:
    query = " OR ".join(f"unique_args['message_id']=\"{one.message_id}\"" for one in group)
    try:
        answer = get("/v3/messages?" + urlencode({"query": query, "limit": MOST_ANSWERS}))
    except (NotSentError, MaybeSentError) as error:
        return LookUp(Search.UNABLE, detail=str(error))
    if answer.status != 200:
        return LookUp(Search.UNABLE, detail=f"Email Activity answered {answer.status}")
    try:
        listed = {str(m["to_email"]).lower(): str(m["msg_id"]) for m in orjson.loads(answer.body)["messages"]}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return LookUp(Search.UNABLE, detail="the answer of Email Activity could not be read")
    if listed.keys() - {one.to.lower() for one in group}:
        return LookUp(Search.UNABLE, detail="Email Activity answered with other messages than were asked for")
    return {one.message_id: _verdict(one, listed.get(one.to.lower())) for one in group}


def _verdict(one: Asked, provider_id: str | None) -> LookUp:
    if provider_id is not None:
        return LookUp(Search.FOUND, provider_id)
    if datetime.now(UTC) - one.since > HISTORY:
        return LookUp(Search.UNABLE, detail="older than the history that Email Activity is sure to have")
    return LookUp(Search.ABSENT)

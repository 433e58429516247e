"""Before a launch: everything that would embarrass us, checked against the real audience and the real words."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import missing_words, samples
from campaigns.forecast import Forecast
from campaigns.ladders import ladder_of
from campaigns.mail_domain import MailDomain, look_up
from outreach.errors import OutreachError
from outreach.models import Campaign, Problem, Segment
from outreach.settings import get_settings
from outreach.vocabulary import CampaignKind, Channel

TRIED_EACH = 8  # recipients of each grade whose messages are really made


class Verdict(StrEnum):
    """How a check ended."""

    GOOD = "good"
    LOOK = "look"  # a person should look at it
    BAD = "bad"  # this should not go out


@dataclass(frozen=True, slots=True)
class Check:
    """One check, what it found, and what to do about it."""

    name: str
    verdict: Verdict
    said: str


_OTHERS = text("""
SELECT c.key, c.name, count(*) AS total
FROM campaigns c JOIN audience_members o ON o.segment_id = c.segment_id AND o.left_at IS NULL AND o.grade <> 'cleared'
JOIN audience_members m ON m.customer_id = o.customer_id AND m.segment_id = :segment_id AND m.left_at IS NULL
WHERE c.state IN ('running', 'waiting_approval') AND c.id <> :id AND c.segment_id <> :segment_id
  AND c.kind NOT IN ('check-in', 'survey')
GROUP BY c.key, c.name ORDER BY 3 DESC LIMIT 5
""")


def checks(session: Session, *, campaign: Campaign, forecast: Forecast, now: datetime) -> list[Check]:
    """Run every check; reads only, apart from looking up the sender's domain."""
    found = [_audience(session, campaign, forecast), *_words(session, campaign, now), _unreachable(forecast)]
    found += [*_code(session, campaign), _postal_address(), _promise(session, campaign), _others(session, campaign)]
    if Channel.EMAIL in ladder_of(campaign.ladder).channels:
        found.append(_domain(look_up(get_settings().email_from.rpartition("@")[2])))
    return sorted(found, key=lambda check: (check.verdict is Verdict.GOOD, check.verdict is Verdict.LOOK))


def _audience(session: Session, campaign: Campaign, forecast: Forecast) -> Check:
    scope = session.get(Segment, campaign.segment_id) if campaign.segment_id else None
    if scope is not None and scope.built_version != scope.current_version:
        return Check("Audience", Verdict.LOOK, "The audience is being counted again; the numbers may still change.")
    if not forecast.recipients:
        return Check("Audience", Verdict.BAD, "Nobody is in the audience.")
    return Check("Audience", Verdict.GOOD, f"{forecast.recipients:,} people, counted now.")


def _words(session: Session, campaign: Campaign, now: datetime) -> list[Check]:
    people = samples.people(session, campaign=campaign, each=TRIED_EACH)
    gaps = missing_words.gaps(session, campaign=campaign, now=now)
    found = []
    for name in ladder_of(campaign.ladder).channels:
        channel = Channel(name)
        title = f"Words for {'SMS' if channel is Channel.SMS else channel.value}"
        try:
            if not samples.words_of(session, campaign=campaign, channel=channel):
                found.append(Check(title, Verdict.BAD, f"The template {campaign.template_key} has none."))
                continue
        except OutreachError as error:
            found.append(Check(title, Verdict.BAD, error.message))
            continue
        made = [
            samples.as_received(session, campaign=campaign, person=person, channel=channel, now=now)
            for person in people
        ]
        wrong = [each for each in made if each.why]
        missing = [str(gap) for gap in gaps if gap.channel is channel]
        longest = max((each.segments.segments for each in made if each.segments), default=0)
        if missing:
            found.append(Check(title, Verdict.BAD, " ".join(missing[:3]) + " It cannot be approved like this."))
        elif wrong:
            found.append(Check(title, Verdict.BAD, f"{len(wrong)} of {len(made)} tried cannot be made: {wrong[0].why}"))
        elif longest > 3:
            found.append(Check(title, Verdict.LOOK, f"Up to {longest} segments each, every one is paid for."))
        else:
            unsubscribe = ", each with a way to unsubscribe" if channel is Channel.EMAIL else ""
            found.append(Check(title, Verdict.GOOD, f"Made for {len(made)} real recipients{unsubscribe}."))
    return found


def _unreachable(forecast: Forecast) -> Check:
    missing = sum(forecast.unreachable.values())
    if not missing:
        return Check("Reach", Verdict.GOOD, "Everybody can be reached on some channel of the plan.")
    share = missing / max(forecast.recipients, 1)
    verdict = Verdict.LOOK if share < 0.5 else Verdict.BAD
    return Check("Reach", verdict, f"{missing:,} people cannot be reached on any channel of the plan.")


def _postal_address() -> Check:
    if get_settings().postal_address.strip():
        return Check("Postal address", Verdict.GOOD, "It stands in every email.")
    said = "Most countries ask for one in every email; set OUTREACH_POSTAL_ADDRESS."
    return Check("Postal address", Verdict.BAD, said)


def _code(session: Session, campaign: Campaign) -> list[Check]:
    """Emails and text messages carry their code by themselves; a card only where its author has left room for it."""
    if Channel.POSTCARD not in ladder_of(campaign.ladder).channels:
        return []
    try:
        words = samples.words_of(session, campaign=campaign, channel=Channel.POSTCARD)
    except OutreachError:
        return []  # said above
    without = [language for language, each in words.items() if "code" not in each.variables()]
    if not without:
        return [Check("Verification code", Verdict.GOOD, "It stands in every message.")]
    said = f"The postcard ({', '.join(without)}) has none: write {{{{ code }}}} at {{{{ links.verify }}}} on its back."
    return [Check("Verification code", Verdict.LOOK, said)]


def _promise(session: Session, campaign: Campaign) -> Check:
    problem = session.get(Problem, campaign.problem_id) if campaign.problem_id else None
    if problem is None or campaign.kind not in {CampaignKind.KNOWN, CampaignKind.UPDATE}:
        return Check("Promise", Verdict.GOOD, "This notice promises nothing.")
    if problem.next_update_by or problem.fixed_by:
        return Check("Promise", Verdict.GOOD, "It says when people hear from you next.")
    said = "It does not say when people hear from you next. Those who know wait more calmly."
    return Check("Promise", Verdict.LOOK, said)


def _others(session: Session, campaign: Campaign) -> Check:
    rows = session.execute(_OTHERS, {"id": campaign.id, "segment_id": campaign.segment_id}).all()
    if not rows:
        return Check("Other notices", Verdict.GOOD, "No other open notice goes to the same people.")
    named = ", ".join(f"{row.key} ({row.total:,})" for row in rows)
    return Check("Other notices", Verdict.LOOK, f"Some of them are in the audience of {named} too.")


def _domain(found: MailDomain) -> Check:
    title = f"Sending domain {found.name}"
    if found.reserved:
        return Check(title, Verdict.LOOK, "This name is reserved for examples; real mailboxes will refuse it.")
    if found.unknown:
        return Check(title, Verdict.LOOK, "Its DNS records could not be looked up just now.")
    missing = [name for name, there in (("SPF", found.spf), ("DMARC", found.dmarc)) if not there]
    if missing:
        said = f"No {' and no '.join(missing)} record: large mailbox providers will refuse bulk mail."
        return Check(title, Verdict.BAD, said)
    return Check(title, Verdict.GOOD, "SPF and DMARC records are there.")

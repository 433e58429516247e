"""What an installation still needs before it can tell anybody anything, from what is there: no step is ever ticked."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.processes import Standing, providers
from campaigns.mail_domain import RESERVED, look_up
from outreach.permissions import Permission
from outreach.settings import get_settings
from webhooks import connectors


@dataclass(frozen=True, slots=True)
class Step:
    """One step: whether it is done, what it is for, the page or the command that does it, who may."""

    name: str
    done: bool
    said: str
    path: str = ""
    button: str = ""
    command: str = ""
    permission: Permission = Permission.SESSION_OWN
    needed: bool = True


_THERE = text("""
SELECT EXISTS (SELECT FROM customers) AS customers, EXISTS (SELECT FROM order_items) AS items,
       EXISTS (SELECT FROM problems) AS problems,
       (SELECT count(*) FROM (SELECT FROM operators WHERE disabled_at IS NULL LIMIT 2) two) AS operators
""")


def begun(session: Session) -> bool:
    """Return whether the first steps are behind this installation: there are customers, and a problem."""
    there = session.execute(_THERE).one()
    return bool(there.customers and there.problems)


def first_steps(session: Session) -> list[Step]:
    """Return every step in its order; one lookup in DNS at the most, kept for ten minutes."""
    there, settings = session.execute(_THERE).one(), get_settings()
    return [
        Step(
            "A second pair of eyes", there.operators > 1,
            "Large notices, and those that concern safety, need a second person who approves.",
            "/operators/new", "Add somebody", permission=Permission.OPERATORS_MANAGE, needed=False,
        ),
        *_sending(),
        Step(
            "Who you are", bool(settings.postal_address),
            f"Customers know you as {settings.organisation}. The law of most countries asks for a postal address in "
            "every email." + ("" if settings.postal_address else " None is set."),
            command='OUTREACH_ORGANISATION="Example Goods"\nOUTREACH_POSTAL_ADDRESS="1 Example Street, Springfield"',
        ),
        Step(
            "Customers and what they have", there.customers and there.items,
            "Their addresses, their orders and items, and the tickets that they wrote: with them Outreach finds whom a "
            "problem touches." + (" Customers are here, orders are not yet." if there.customers and not there.items
                                  else ""),
            "/import", "Import", permission=Permission.IMPORTS_RUN,
        ),
        Step(
            "The help desk", bool(connectors.all_desks(session)),
            "It tells of tickets and of problems that become known, and hears what was done about them.",
            "/connectors/new", "Connect it", permission=Permission.CONNECTORS_MANAGE, needed=False,
        ),
        Step(
            "The first problem", there.problems, "Report what is wrong, find everybody it touches, look at the notice, "
            "approve it.", "/problems/new", "Report a problem", permission=Permission.PROBLEMS_WRITE,
        ),
    ]  # fmt: skip


def _sending() -> list[Step]:
    settings = get_settings()
    found = {each.name: each for each in providers()}
    email, domain = found["email"], settings.email_from.rpartition("@")[2]
    others = [name for name in ("sms", "postcard") if found[name].standing is Standing.UP]
    provider = Step(
        "A provider for email", email.standing is Standing.UP,
        email.said.capitalize() if email.standing is Standing.UP else
        f"{email.said} Text messages and postcards have settings of their own"
        + (f"; ready: {', '.join(others)}." if others else " and can wait."),
        "/system", "See all channels",
        command="OUTREACH_EMAIL_PROVIDER=sendgrid\nOUTREACH_SENDGRID_API_KEY=…",
        permission=Permission.CAMPAIGNS_READ,
    )  # fmt: skip
    if domain in RESERVED or domain.endswith(tuple(f".{name}" for name in RESERVED)):
        said = f"Notices would come from {settings.email_from}, an address that belongs to nobody."
        return [provider, Step("Your sending domain", False, said, command="OUTREACH_EMAIL_FROM=care@your-domain")]
    records = look_up(domain)
    missing = [name for name, there in (("SPF", records.spf), ("DMARC", records.dmarc)) if not there]
    said = (
        f"DNS did not answer for {domain}." if records.unknown
        else f"{domain} has no {' and no '.join(missing)} record; mailbox providers ask for both of whoever sends much."
        if missing else f"Notices come from {settings.email_from}; SPF and DMARC are there."
    )  # fmt: skip
    return [provider, Step("Your sending domain", not missing and not records.unknown, said)]

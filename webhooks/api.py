"""Where providers and help desks knock: verify the raw bytes, keep them once, answer.

Nothing is parsed here. 2xx means that the event is stored; 401 that it is not genuine; 503 that the database is
away or takes no writes, so that the sender tries again. Redis is not asked.
"""

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import SecretStr

from outreach import clock
from outreach.doors import public
from outreach.errors import TooLarge
from outreach.settings import get_settings
from webhooks import connectors, intake
from webhooks.providers import lob, postmark, sendgrid, twilio
from webhooks.signatures import require_match, usable

router = APIRouter(tags=["webhooks"])
signed = [Depends(public("the sender's signature over the raw body is checked before anything else"))]

LARGEST_EVENT = 2 * 1024 * 1024
LARGEST_EMAIL = 30 * 1024 * 1024


async def raw_body(request: Request) -> bytes:
    """Return the body as it came, refusing one that is too large before it is read to the end."""
    largest = LARGEST_EMAIL if request.url.path.endswith("/inbound") else LARGEST_EVENT
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > largest:
            raise TooLarge(f"The body is larger than {largest} bytes.")
    return bytes(body)


async def _keep(request: Request, source: str, key: str | None, body: bytes) -> Response:
    await intake.keep(intake.Knock(source, key, request.headers, request.url.query, body))
    return Response(status_code=204)


def _public_address(request: Request) -> str:
    """Return the address as the sender knows it: our configured one, never what the Host header says."""
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{get_settings().public_url.rstrip('/')}{request.url.path}{query}"


@router.post("/webhooks/sendgrid/events", dependencies=signed, status_code=204)
async def sendgrid_events(request: Request) -> Response:
    """Take in a batch of SendGrid events."""
    body = await raw_body(request)
    sendgrid.verify(request.headers, body, _secrets(get_settings().sendgrid_webhook_public_key))
    return await _keep(request, "sendgrid", None, body)


@router.post("/webhooks/sendgrid/inbound", dependencies=signed, status_code=204)
async def sendgrid_inbound(request: Request) -> Response:
    """Take in an email that a customer wrote; the address given to SendGrid carries a secret token."""
    body = await raw_body(request)
    sendgrid.verify_inbound(request.query_params.get("token", ""), _secrets(get_settings().sendgrid_inbound_token))
    return await _keep(request, "sendgrid-inbound", None, body)


@router.post("/webhooks/twilio/status", dependencies=signed, status_code=204)
async def twilio_status(request: Request) -> Response:
    """Take in the status of a text message."""
    body = await raw_body(request)
    _verify_twilio(request, body)
    return await _keep(request, "twilio-status", None, body)


@router.post(
    "/webhooks/twilio/inbound", dependencies=signed, response_class=Response,
    responses={200: {"content": {"text/xml": {}}}},
)  # fmt: skip
async def twilio_inbound(request: Request) -> Response:
    """Take in a text message that a customer wrote; the answer is empty TwiML, which sends nothing back."""
    body = await raw_body(request)
    _verify_twilio(request, body)
    await _keep(request, "twilio-inbound", None, body)
    return Response(content="<Response></Response>", media_type="text/xml")


@router.post("/webhooks/lob", dependencies=signed, status_code=204)
async def lob_event(request: Request) -> Response:
    """Take in what happened to a postcard."""
    body = await raw_body(request)
    lob.verify(request.headers, body, _secrets(get_settings().lob_webhook_secret), clock.wall())
    return await _keep(request, "lob", None, body)


@router.post("/webhooks/postmark/events", dependencies=signed, status_code=204)
async def postmark_event(request: Request) -> Response:
    """Take in what became of an email at Postmark, whose webhooks carry a user and password instead of a signature."""
    body = await raw_body(request)
    postmark.verify(request.headers, _secrets(get_settings().postmark_webhook_password))
    return await _keep(request, "postmark", None, body)


@router.post("/webhooks/postmark/inbound", dependencies=signed, status_code=204)
async def postmark_inbound(request: Request) -> Response:
    """Take in an email that a customer wrote, by way of Postmark."""
    body = await raw_body(request)
    postmark.verify(request.headers, _secrets(get_settings().postmark_webhook_password))
    return await _keep(request, "postmark-inbound", None, body)


@router.post("/webhooks/bounces", dependencies=signed, status_code=204)
async def bounce(request: Request) -> Response:
    """Take in a bounce (RFC 3464) or complaint (RFC 5965) as a raw email; the address carries a secret token."""
    body = await raw_body(request)
    require_match(
        request.query_params.get("token", ""), usable(_secrets(get_settings().bounce_token), "bounce token"), "token"
    )
    return await _keep(request, "bounces", None, body)


@router.post("/webhooks/desks/{desk}", dependencies=signed, status_code=204)
async def desk_event(desk: str, request: Request) -> Response:
    """Take in an event of a help desk."""
    body = await raw_body(request)
    found = await run_in_threadpool(connectors.recent, desk)
    found.verify(request.headers, body, clock.wall())
    identity = connectors.KINDS[found.kind].identity
    return await _keep(request, found.source, request.headers.get(identity) if identity else None, body)


def _verify_twilio(request: Request, body: bytes) -> None:
    settings = get_settings()
    tokens = [*_secrets(settings.twilio_auth_token), *_secrets(settings.twilio_second_auth_token)]
    twilio.verify(request.headers, body, _public_address(request), tokens)


def _secrets(setting: SecretStr | str | None) -> list[str]:
    """Return the secrets of a setting: two, parted by a comma, while one is being replaced by the other."""
    plain = setting.get_secret_value() if isinstance(setting, SecretStr) else setting or ""
    return [part.strip() for part in plain.split(",") if part.strip()]

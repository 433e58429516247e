"""The postcard wire: create once per key, find by metadata, cancel within the window, tracking webhooks."""

import asyncio
import hashlib
import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.recipients import card_story
from sandbox.record import Accepted
from sandbox.rules.lob import earliest_send, problems
from sandbox.wire import basic_credentials, read_body, same, with_faults
from sandbox.world import World

MAX_BYTES = 5 * 1024 * 1024
MAX_KEY = 256
KEY_LIVES = timedelta(hours=24)
FAR_AWAY_SECONDS = 3600
ADDRESS_FIELDS: tuple[str, ...] = ("name", "company", "phone", "email", "address_line1", "address_line2")
ADDRESS_FIELDS += ("address_city", "address_state", "address_zip")


class Lob:
    """Answers and behaves like Lob's postcards endpoint."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cards: dict[str, dict[str, Any]] = world.record.load("postcard")
        self._keys: dict[str, dict[str, str]] = world.record.load("idempotency")
        self._creating: dict[str, asyncio.Lock] = {}

    def routes(self) -> list[Route]:
        """Return the routes of this wire."""
        return [
            Route("/v1/postcards", self._create, methods=["POST"]),
            Route("/v1/postcards", self._list, methods=["GET"]),
            Route("/v1/postcards/{id}", self._fetch, methods=["GET"]),
            Route("/v1/postcards/{id}", self._cancel, methods=["DELETE"]),
        ]

    def forget(self) -> None:
        """Forget every postcard and key."""
        self._cards.clear()
        self._keys.clear()

    def _denied(self, request: Request) -> Response | None:
        given = basic_credentials(request)
        if given is None or not same(given[0], self._world.settings.secret("lob_key")):
            return _error(401, "Your API key is not valid.", "invalid_api_key")
        return None

    async def _create(self, request: Request) -> Response:
        denied = self._denied(request)
        if denied:
            return denied

        async def accept() -> tuple[Response, str]:
            return await self._accept(request)

        return await with_faults(self._world.faults, "lob", accept, self._refusal)

    def _refusal(self, status: int) -> Response:
        if status == 500:
            return _error(500, "Something went wrong, please try again.", "internal_server_error")
        pause = self._world.faults.of("lob").retry_after_seconds
        answer = _error(429, "Rate limit exceeded. Please wait and try your request again.", "rate_limit_exceeded")
        answer.headers["Retry-After"] = str(pause)
        answer.headers["ratelimit-remaining"] = "0"
        answer.headers["ratelimit-reset"] = str(int(datetime.now(UTC).timestamp()) + pause)
        return answer

    async def _accept(self, request: Request) -> tuple[Response, str]:
        body = await read_body(request, MAX_BYTES)
        if body is None:
            return _error(413, "The request is too large.", "file_size_exceeds_limit"), ""
        try:
            asked = _parsed(request.headers.get("content-type", ""), body)
        except ValueError as error:
            return _error(422, f"the body cannot be read: {error}", "bad_request"), ""
        wrong = problems(asked) or self._world.official("lob", asked)
        if wrong:
            return _error(422, "; ".join(wrong), "invalid"), ""
        key = request.headers.get("idempotency-key") or request.query_params.get("idempotency_key")
        if key is None:
            return await self._print(request, asked, None, "")
        if len(key) > MAX_KEY:
            return _error(422, f"idempotency_key must be at most {MAX_KEY} characters", "invalid"), ""
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        # Two calls with one key at the same time: the second waits for the first and gets its postcard.
        async with self._creating.setdefault(key, asyncio.Lock()):
            return self._known(key, digest) or await self._print(request, asked, key, digest)

    def _known(self, key: str, digest: str) -> tuple[Response, str] | None:
        earlier = self._keys.get(key)
        if earlier is None or datetime.fromisoformat(earlier["at"]) < datetime.now(UTC) - KEY_LIVES:
            return None
        if earlier["digest"] != digest:
            text = "a different request was made with this idempotency key: use a new key for another postcard"
            return _error(422, text, "conflict"), ""
        card = self._cards[earlier["id"]]
        return JSONResponse(card), card["metadata"].get("message_id", "")

    async def _print(
        self, request: Request, asked: dict[str, Any], key: str | None, digest: str
    ) -> tuple[Response, str]:
        now = datetime.now(UTC)
        mailed = earliest_send(asked, now, timedelta(seconds=self._world.settings.lob_window_seconds))
        card = _new_card(asked, now, mailed)
        objects: list[tuple[str, str, Any]] = [("postcard", card["id"], card)]
        if key is not None:
            entry = {"id": card["id"], "digest": digest, "at": now.isoformat()}
            objects.append(("idempotency", key, entry))
        about = card["metadata"].get("message_id")
        address = asked["to"]
        postal = ", ".join(filter(None, (address["address_line1"], address.get("address_zip"))))
        recipient = f"{address.get('name') or address.get('company')}, {postal}"
        sender = (asked.get("from") or {}).get("name")
        accepted = Accepted(about, recipient, sender, card["id"])
        await self._world.record.accept("lob", request.url.path, asked, [accepted], objects)
        self._cards[card["id"]] = card
        if key is not None:
            self._keys[key] = entry
        self._live(card, (mailed - now).total_seconds())
        return JSONResponse(card), about or ""

    def _live(self, card: dict[str, Any], until_mailed: float) -> None:
        """Send the webhooks of making and mailing; one with a far send date stays on the table."""
        pace = self._world.settings.pace_seconds
        for number, name in enumerate(("created", "rendered_pdf", "rendered_thumbnails")):
            self._event(card, name, number * pace)
        if until_mailed > FAR_AWAY_SECONDS:
            return
        faults, seed = self._world.faults, self._world.settings.seed
        address = card["to"]
        line = f"{address['address_line1']} {address['address_zip']}"
        story = card_story(address["address_zip"] or "", line, faults.of("lob").outcomes, seed)
        self._world.courier.later(until_mailed, partial(self._mail, card, story))

    def _mail(self, card: dict[str, Any], story: tuple[Any, ...]) -> None:
        if card.get("deleted") or card["id"] not in self._cards:
            return
        for step in story:
            if step.name == "failed":
                card["status"] = "failed"
                card["failure_reason"] = {"message": "The artwork could not be printed.", "code": "invalid_file"}
            else:
                card["tracking_events"].append(_tracking(step.name))
            self._event(card, step.name, step.arrives_after * self._world.settings.pace_seconds)
        self._world.record.put("postcard", card["id"], card)

    def _event(self, card: dict[str, Any], name: str, after: float) -> None:
        # A repeated step is the same event, as a webhook that Lob delivers twice.
        identity = "evt_" + hashlib.sha256(f"{card['id']}:{name}".encode()).hexdigest()[:16]
        event = {
            "id": identity,
            "body": card,
            "reference_id": card["id"],
            "event_type": {
                "id": f"postcard.{name}",
                "enabled_for_test": True,
                "resource": "postcards",
                "object": "event_type",
            },
            "date_created": _moment(datetime.now(UTC)),
            "object": "event",
        }
        sign = self._world.signatures.lob
        about = card["metadata"].get("message_id", card["id"])
        self._world.post_json("lob", "/webhooks/lob", event, sign, after, about)

    async def _fetch(self, request: Request) -> Response:
        return self._denied(request) or self._found(request.path_params["id"])

    def _found(self, identity: str) -> Response:
        card = self._cards.get(identity)
        return _error(404, "postcard not found", "not_found") if card is None else JSONResponse(card)

    async def _cancel(self, request: Request) -> Response:
        denied = self._denied(request)
        if denied:
            return denied
        card = self._cards.get(request.path_params["id"])
        if card is None:
            return _error(404, "postcard not found", "not_found")
        if not card.get("deleted"):
            if datetime.fromisoformat(card["send_date"]) <= datetime.now(UTC):
                return _error(422, "The cancellation window has passed.", "not_deletable")
            card["deleted"] = True
            await asyncio.wrap_future(self._world.record.put("postcard", card["id"], card))
            self._event(card, "deleted", 0)
        return JSONResponse({"id": card["id"], "deleted": True})

    async def _list(self, request: Request) -> Response:
        denied = self._denied(request)
        if denied:
            return denied
        query = request.query_params
        limit = query.get("limit", "10")
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= 100:
            return _error(422, "limit must be a number from 1 to 100", "invalid")
        wanted = {
            match[1]: value for name, value in query.items() if (match := re.fullmatch(r"metadata\[(.+)\]", name))
        }
        found = [card for card in reversed(self._cards.values()) if wanted.items() <= card["metadata"].items()]
        after = query.get("after")
        if after:
            place = next((number for number, card in enumerate(found) if card["id"] == after), len(found))
            found = found[place + 1 :]
        shown = found[: int(limit)]
        base = str(request.url.replace(query=""))
        following = f"{base}?limit={limit}&after={shown[-1]['id']}" if len(found) > len(shown) else None
        return JSONResponse(
            {"data": shown, "object": "list", "count": len(shown), "next_url": following, "previous_url": None}
        )


def _new_card(asked: dict[str, Any], now: datetime, mailed: datetime) -> dict[str, Any]:
    identity = "psc_" + secrets.token_hex(8)
    template = {side: asked[side] if asked[side].startswith("tmpl_") else None for side in ("front", "back")}
    return {
        "id": identity,
        "description": asked.get("description"),
        "metadata": asked.get("metadata") or {},
        "to": _address(asked["to"], now),
        "from": _address(asked["from"], now) if asked.get("from") else None,
        "url": f"https://lob-assets.com/postcards/{identity}.pdf",
        "front_template_id": template["front"],
        "back_template_id": template["back"],
        "carrier": "USPS",
        "tracking_events": [],
        "thumbnails": [],
        "merge_variables": asked.get("merge_variables"),
        "mail_type": asked.get("mail_type", "usps_first_class"),
        "size": asked.get("size", "4x6"),
        "use_type": asked["use_type"],
        "fsc": asked.get("fsc", False),
        "status": "processed",
        "failure_reason": None,
        "expected_delivery_date": (mailed + timedelta(days=5)).date().isoformat(),
        "date_created": _moment(now),
        "date_modified": _moment(now),
        "send_date": _moment(mailed),
        "object": "postcard",
    }


def _address(asked: dict[str, Any], now: datetime) -> dict[str, Any]:
    country = asked.get("address_country", "US")
    return {
        "id": "adr_" + secrets.token_hex(8),
        "description": asked.get("description"),
        **{name: asked.get(name) for name in ADDRESS_FIELDS},
        "address_country": "UNITED STATES" if country == "US" else country,
        "metadata": asked.get("metadata") or {},
        "date_created": _moment(now),
        "date_modified": _moment(now),
        "object": "address",
    }


def _tracking(name: str) -> dict[str, Any]:
    now = _moment(datetime.now(UTC))
    return {
        "id": "evnt_" + secrets.token_hex(8),
        "type": "normal",
        "name": name.replace("_", " ").title(),
        "time": now,
        "date_created": now,
        "date_modified": now,
        "object": "tracking_event",
    }


def _parsed(content_type: str, body: bytes) -> dict[str, Any]:
    """Read JSON, or a form whose nested fields are written as `to[name]`."""
    if not content_type.startswith("application/x-www-form-urlencoded"):
        read = json.loads(body)
        if not isinstance(read, dict):
            raise ValueError("it is not an object")
        return read
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(body.decode(), keep_blank_values=True):
        steps = [step for step in re.split(r"[\[\]]+", name) if step]
        branch = tree
        for step in steps[:-1]:
            branch = branch.setdefault(step, {})
            if not isinstance(branch, dict):
                raise ValueError(f"{name} is both a value and a group")
        branch[steps[-1] if steps else name] = value
    if tree.get("fsc") in {"true", "false"}:
        tree["fsc"] = tree["fsc"] == "true"
    if isinstance(tree.get("merge_variables"), str):
        tree["merge_variables"] = json.loads(tree["merge_variables"])
    return tree


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(status: int, message: str, code: str) -> Response:
    return JSONResponse({"error": {"message": message, "status_code": status, "code": code}}, status)

"""A sandbox in a process of its own on a free port, and the clients that the tests point at it."""

import base64
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from sendgrid import SendGridAPIClient
from twilio.rest import Client  # type: ignore[import-untyped]

from tests.sandbox.receiver import Receiver

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "sendgrid_key": "SG.sandbox-test",
    "twilio_sid": "AC" + "0" * 31 + "1",
    "twilio_token": "twilio-test-token",
    "lob_key": "test_lob",
    "lob_webhook_secret": "lob-webhook-secret",
    "desk_secret": "whsec_" + base64.b64encode(b"desk secret of the tests").decode(),
    "zendesk_secret": "zendesk-signing-secret",
    "zendesk_token": "zendesk-api-token",
    "inbound_token": "inbound-token",
    "desks_secret": "desks-signing-secret",
    "desks_token": "desks-api-token",
}
FROM_NUMBER = "+15005550006"


class Sandbox:
    """Starts `python -m sandbox` and waits until it answers."""

    def __init__(self, home: Path, receiver: Receiver, *options: str) -> None:
        self.home = home
        self.receiver = receiver
        self.options = options
        self.http = urllib3.PoolManager(retries=False, maxsize=32)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start the process."""
        environment = {f"SANDBOX_{name.upper()}": value for name, value in SECRETS.items()}
        command = [sys.executable, "-m", "sandbox", "--port", str(self.port), "--home", str(self.home)]
        command += ["--webhooks-to", self.receiver.url, "--seed", "7", *self.options]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if self.http.request("GET", self.url + "/_sandbox/idle").status == 200:
                    return
            except urllib3.exceptions.HTTPError:
                time.sleep(0.05)
        raise TimeoutError("the sandbox did not start")

    def kill(self) -> None:
        """End the process without warning, as a power cut does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the process in order."""
        self.process.terminate()
        self.process.wait(10)
        self.http.clear()

    def get(self, path: str, **query: str) -> Any:
        """Return the JSON of a control call."""
        answer = self.http.request("GET", f"{self.url}{path}?{urlencode(query)}")
        assert answer.status == 200, answer.data
        return answer.json()

    def post(self, path: str, body: dict[str, Any], expect: tuple[int, ...] = (200, 201)) -> Any:
        """Make a control call."""
        answer = self.http.request("POST", self.url + path, json=body)
        assert answer.status in expect, answer.data
        return answer.json()

    def settle(self, seconds: float = 10) -> None:
        """Wait until no webhook is waiting."""
        deadline = time.monotonic() + seconds
        while not self.get("/_sandbox/idle")["idle"]:
            assert time.monotonic() < deadline, "webhooks are still waiting"
            time.sleep(0.02)

    def reset(self) -> None:
        """Forget everything: record, knobs, webhooks."""
        self.receiver.answers.clear()
        clear: dict[str, Any] = {"sendgrid": {}, "twilio": {}, "lob": {}, "desk": {}}
        self.post("/_sandbox/faults", clear)
        self.post("/_sandbox/reset", {})
        self.settle()
        self.receiver.received.clear()

    def sendgrid(self) -> SendGridAPIClient:
        """Return the official email client."""
        return SendGridAPIClient(SECRETS["sendgrid_key"], host=self.url)

    def twilio(self) -> Client:
        """Return the official SMS client."""
        client = Client(SECRETS["twilio_sid"], SECRETS["twilio_token"])
        client.api.base_url = self.url
        return client

    def mail(self, *people: dict[str, Any], **message: Any) -> urllib3.BaseHTTPResponse:
        """Send a mail over plain HTTP; each of `people` is a personalization."""
        body = {
            "from": {"email": "care@example.com"},
            "subject": "We found a fault",
            "content": [{"type": "text/plain", "value": "Hello"}],
            "personalizations": list(people),
            **message,
        }
        headers = {"Authorization": f"Bearer {SECRETS['sendgrid_key']}"}
        return self.http.request("POST", self.url + "/v3/mail/send", json=body, headers=headers)

    def text(self, to: str, **fields: str) -> urllib3.BaseHTTPResponse:
        """Send a text over plain HTTP."""
        form = {"To": to, "From": FROM_NUMBER, "Body": "We found a fault", **fields}
        url = f"{self.url}/2010-04-01/Accounts/{SECRETS['twilio_sid']}/Messages.json"
        headers = basic(SECRETS["twilio_sid"], SECRETS["twilio_token"])
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return self.http.request("POST", url, body=urlencode(form), headers=headers)

    def lob(self, method: str, path: str = "", body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        """Call the postcard API."""
        sent = basic(SECRETS["lob_key"], "") | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, self.url + "/v1/postcards" + path, json=body, headers=sent)

    def zendesk(self, method: str, path: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        """Call the ticket API."""
        sent = basic("agent@example.com/token", SECRETS["zendesk_token"])
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, self.url + "/api/v2" + path, json=body, headers=sent)


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def person(email: str, message_id: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one personalization."""
    named = {"custom_args": {"message_id": message_id}} if message_id else {}
    return {"to": [{"email": email}], **named, **more}


def postcard(message_id: str = "m1", /, **changes: Any) -> dict[str, Any]:
    """Return a postcard that Lob takes; a change to None removes the field."""
    card: dict[str, Any] = {
        "to": {
            "name": "Harry Zhang",
            "address_line1": "210 King St",
            "address_city": "San Francisco",
            "address_state": "CA",
            "address_zip": "94107",
        },
        "front": "<html>front</html>",
        "back": "<html>back</html>",
        "use_type": "operational",
        "metadata": {"message_id": message_id},
    }
    return {name: value for name, value in (card | changes).items() if value is not None}

"""Which texts Twilio refuses, with its error codes (docs: Messages resource, error dictionary)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_BODY = 1600
E164 = re.compile(r"\+[1-9]\d{6,14}")
_SENDER_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
_CONTENT = re.compile(r"HX[0-9a-fA-F]{32}")
_APPLICATION = re.compile(r"AP[0-9a-fA-F]{32}")
_URL = re.compile(r"https?://[^\s/]+(/\S*)?")
# The basic alphabet of GSM 03.38; those of the extension table take two septets.
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED = frozenset("^{}\\[~]|€\f")


@dataclass(frozen=True)
class Refusal:
    """One Twilio error: the code decides what the caller does, the status is of HTTP."""

    code: int
    message: str
    status: int = 400


def refusal(form: Mapping[str, str]) -> Refusal | None:
    """Return why Twilio would refuse this form, or None."""
    return _recipient(form) or _sender(form) or _content(form) or _options(form)


def _recipient(form: Mapping[str, str]) -> Refusal | None:
    to = form.get("To", "")
    if not to:
        return Refusal(21604, "A 'To' phone number is required.")
    if not E164.fullmatch(to):
        return Refusal(21211, f"Invalid 'To' Phone Number: {_masked(to)}")
    return None


def _sender(form: Mapping[str, str]) -> Refusal | None:
    sender, service = form.get("From", ""), form.get("MessagingServiceSid", "")
    if not sender and not service:
        return Refusal(21603, "A 'From' phone number is required.")
    if service and not _SERVICE.fullmatch(service):
        return Refusal(21705, f"The Messaging Service Sid {service} is invalid.")
    if sender and not (E164.fullmatch(sender) or _SENDER_NAME.fullmatch(sender) or re.fullmatch(r"\d{3,8}", sender)):
        return Refusal(21212, f"Invalid From Number (caller ID): {sender}")
    if sender == form.get("To"):
        return Refusal(21266, "'To' and 'From' number cannot be the same.")
    return None


def _content(form: Mapping[str, str]) -> Refusal | None:
    body = form.get("Body", "")
    if not body and not form.get("MediaUrl") and not form.get("ContentSid"):
        return Refusal(21602, "Message body is required.")
    if len(body) > MAX_BODY:
        return Refusal(21617, f"The concatenated message body exceeds the {MAX_BODY} character limit.")
    if form.get("ContentSid") and not _CONTENT.fullmatch(form["ContentSid"]):
        return Refusal(21655, f"The ContentSid {form['ContentSid']} is invalid.")
    return None


def _options(form: Mapping[str, str]) -> Refusal | None:
    callback = form.get("StatusCallback", "")
    if callback and not _URL.fullmatch(callback):
        return Refusal(21609, f"The 'StatusCallback' URL {callback} is not a valid URL.")
    application = form.get("ApplicationSid", "")
    if application and not _APPLICATION.fullmatch(application):
        return Refusal(21203, f"ApplicationSid {application} is invalid.")
    validity = form.get("ValidityPeriod", "1")
    if not validity.isascii() or not validity.isdigit() or not 1 <= int(validity) <= 36_000:
        return Refusal(21623, "ValidityPeriod must be between 1 and 36000 seconds.")
    if form.get("ScheduleType") and not (form.get("MessagingServiceSid") and form.get("SendAt")):
        return Refusal(35118, "MessagingServiceSid and SendAt are required to schedule a message.")
    return None


def _masked(number: str) -> str:
    return number[:-4] + "XXXX" if len(number) > 4 else number


def segments(body: str) -> int:
    """Return how many parts a text takes: 160 or 153 GSM-7 septets, 70 or 67 UCS-2 units (3GPP TS 23.038)."""
    if set(body) <= _GSM | _GSM_EXTENDED:
        length, alone, joined = len(body) + sum(letter in _GSM_EXTENDED for letter in body), 160, 153
    else:
        length, alone, joined = len(body.encode("utf-16-be")) // 2, 70, 67
    return 1 if length <= alone else -(-length // joined)

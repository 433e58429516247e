"""The words that Outreach comes with; operators copy and change them."""

from functools import cache
from pathlib import Path

from campaigns.rendering import Content
from outreach.vocabulary import Channel

KEYS = ("problem-known", "problem-update", "problem-resolved", "check-in")
_FOLDER = Path(__file__).parent / "templates"
_SUBJECT = "Subject: "


@cache
def default_templates() -> dict[tuple[str, Channel], Content]:
    """Return each template by key and channel, in English."""
    return {(key, channel): _read(key, channel) for key in KEYS for channel in Channel}


def _read(key: str, channel: Channel) -> Content:
    name = f"{key} ({channel})"
    if channel is Channel.POSTCARD:
        front, back = (_text(f"{key}.postcard.{side}.html") for side in ("front", "back"))
        return Content(channel, None, front, back, "en", name)
    if channel is Channel.SMS:
        return Content(channel, None, _text(f"{key}.sms.txt"), None, "en", name)
    first, _, body = _text(f"{key}.email.md").partition("\n")
    return Content(channel, first.removeprefix(_SUBJECT), body.lstrip("\n"), None, "en", name)


def _text(file: str) -> str:
    return (_FOLDER / file).read_text(encoding="utf-8")

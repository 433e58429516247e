"""From a template's words and one customer's facts to exactly what is sent. Pure: no database, no clock.

Everything that is the same for all is done once per template version (`compile_content`): Markdown to
HTML, the layout, parsing. Per person there is one Liquid rendering per part.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from campaigns.email_layout import TEXT_BOTTOM, in_layout
from campaigns.liquid_templates import LiquidTemplate
from campaigns.markdown_pages import page_of, without_blank_tag_lines
from campaigns.mjml_pages import is_mjml, page_of_mjml
from campaigns.postcard_sizes import size_of
from campaigns.sms_segments import MAX_SEGMENTS, sms_segments
from outreach.errors import InvalidTemplate
from outreach.values import value_object
from outreach.vocabulary import Channel

# Lob takes at most this many characters per side.
MAX_POSTCARD_CHARACTERS = 10_000
MAX_SUBJECT_CHARACTERS = 250
# The words a template may use; `examples.example_context` shows their shape.
CONTEXT_NAMES = frozenset(
    {"customer", "problem", "items", "tickets", "grade", "organisation", "links", "code", "campaign", "survey"}
)
# "Code" is understood in every language that default words are written in; the page explains itself.
SMS_BOTTOM = "{% if code and links.verify %}\nCode {{ code }}: {{ links.verify }}{% endif %}"
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+\n")
# Marks that turn the writing direction round: in a subject they can make one text look like another.
_DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Content:
    """The words of one template version: Markdown or MJML for email, text for SMS, HTML for a postcard's sides."""

    channel: Channel
    subject: str | None
    body: str
    back: str | None = None
    language: str = "en"
    name: str = "the template"


@value_object
class Rendered:
    """What one person gets. Email: subject, text, html. SMS: text. Postcard: html is the front, and back, and size."""

    subject: str | None = None
    text: str | None = None
    html: str | None = None
    back: str | None = None
    size: str | None = None


@dataclass(frozen=True, slots=True)
class CompiledContent:
    """A template version, read and ready; `parts` are its Liquid texts by their place in `Rendered`."""

    content: Content
    parts: Mapping[str, LiquidTemplate]
    size: str | None = None  # of a postcard
    reads: frozenset[str] = frozenset()  # the paths of `variables`, worked out once

    @property
    def is_fast(self) -> bool:
        """Whether every part goes the quick way."""
        return all(part.is_fast for part in self.parts.values())

    def bound(self, shared: Mapping[str, Any]) -> "CompiledContent":
        """Return the same words with what `shared` decides written out, for many contexts that all contain `shared`."""
        return replace(self, parts={part: template.bound(shared) for part, template in self.parts.items()})

    def variables(self) -> set[str]:
        """Return the paths that the words read, such as `customer.name`."""
        return set().union(*(part.variables() for part in self.parts.values()))

    def render(self, context: Mapping[str, Any]) -> Rendered:
        """Return the texts for one person; raises InvalidTemplate saying which part and what is wrong.

        `context` holds plain dicts, lists, strings, whole numbers and None for what is absent.
        """
        made = {part: template.render(context) for part, template in self.parts.items()}
        channel = self.content.channel
        if channel is Channel.EMAIL:
            return Rendered(
                subject=_subject(made["subject"], self.content.name),
                text=_whole(_squeezed(made["text"])),
                html=_whole(made["html"]),
            )
        if channel is Channel.SMS:
            return Rendered(text=_sms(made["text"], made.get("bottom", ""), self.content.name))
        for side in ("html", "back"):
            if len(made[side]) > MAX_POSTCARD_CHARACTERS:
                raise InvalidTemplate(
                    f"{self.content.name}: this side of the postcard is {len(made[side]):,} characters long; "
                    f"at most {MAX_POSTCARD_CHARACTERS:,} can be printed.",
                    where="back" if side == "back" else "body",
                )
        return Rendered(html=_whole(made["html"]), back=_whole(made["back"]), size=self.size)


@lru_cache(maxsize=256)
def compile_content(content: Content) -> CompiledContent:
    """Read a template version once; raises InvalidTemplate for anything that could never be sent."""
    compiled = CompiledContent(content, _parts(content), _size(content))
    reads = frozenset(compiled.variables())
    unknown = {path for path in reads if path.split(".")[0] not in CONTEXT_NAMES}
    if unknown:
        raise InvalidTemplate(
            f"{content.name} uses {', '.join(sorted(unknown))}; there is only {', '.join(sorted(CONTEXT_NAMES))}.",
            where=content.name,
        )
    return replace(compiled, reads=reads)


def _parts(content: Content) -> dict[str, LiquidTemplate]:
    if not content.body.strip():
        raise InvalidTemplate(f"{content.name} has no text.", where="body")
    if content.channel is Channel.SMS:
        source = without_blank_tag_lines(content.body, content.name)
        parts = {"text": LiquidTemplate(source, f"{content.name} (text)", html=False)}
        if "code" not in parts["text"].variables():  # no message goes without: texts are what is forged most
            parts["bottom"] = LiquidTemplate(SMS_BOTTOM, f"{content.name} (code)", html=False)
        return parts
    if content.channel is Channel.POSTCARD:
        return _postcard_parts(content)
    if not (content.subject or "").strip():
        raise InvalidTemplate(f"{content.name} has no subject.", where="subject")
    if not _LANGUAGE.fullmatch(content.language):
        raise InvalidTemplate(
            f"{content.name}: {content.language!r} is not a language code such as en or pt-BR.", where="language"
        )
    # Read first as plain Liquid: its complaints then name what the author wrote, not what we made of it.
    LiquidTemplate(content.body, f"{content.name} (body)", html=False)
    if is_mjml(content.body):
        page = page_of_mjml(content.body, f"{content.name} (body)", content.language)
        html = page.html
    else:
        page = page_of(content.body, f"{content.name} (body)")
        html = in_layout(page.html, page.preheader, content.language)
    return {
        "subject": LiquidTemplate(content.subject or "", f"{content.name} (subject)", html=False),
        "text": LiquidTemplate(page.text + TEXT_BOTTOM, f"{content.name} (text)", html=False),
        "html": LiquidTemplate(html, f"{content.name} (HTML)", html=True),
    }


def _size(content: Content) -> str | None:
    if content.channel is not Channel.POSTCARD:
        return None
    front, back = (
        size_of(content.body, f"{content.name} (front)"),
        size_of(content.back or "", f"{content.name} (back)"),
    )
    if front != back:
        raise InvalidTemplate(f"{content.name}: the front is a {front}, the back a {back}.", where="back")
    return front


def _postcard_parts(content: Content) -> dict[str, LiquidTemplate]:
    if not (content.back or "").strip():
        raise InvalidTemplate(f"{content.name} has no back.", where="back")
    sides = {"html": ("front", content.body), "back": ("back", content.back or "")}
    parts = {}
    for part, (side, source) in sides.items():
        _refuse_active_html(source, f"{content.name} ({side})")
        parts[part] = LiquidTemplate(source, f"{content.name} ({side})", html=True, paper=True)
    return parts


_ACTIVE = re.compile(
    r"<\s*(script|iframe|object|embed|form|link|base|meta\s+http-equiv)\b|\son\w+\s*=|javascript:", re.I
)


def _refuse_active_html(source: str, name: str) -> None:
    """A postcard is a page that a printer's browser draws: words, styles and pictures only."""
    found = _ACTIVE.search(source)
    if found:
        raise InvalidTemplate(f"{name} may not contain {found.group().strip()!r}: paper runs no code.", where=name)
    # A slot inside <style> or an unquoted attribute would not be protected by escaping.
    for block in re.findall(r"<style[^>]*>(.*?)</style>", source, re.I | re.S):
        if "{{" in block:
            raise InvalidTemplate(f"{name} has {{{{ … }}}} inside <style>: move it into the page.", where=name)
    if re.search(r"=\s*\{\{", source):
        raise InvalidTemplate(f'{name} has an attribute without quotes: write ="{{{{ … }}}}".', where=name)


def _subject(text: str, name: str) -> str:
    """One line, without control characters or direction marks, as long as mail programs show at most."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(
            character if unicodedata.category(character) not in {"Cc", "Cs"} else " "
            for character in text
            if character not in _DIRECTION_MARKS
        )
    if "  " in text or text[:1] == " " or text[-1:] == " " or not text.isascii():
        text = " ".join(text.split())
    text = text[:MAX_SUBJECT_CHARACTERS]
    if not text:
        raise InvalidTemplate(f"{name}: the subject is empty for this person.", where="subject")
    return text


def _sms(text: str, bottom: str, name: str) -> str:
    text = _whole(_squeezed(text)).strip()
    if not text:
        raise InvalidTemplate(f"{name}: the text is empty for this person.", where="body")
    text += bottom
    # Too short for more than ten segments, whatever its characters: no counting.
    if len(text) > (765 if text.isascii() else 335):
        count = sms_segments(text)
        if count.segments > MAX_SEGMENTS:
            raise InvalidTemplate(
                f"{name}: the text takes {count.segments} segments ({count.encoding}); at most {MAX_SEGMENTS} "
                "can be sent. Shorten it.",
                where="body",
            )
    return text


def _squeezed(text: str) -> str:
    """At most one empty line in a row: optional paragraphs leave gaps."""
    if "\t" in text or " \n" in text:
        return _BLANK_LINES.sub("\n\n", text)
    gap = text.find("\n\n\n")
    while gap >= 0:
        text = text[: gap + 2] + text[gap + 2 :].lstrip("\n")
        gap = text.find("\n\n\n", gap + 2)
    return text


def _whole(text: str) -> str:
    """The text without NUL and half characters, which no provider takes."""
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

"""The newest words of an email reply: without what they quote and without signatures.

"STOP" in our own old text must never opt anybody out, so the rule is: cut rather too early than too late. The
whole text stays in the raw event.
"""

import re

# Everything from such a line on is somebody else's text, or older. Written for lines without blanks at the ends.
_DAY_OR_NAME = r"[^\n]{3,300}"
_CUTS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        (
            r"-{2,}\s*(original message|forwarded message|ursprüngliche nachricht|urspr\w*ngliche nachricht"
            r"|weitergeleitete nachricht|mensaje original|mensaje reenviado|mensagem original|mensagem encaminhada"
            r"|message d['’]origine|message original|message transféré)\s*-*"
        ),
        r"_{10,}",
        r"begin forwarded message:",
        # On Mon, 1 Jan 2026 at 10:00, Shop <care@example.com> wrote:
        rf"on {_DAY_OR_NAME} wrote:?",
        rf"el {_DAY_OR_NAME} escribió:?",
        rf"em {_DAY_OR_NAME} escreveu:?",
        rf"le {_DAY_OR_NAME} a écrit\s*:?",
        rf"am {_DAY_OR_NAME} schrieb({_DAY_OR_NAME})?:?",
        rf"{_DAY_OR_NAME}<[^<>\s]+@[^<>\s]+>\s*(wrote|escribió|escreveu|a écrit|schrieb)\s*:?",
        r"(##-|\[?please (type|write) your reply above this line\]?).*",
    )
]
_HEADER = re.compile(
    r"\*?(from|sent|to|subject|date|cc|de|enviado( el)?|para|asunto|assunto|fecha|data|envoyé|à|objet|von|gesendet|an"
    r"|betreff|datum)\s?:\*?\s",
    re.IGNORECASE,
)
# A signature is cut only from its own marker on: names and phone numbers in the last line may be the answer.
_SIGNATURES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"--",
        r"(sent|get) (from|outlook for|via) [^\n]{2,60}",
        r"enviado (desde|do|a partir do) [^\n]{2,60}",
        r"envoyé (de|depuis|à partir d[e'’]) ?[^\n]{2,60}",
        r"von mein\w+ [^\n]{2,60} gesendet",
        r"gesendet (mit|von) [^\n]{2,60}",
    )
]
_LONGEST = 100_000
_INTRODUCTION_LINES = 3


def newest_words(text: str) -> str:
    """Return what the sender wrote this time; "" when everything is quoted."""
    lines = [line.strip() for line in text[:_LONGEST].replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    kept: list[str] = []
    for index, line in enumerate(lines):
        if _starts_older_text(lines, index):
            break
        if not line.startswith((">", "|>")):
            kept.append(line)
    return "\n".join(_without_signature(kept)).strip()


def _starts_older_text(lines: list[str], index: int) -> bool:
    """Tell whether older text begins here; an introduction may be wrapped over up to three lines."""
    line = lines[index]
    if not line:
        return False
    if any(cut.fullmatch(line[:600]) for cut in _CUTS):
        return True
    following = [one for one in lines[index : index + 6] if one][:4]
    if _HEADER.match(line + " ") and sum(bool(_HEADER.match(one + " ")) for one in following) >= 2:
        return True
    if not re.match(r"(on|el|em|le|am)\s", line, re.IGNORECASE):
        return False
    wrapped = (" ".join(lines[index : index + count])[:600] for count in range(2, _INTRODUCTION_LINES + 1))
    return any(cut.fullmatch(joined.strip()) for joined in wrapped for cut in _CUTS)


def _without_signature(lines: list[str]) -> list[str]:
    for index, line in enumerate(lines):
        if line and any(signature.fullmatch(line[:200]) for signature in _SIGNATURES):
            return lines[:index]
    return lines

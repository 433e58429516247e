"""What a customer's answer means, by tables of words in five languages; a rule that fires can be named.

Wrongly going on is worse than wrongly stopping, so stop words win over all others; but a text that only contains
one also goes to a person, and "don't stop" is never taken for "stop". Nothing here guesses: what no rule knows is
a question, and a person answers it.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from outreach.vocabulary import Intent
from webhooks.intent_words import (
    ALREADY_FIXED_PHRASES,
    DOUBTS,
    HELP_EXACT,
    MESSAGE_WORDS,
    NEGATIONS,
    NO_WORDS,
    NOT_ME_PHRASES,
    NOT_STOP,
    OUT_OF_OFFICE_PHRASES,
    QUESTION_WORDS,
    SOLVED_EXACT,
    SOLVED_PHRASES,
    START_EXACT,
    STILL_BROKEN_EXACT,
    STILL_BROKEN_PHRASES,
    STOP_EXACT,
    STOP_PHRASES,
    YES_WORDS,
)

_LONGEST = 20_000
_SCORE = re.compile(r"(10|[0-9])(?: ?/ ?10)?")
_NOT_WORDS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Understanding:
    """The meaning of a reply. `review`: a person should look. `matched`: the rule that decided, for the record.

    `score` is a bare number from 0 to 10, which a survey may take as its answer.
    """

    intent: Intent
    review: bool
    score: int | None
    matched: str


def understand(text: str, *, question_pending: bool = False) -> Understanding:
    """Return what the newest words of a customer mean; take quoted text out before (`quoted_text.newest_words`).

    `question_pending` says that we asked something: then "yes" is an answer, not a wish to be written to again,
    and a bare number is a score first.
    """
    shown = unicodedata.normalize("NFKC", text[:_LONGEST])
    plain = normalise(text)
    score = _score(shown)
    return (
        _stop(plain)
        or _gibberish(shown, plain, score)
        or _exact(shown, plain, score, question_pending)
        or _phrase(shown, plain, score)
        or _question(shown, plain, score, question_pending)
    )


def normalise(text: str) -> str:
    """Return the words alone: one width and case, no accents, no punctuation, nothing invisible, single spaces."""
    folded = unicodedata.normalize("NFKC", text[:_LONGEST]).casefold()
    spread = unicodedata.normalize("NFKD", folded)
    kept = "".join(one for one in spread if unicodedata.category(one) not in ("Mn", "Me", "Cf", "Cc") or one.isspace())
    # An apostrophe joins (don't → dont); every other mark parts words (opt-out → opt out).
    joined = re.sub(r"(?<=\w)['’ʼ`´](?=t\b)", "", kept)
    return " ".join(_NOT_WORDS.sub(" ", joined).split())


def _stop(plain: str) -> Understanding | None:
    """An exact word stops at once; a phrase inside a sentence stops too, and a person looks; "don't stop" asks one."""
    spelled = plain.replace(" ", "") if all(len(word) == 1 for word in plain.split()) else plain
    if spelled in STOP_EXACT:
        return Understanding(Intent.STOP, False, None, f"stop: {spelled}")
    words, negated = f" {plain} ", None
    while phrase := _find(words, NOT_STOP):
        words, negated = words.replace(f" {phrase} ", " … "), negated or phrase
    if phrase := _find(words, STOP_PHRASES):
        return Understanding(Intent.STOP, True, None, f"stop within: {phrase}")
    return Understanding(Intent.QUESTION, True, None, f"not stop: {negated}") if negated else None


def _exact(shown: str, plain: str, score: int | None, question_pending: bool) -> Understanding | None:
    """The whole answer is one known word or digit."""
    if plain in START_EXACT and not (question_pending and plain in YES_WORDS):
        return Understanding(Intent.START, False, score, f"start: {plain}")
    if question_pending and (plain in YES_WORDS or plain in NO_WORDS):
        intent = Intent.SOLVED if plain in YES_WORDS else Intent.STILL_BROKEN
        return Understanding(intent, True, score, f"answer to a question: {plain}")
    if plain in HELP_EXACT:
        return Understanding(Intent.HELP, False, score, f"help: {plain}")
    if plain in SOLVED_EXACT and not _asks(shown):
        return Understanding(Intent.SOLVED, False, score, f"solved: {plain}")
    if plain in STILL_BROKEN_EXACT:
        return Understanding(Intent.STILL_BROKEN, False, score, f"still broken: {plain}")
    return None


def _phrase(shown: str, plain: str, score: int | None) -> Understanding | None:
    """A known phrase is somewhere in the answer; the order of the rules settles which one counts.

    Good news ends the care for a customer, so it must be certain: negated, doubtful or asked, a person looks.
    """
    words, single, asks = f" {plain} ", set(plain.split()), _asks(shown)
    for intent, phrases, review in (
        (Intent.OUT_OF_OFFICE, OUT_OF_OFFICE_PHRASES, False),
        (Intent.NOT_ME, NOT_ME_PHRASES, True),
        (Intent.STILL_BROKEN, STILL_BROKEN_PHRASES, False),
        (Intent.ALREADY_FIXED, ALREADY_FIXED_PHRASES, False),
        (Intent.SOLVED, SOLVED_PHRASES, False),
    ):
        if found := _find(words, phrases):
            good_news = intent in (Intent.SOLVED, Intent.ALREADY_FIXED)
            if good_news and NEGATIONS & single:
                return Understanding(Intent.QUESTION, True, score, f"{intent.value}, but negated: {found}")
            if (good_news and (asks or DOUBTS & single)) or (
                intent is Intent.NOT_ME and asks and found != "who is this"
            ):
                return Understanding(Intent.QUESTION, True, score, f"{intent.value}, but asked: {found}")
            if intent is Intent.ALREADY_FIXED and MESSAGE_WORDS & single:
                return Understanding(Intent.QUESTION, True, score, f"{intent.value}, but of a message: {found}")
            return Understanding(intent, review, score, f"{intent.value}: {found}")
    # "1 all good thanks", "2: the app crashes": the digit that we asked for leads.
    leading = plain.partition(" ")[0]
    if leading in ("1", "2"):
        intent = Intent.SOLVED if leading == "1" else Intent.STILL_BROKEN
        return Understanding(intent, True, score, f"leading {leading}")
    return None


def _question(shown: str, plain: str, score: int | None, question_pending: bool) -> Understanding:
    """Whatever no rule knows is for a person; a bare score that was asked for is an answer."""
    if score is not None and question_pending:
        return Understanding(Intent.QUESTION, False, score, f"score: {score}")
    if _asks(shown):
        return Understanding(Intent.QUESTION, True, score, "question mark")
    if plain.partition(" ")[0] in QUESTION_WORDS:
        return Understanding(Intent.QUESTION, True, score, "question word")
    return Understanding(Intent.QUESTION, True, score, "free text")


def _asks(shown: str) -> bool:
    return "?" in shown or "¿" in shown


def _gibberish(shown: str, plain: str, score: int | None) -> Understanding | None:
    """Nothing was said: no letters or digits, one sign over and over, or a hand across the keyboard."""
    if not plain:
        kind = "only a question mark" if "?" in shown else "no words"
        return Understanding(Intent.QUESTION if "?" in shown else Intent.GIBBERISH, "?" in shown, score, kind)
    squeezed = plain.replace(" ", "")
    if len(squeezed) >= 4 and len(set(squeezed)) == 1:
        return Understanding(Intent.GIBBERISH, False, score, "one sign repeated")
    if plain.isascii() and " " not in plain and plain.isalpha() and len(plain) >= 5 and _is_mash(plain):
        return Understanding(Intent.GIBBERISH, False, score, "keyboard mash")
    return None


def _is_mash(word: str) -> bool:
    """Tell whether a word of Latin letters cannot be one: hardly a vowel, or a run along one row of keys."""
    vowels = sum(letter in "aeiouy" for letter in word)
    rows = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm")
    along_a_row = any(word[i : i + 4] in row for row in rows for i in range(len(word) - 3))
    return vowels == 0 or vowels / len(word) < 0.1 or (along_a_row and vowels / len(word) < 0.34)


def _score(shown: str) -> int | None:
    found = _SCORE.fullmatch(shown.strip().rstrip(".!").strip())
    return int(found[1]) if found and found[1].isascii() else None


def _find(words: str, phrases: Iterable[str]) -> str | None:
    """Return the first phrase that stands in `words` at word boundaries."""
    return next((phrase for phrase in phrases if f" {phrase} " in words), None)

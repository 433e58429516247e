import time

import pytest

from outreach.vocabulary import Intent
from webhooks.intents import understand
from webhooks.quoted_text import newest_words

OLD = "Reply STOP to stop, HELP for help."

INTRODUCTIONS = [
    "On Mon, Mar 2, 2026 at 10:00 AM Shop <care@example.com> wrote:",
    "On Mon, Mar 2, 2026 at 10:00 AM Shop\n<care@example.com> wrote:",
    "El lun, 2 mar 2026 a las 10:00, Shop (<care@example.com>) escribió:",
    "Em seg., 2 de mar. de 2026 às 10:00, Shop <care@example.com> escreveu:",
    "Le lun. 2 mars 2026 à 10:00, Shop <care@example.com> a écrit :",
    "Am Mo., 2. März 2026 um 10:00 Uhr schrieb Shop <care@example.com>:",
    "-----Original Message-----",
    "-----Ursprüngliche Nachricht-----",
    "---------- Forwarded message ---------",
    "________________________________",
    "From: Shop <care@example.com>\nSent: Monday, 2 March 2026 10:00\nTo: Ann\nSubject: Your kettle",
    "De : Shop <care@example.com>\nEnvoyé : lundi 2 mars 2026\nÀ : Ann\nObjet : Votre bouilloire",
    "Von: Shop <care@example.com>\nGesendet: Montag\nAn: Ann\nBetreff: Ihr Wasserkocher",
    "##- Please type your reply above this line -##",
    "2026-03-02 10:00 GMT+01:00 Shop <care@example.com>:\n>",
]


@pytest.mark.parametrize("introduction", INTRODUCTIONS[:-1])
def test_text_after_an_introduction_is_older(introduction: str) -> None:
    assert newest_words(f"It works now\n\n{introduction}\n\n{OLD}") == "It works now"


@pytest.mark.parametrize("introduction", INTRODUCTIONS)
def test_an_old_stop_never_counts(introduction: str) -> None:
    quoted = "\n".join(f"> {line}" for line in OLD.split(", "))
    assert understand(newest_words(f"It works now\n\n{introduction}\n\n{quoted}")).intent is Intent.SOLVED


def test_answers_between_quoted_lines_are_kept() -> None:
    assert newest_words("> Is it solved?\nNo, still broken\n> Reply STOP to stop\nSorry!") == "No, still broken\nSorry!"


@pytest.mark.parametrize(
    "signature", ["--\nAnn\nStop Inc.", "Sent from my iPhone", "Enviado desde mi iPhone", "Von meinem iPhone gesendet"]
)
def test_signatures_are_cut(signature: str) -> None:
    assert newest_words(f"2\n\n{signature}") == "2"


@pytest.mark.parametrize(
    "text",
    [
        "On Monday it broke again.\nI wrote to you.",
        "From: the left valve it leaks",
        "Le produit est cassé",
        "a -- b",
        "Am Montag kam er an",
        "To: whom it may concern\n\nplease stop",
    ],
)
def test_ordinary_sentences_are_not_cut(text: str) -> None:
    assert newest_words(text) == text


def test_all_quoted_is_nothing_new() -> None:
    assert newest_words(f"> {OLD}\n> more") == ""
    assert newest_words("") == ""


@pytest.mark.parametrize("line", ["on " * 200, "am x schrieb" * 40, "x" * 5000 + "<a@b", "-" * 5000, "to: " * 100])
def test_hostile_lines_cost_little(line: str) -> None:
    started = time.monotonic()
    newest_words((line + "\n") * 2000)
    assert time.monotonic() - started < 5

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from outreach.vocabulary import Intent
from webhooks import intent_words
from webhooks.intents import normalise, understand

TABLES = [name for name in dir(intent_words) if name.isupper()]


@pytest.mark.parametrize("name", TABLES)
def test_every_entry_is_written_as_the_reader_sees_text(name: str) -> None:
    for entry in getattr(intent_words, name):
        assert normalise(entry) == entry


LEGAL = ["stop", "quit", "end", "revoke", "opt out", "cancel", "unsubscribe", "stopall", "optout"]
OTHERS = ["Arrêter", "ARRÊT", "arrêtez", "Abmelden", "aufhören", "Basta", "no más", "Darme de baja", "parar", "sair"]


@pytest.mark.parametrize("word", LEGAL + OTHERS)
def test_stop_words_of_five_languages_stop_at_once(word: str) -> None:
    found = understand(word)
    assert (found.intent, found.review) == (Intent.STOP, False)


@pytest.mark.parametrize(
    "text",
    ["Stop.", "STOP ", " stop!", "opt  out", "OPT-OUT", "Opt_Out", "ＳＴＯＰ", "S T O P", "s.t.o.p", "stop\u200b",
     "st\u200bop", "“Stop”", "STOP\r\n", "stop🙏", "stóp", "𝐒𝐓𝐎𝐏", "\ufeffstop", "STOP STOP", "Stop!!!", "(stop)"],
)  # fmt: skip
def test_the_way_a_stop_word_is_written_does_not_matter(text: str) -> None:
    found = understand(text)
    assert (found.intent, found.review) == (Intent.STOP, False)


WIDE = {chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)}
MARKS = st.text(st.sampled_from(" .!,;:\t\n\u200b\u200d\ufeff*_\"'()-…"), max_size=4)


@given(st.data())
def test_any_case_punctuation_and_width_of_a_stop_word_is_stop(data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(sorted(intent_words.STOP_EXACT)))
    cased = "".join(data.draw(st.sampled_from([one.upper(), one, WIDE.get(one, one)])) for one in word)
    text = data.draw(MARKS) + cased + data.draw(MARKS)
    found = understand(text, question_pending=data.draw(st.booleans()))
    assert (found.intent, found.review) == (Intent.STOP, False), text


@given(st.text(max_size=200), st.booleans())
def test_a_text_without_a_stop_word_never_stops(text: str, pending: bool) -> None:
    plain = f" {normalise(text)} "
    assume(not any(f" {entry} " in plain for entry in intent_words.STOP_PHRASES))
    assume(plain.strip() not in intent_words.STOP_EXACT and plain.replace(" ", "") not in intent_words.STOP_EXACT)
    assert understand(text, question_pending=pending).intent is not Intent.STOP


HARMLESS = [
    "my",
    "kettle",
    "leaks",
    "since",
    "monday",
    "stopped",
    "nonstop",
    "endless",
    "cancelled",
    "quite",
    "weekend",
]


@given(st.lists(st.sampled_from(HARMLESS), min_size=1, max_size=8))
def test_words_that_only_look_like_stop_words_never_stop(words: list[str]) -> None:
    assert understand(" ".join(words)).intent is not Intent.STOP


@given(st.text(max_size=2000), st.booleans())
def test_every_text_means_something_and_nothing_raises(text: str, pending: bool) -> None:
    found = understand(text, question_pending=pending)
    assert found.matched
    assert found.score is None or 0 <= found.score <= 10


@pytest.mark.parametrize(
    "text",
    ["please stop texting me", "Can you take me off this list, stop it", "I want to unsubscribe from everything",
     "no me escriban nunca", "Por favor parem de enviar mensagens", "Bitte keine SMS mehr", "ne m'écrivez plus svp",
     "Hören Sie auf, mir zu schreiben", "quiero darme de baja ya", "I'd like to opt out of these",
     "do not contact me again",
     "the bus stop is near", "Don't stop the refund, but unsubscribe me"],
)  # fmt: skip
def test_a_sentence_with_a_stop_word_stops_and_a_person_looks(text: str) -> None:
    found = understand(text)
    assert (found.intent, found.review) == (Intent.STOP, True)


@pytest.mark.parametrize(
    "text",
    ["don't stop", "Don’t stop!", "DO NOT STOP", "please don't stop sending these", "never stop", "no pares",
     "No paren!",
     "não pare", "ne pas arrêter", "n'arrêtez pas", "nicht aufhören", "bitte nicht abmelden", "don't unsubscribe me",
     "do not cancel, do not stop"],
)  # fmt: skip
def test_do_not_stop_is_a_question_for_a_person(text: str) -> None:
    found = understand(text)
    assert (found.intent, found.review) == (Intent.QUESTION, True)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("1", Intent.SOLVED), ("1.", Intent.SOLVED), ("Solved", Intent.SOLVED), ("It works now, thanks", Intent.SOLVED),
        ("ya funciona", Intent.SOLVED), ("já funciona!", Intent.SOLVED), ("ça marche", Intent.SOLVED),
        ("Funktioniert wieder", Intent.SOLVED), ("１", Intent.SOLVED),
        ("2", Intent.STILL_BROKEN), ("2 still broken", Intent.STILL_BROKEN), ("It's still broken", Intent.STILL_BROKEN),
        ("2: it leaks", Intent.STILL_BROKEN), ("no funciona", Intent.STILL_BROKEN),
        ("não funciona", Intent.STILL_BROKEN),
        ("ça ne marche toujours pas", Intent.STILL_BROKEN), ("geht immer noch nicht", Intent.STILL_BROKEN),
        ("it is not fixed now", Intent.STILL_BROKEN), ("it has not been solved", Intent.STILL_BROKEN),
        ("I don't own this", Intent.NOT_ME), ("Wrong person", Intent.NOT_ME), ("wrong number!", Intent.NOT_ME),
        ("número equivocado", Intent.NOT_ME), ("pessoa errada", Intent.NOT_ME), ("mauvais numéro", Intent.NOT_ME),
        ("falsche Nummer", Intent.NOT_ME),
        ("I already fixed it myself", Intent.ALREADY_FIXED), ("ya lo arreglé", Intent.ALREADY_FIXED),
        ("já resolvi", Intent.ALREADY_FIXED), ("c'est déjà réglé", Intent.ALREADY_FIXED),
        ("schon erledigt", Intent.ALREADY_FIXED),
        ("I am out of the office until Monday", Intent.OUT_OF_OFFICE), ("Estoy de vacaciones", Intent.OUT_OF_OFFICE),
        ("Resposta automática", Intent.OUT_OF_OFFICE), ("Je suis absent", Intent.OUT_OF_OFFICE),
        ("Ich bin im Urlaub", Intent.OUT_OF_OFFICE),
        ("START", Intent.START), ("Unstop", Intent.START), ("yes", Intent.START),
        ("HELP", Intent.HELP), ("info", Intent.HELP), ("Hilfe!", Intent.HELP), ("ayuda", Intent.HELP),
        ("When will it arrive?", Intent.QUESTION), ("¿cuándo llega", Intent.QUESTION),
        ("My lamp is blue", Intent.QUESTION),
        ("?", Intent.QUESTION), ("no", Intent.QUESTION),
        ("", Intent.GIBBERISH), ("🙂🙂🙂", Intent.GIBBERISH), ("...", Intent.GIBBERISH), ("asdfgh", Intent.GIBBERISH),
        ("qwrtzpsdfg", Intent.GIBBERISH), ("aaaaaaa", Intent.GIBBERISH), ("\u200b", Intent.GIBBERISH),
    ],
)  # fmt: skip
def test_what_customers_write_has_a_meaning(text: str, intent: Intent) -> None:
    assert understand(text).intent is intent


def test_yes_means_begin_again_only_where_nothing_was_asked() -> None:
    assert understand("YES").intent is Intent.START
    assert understand("Yes!", question_pending=True).intent is Intent.SOLVED
    assert understand("no", question_pending=True).intent is Intent.STILL_BROKEN
    assert understand("start", question_pending=True).intent is Intent.START


@pytest.mark.parametrize(
    "text", ["it works now but not for long", "no no, never works now", "solved? is fixed now? not here"]
)
def test_a_negated_success_is_no_success(text: str) -> None:
    found = understand(text)
    assert found.intent in (Intent.QUESTION, Intent.STILL_BROKEN)


@pytest.mark.parametrize(
    ("text", "score"),
    [("9", 9), ("10", 10), ("0", 0), ("5 ", 5), ("7/10", 7), ("８", 8), ("10!", 10), ("11", None), ("-1", None),
     ("5 7", None), ("4.5", None), ("٥", None), ("9 nice", None), ("1e1", None), ("010", None)],
)  # fmt: skip
def test_only_a_bare_number_from_0_to_10_is_a_score(text: str, score: int | None) -> None:
    assert understand(text, question_pending=True).score == score


def test_a_long_message_is_read_to_its_end() -> None:
    assert understand("x " * 799 + "STOP").intent is Intent.STOP
    assert len("x " * 799 + "ST") == 1600


@pytest.mark.parametrize("word", ["strength", "rhythm", "Angst", "schnell", "ok", "hmm", "typewriter", "property"])
def test_real_words_are_not_taken_for_gibberish(word: str) -> None:
    assert understand(word).intent is not Intent.GIBBERISH

"""The questions of a survey in several languages, and whether an answer is one."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from outreach.errors import InvalidInput
from outreach.vocabulary import SurveyKind

MOST_QUESTIONS, LONGEST_WORDS = 20, 5000
FALLBACK_LANGUAGE = "en"
_LANGUAGE = re.compile(r"[a-z]{2,3}")
SCALES: dict[SurveyKind, tuple[int, int]] = {
    SurveyKind.CSAT: (1, 5),
    SurveyKind.NPS: (0, 10),
    SurveyKind.CES: (1, 7),
}


class Question(BaseModel):
    """One question: a score on a scale, one of several choices, or free words; its text by language."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
    kind: Literal["score", "choice", "words"]
    text: Annotated[dict[str, Annotated[str, Field(min_length=1, max_length=500)]], Field(min_length=1, max_length=40)]
    low: Annotated[int, Field(ge=0, le=10)] = 1
    high: Annotated[int, Field(ge=1, le=10)] = 5
    choices: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=20)] = []
    required: bool = False

    @field_validator("text")
    @classmethod
    def _languages(cls, value: dict[str, str]) -> dict[str, str]:
        for language in value:
            if not _LANGUAGE.fullmatch(language):
                raise ValueError(f"{language!r} is not a language such as en or de")
        return value

    @model_validator(mode="after")
    def _whole(self) -> "Question":
        if self.kind == "score" and self.low >= self.high:
            raise ValueError("the low end of a scale is below its high end")
        if self.kind == "choice" and len(self.choices) < 2:
            raise ValueError("a choice needs at least two")
        return self

    def words_in(self, language: str | None) -> str:
        """Return the text in a language, else in English, else in the first there is."""
        wanted = (language or "").replace("_", "-").split("-")[0].lower()
        return self.text.get(wanted) or self.text.get(FALLBACK_LANGUAGE) or next(iter(self.text.values()))

    def read(self, given: str) -> tuple[int | None, str | None]:
        """Return the score and the words that an answer stands for; raises `InvalidInput`."""
        if self.kind == "words":
            return None, given[:LONGEST_WORDS].replace("\0", "")
        if self.kind == "choice":
            if given not in self.choices:
                raise InvalidInput("Choose one of the answers.", where=self.key)
            return None, given
        if not re.fullmatch(r"[0-9]{1,2}", given) or not self.low <= int(given) <= self.high:
            raise InvalidInput(f"Choose a number from {self.low} to {self.high}.", where=self.key)
        return int(given), None


_SCORE_TEXTS: dict[SurveyKind, dict[str, str]] = {
    SurveyKind.CSAT: {
        "en": "How satisfied are you? 1 is not at all, 5 is very.",
        "de": "Wie zufrieden sind Sie? 1 heißt gar nicht, 5 sehr.",
        "fr": "Quel est votre niveau de satisfaction ? 1 : pas du tout, 5 : très satisfait.",
        "es": "¿Qué tan satisfecho está? 1 es nada, 5 es muy satisfecho.",
        "pt": "Qual é o seu nível de satisfação? 1 é nada, 5 é muito satisfeito.",
    },
    SurveyKind.NPS: {
        "en": "How likely are you to recommend us to a friend or colleague? 0 is not at all, 10 is very.",
        "de": "Wie wahrscheinlich empfehlen Sie uns weiter? 0 heißt gar nicht, 10 sehr wahrscheinlich.",
        "fr": "Dans quelle mesure nous recommanderiez-vous ? 0 : pas du tout, 10 : certainement.",
        "es": "¿Qué probabilidad hay de que nos recomiende? 0 es ninguna, 10 es muy alta.",
        "pt": "Qual é a probabilidade de nos recomendar? 0 é nenhuma, 10 é muito alta.",
    },
    SurveyKind.CES: {
        "en": "We made it easy for you to get this solved. 1 is not at all, 7 is fully.",
        "de": "Wir haben es Ihnen leicht gemacht. 1 heißt gar nicht, 7 voll und ganz.",
        "fr": "Nous vous avons facilité la tâche. 1 : pas du tout, 7 : tout à fait.",
        "es": "Le hemos facilitado la solución. 1 es nada, 7 es totalmente.",
        "pt": "Facilitamos a solução para você. 1 é nada, 7 é totalmente.",
    },
}
_COMMENT = Question(
    key="comment",
    kind="words",
    text={
        "en": "Anything you want to tell us?",
        "de": "Möchten Sie uns noch etwas sagen?",
        "fr": "Souhaitez-vous ajouter quelque chose ?",
        "es": "¿Desea decirnos algo más?",
        "pt": "Quer nos dizer mais alguma coisa?",
    },
)


def standard_questions(kind: SurveyKind) -> list[Question]:
    """Return the score of a kind and a free comment; a survey of one's own has none."""
    if kind is SurveyKind.CUSTOM:
        return []
    low, high = SCALES[kind]
    score = Question(key="score", kind="score", text=_SCORE_TEXTS[kind], low=low, high=high, required=True)
    return [score, _COMMENT]


def checked_questions(kind: SurveyKind, given: Sequence[Any]) -> list[Question]:
    """Return the questions of a survey; raises `InvalidInput`. Without any, the standard ones of its kind."""
    try:
        questions = [Question.model_validate(each) for each in given] or standard_questions(kind)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(
            f"A question cannot be used: {first['msg']}.", where=".".join(str(part) for part in first["loc"])
        ) from None
    if not 1 <= len(questions) <= MOST_QUESTIONS:
        raise InvalidInput(f"A survey has 1 to {MOST_QUESTIONS} questions.", where="questions")
    if len({question.key for question in questions}) < len(questions):
        raise InvalidInput("Two questions have the same key.", where="questions")
    first_one = questions[0]
    if kind is not SurveyKind.CUSTOM and (first_one.kind, first_one.low, first_one.high) != ("score", *SCALES[kind]):
        low, high = SCALES[kind]
        raise InvalidInput(f"The first question of a {kind} survey is its score, {low} to {high}.", where="questions.0")
    return questions


def read_answers(questions: Sequence[Question], given: Mapping[str, str]) -> dict[str, tuple[int | None, str | None]]:
    """Return what a form says, by question; raises `InvalidInput` for the first that is wrong or missing."""
    found = {}
    for question in questions:
        answer = given.get(question.key, "")
        answer = answer if question.kind != "words" else answer.strip()
        if answer:
            found[question.key] = question.read(answer)
        elif question.required:
            raise InvalidInput("Please choose an answer.", where=question.key)
    if not found:
        raise InvalidInput("Choose an answer, or write us a few words.", where=questions[0].key)
    return found


def score_in_text(question: Question, text: str) -> tuple[int, str | None] | None:
    """Return the score that leads a text message, and the words behind it; none when it is no such answer."""
    plain = unicodedata.normalize("NFKC", text).strip()
    found = re.match(r"([0-9]{1,2})(?:\s*/\s*([0-9]{1,2}))?(?![0-9.,:/%-]?[0-9])[\s.!,;:)-]*(.*)", plain, re.DOTALL)
    if found is None or not question.low <= int(found[1]) <= question.high:
        return None
    if found[2] is not None and int(found[2]) != question.high:
        return None
    return int(found[1]), found[3].strip()[:LONGEST_WORDS] or None


def is_bare_number(text: str) -> bool:
    """Return whether a text message is a number and nothing else, as an answer to a question would be."""
    plain = unicodedata.normalize("NFKC", text).strip(" \t\r\n.!")
    return re.fullmatch(r"-?[0-9]{1,6}([.,][0-9]{1,3})?(\s*/\s*[0-9]{1,3})?", plain) is not None

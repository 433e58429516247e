"""The quick way of rendering means exactly what python-liquid means; limits hold on both."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from liquid import Environment

from campaigns.liquid_fast import fast_text
from campaigns.liquid_templates import LiquidTemplate, variables_used
from outreach.errors import InvalidTemplate

names = st.sampled_from(["a", "b", "c.x", "c.y", "d.x.y", "items.size", "missing", "c.missing", "e"])
words = st.sampled_from(["", "x", " ", "<b>", "{", "}}", "\n", "é", '"'])


@st.composite
def conditions(draw: st.DrawFn) -> str:
    left = draw(names)
    operator = draw(st.sampled_from(["", "==", "!=", ">"]))
    if not operator:
        test = left
    elif operator == ">":
        test = f"{left} > {draw(st.integers(-1, 2))}"
    else:
        right = draw(st.sampled_from(["nil", "blank", "true", "false", "'x'"]))
        test = f"{left} {operator} {right}"
    if draw(st.booleans()):
        return test
    return f"{test} {draw(st.sampled_from(['and', 'or']))} {draw(names)}"


@st.composite
def sources(draw: st.DrawFn, depth: int = 0) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["text", "output", "output", "if", "for", "unless"]))
        if kind == "text" or depth > 2:
            parts.append(draw(words).replace("{", "[").replace("}", "]"))
        elif kind == "output":
            filters = draw(st.sampled_from(["", " | default: 'z'", " | newline_to_br", " | url_encode", " | upcase"]))
            name = draw(st.one_of(names, st.sampled_from(["item", "item.k", "forloop.last"])))
            parts.append("{{ " + name + filters + " }}")
        elif kind == "for":
            parts.append("{% for item in items %}" + draw(sources(depth + 1)) + "{% else %}none{% endfor %}")
        else:
            middle = "{% else %}" + draw(sources(depth + 1)) if draw(st.booleans()) else ""
            if kind == "if" and draw(st.booleans()):
                middle = "{% elsif " + draw(conditions()) + " %}" + draw(sources(depth + 1)) + middle
            parts.append(
                "{% "
                + kind
                + " "
                + draw(conditions())
                + " %}"
                + draw(sources(depth + 1))
                + middle
                + "{% end"
                + kind
                + " %}"
            )
    return "".join(parts)


values: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.text(alphabet="ab<&\"'\n {}%\r", max_size=6),
    st.lists(st.text(alphabet="<a", max_size=2), max_size=2),
)
contexts = st.fixed_dictionaries(
    {
        "a": values,
        "b": values,
        "c": st.fixed_dictionaries({"x": values, "y": values}),
        "d": st.fixed_dictionaries({"x": st.fixed_dictionaries({"y": values})}),
        "e": st.one_of(values, st.dictionaries(st.sampled_from(["k", "size"]), values, max_size=2)),
        "items": st.one_of(values, st.lists(st.one_of(values, st.fixed_dictionaries({"k": values})), max_size=3)),
    }
)


def outcome(render: Any, context: dict[str, Any]) -> str:
    """The text, or that there is none."""
    try:
        return str(render(context))
    except InvalidTemplate:
        return "InvalidTemplate"


# Which variables are the same for everybody, so that what they decide is written out beforehand.
shared_names = st.sets(st.sampled_from(["a", "b", "c", "d", "e", "items"]))


@settings(max_examples=400)
@given(sources(), contexts, st.booleans(), shared_names)
def test_the_quick_way_means_what_the_full_way_means(
    source: str, context: dict[str, Any], html: bool, shared: set[str]
) -> None:
    template = LiquidTemplate(source, "t", html=html)
    meant = outcome(template.render_fully, context)
    assert outcome(template.render, context) == meant
    assert outcome(template.bound({name: context[name] for name in shared}).render, context) == meant


# What ordinary texts and ordinary facts look like: nothing here may leave the quick way.
ordinary_values = st.one_of(st.none(), st.integers(-5, 5), st.text(alphabet="ab<&'\n {}%", max_size=5))
ordinary_facts = st.fixed_dictionaries(
    {
        "a": ordinary_values,
        "b": ordinary_values,
        "c": st.fixed_dictionaries({"x": ordinary_values}),
        "flag": st.booleans(),
        "items": st.lists(st.fixed_dictionaries({"k": ordinary_values}), max_size=3),
    }
)
PIECES = [
    "{{ a }}",
    "{{ c.x }}",
    "{{ a | default: 'z' }}",
    "{{ c.x | default: 'you' | newline_to_br }}",
    "{{ b | newline_to_br }}",
    "{{ b | url_encode }}",
    "{{ items.size }}",
    "{% if a %}1{% else %}2{% endif %}",
    "{% if flag %}1{% endif %}",
    "{% if flag == false %}1{% elsif c.x == nil %}2{% else %}3{% endif %}",
    "{% if a == 'ab' or b != blank and c.x %}{{ c.x }}{% endif %}",
    "{% unless a == blank %}{{ a }}{% endunless %}",
    "{% unless flag %}x{% else %}y{% endunless %}",
    "{% if items.size > 1 %}many{% endif %}",
    "{% for item in items %}{{ item.k }}{% unless forloop.last %}, {% endunless %}{% endfor %}",
    "{% for a in items %}{% if forloop.first %}:{% endif %}{{ a.k }}{% else %}none{% endfor %}{{ a }}",
    " <b>words</b>\n",
]


@pytest.mark.parametrize("value", [None, "", " ", "ab", "<a>\nb", 0, 1], ids=repr)
@pytest.mark.parametrize("piece", PIECES)
def test_each_piece_means_the_same_with_each_kind_of_value(piece: str, value: Any) -> None:
    for count in range(3):
        facts = {"a": value, "b": value, "c": {"x": value}, "flag": count == 1, "items": [{"k": value}] * count}
        for html in (True, False):
            template = LiquidTemplate(piece, "t", html=html)
            assert outcome(template.render, facts) == outcome(template.render_fully, facts)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5), ordinary_facts, st.booleans())
def test_ordinary_texts_and_facts_go_the_quick_way_and_mean_the_same(
    pieces: list[str], facts: dict[str, Any], html: bool
) -> None:
    if not html:
        pieces = [piece for piece in pieces if "newline_to_br" not in piece]
    template = LiquidTemplate("".join(pieces), "t", html=html)
    assert template._fast is not None
    assert template._fast(facts) == template.render_fully(facts)
    assert template._fast.bound({"a": facts["a"], "c": facts["c"]})(facts) == template.render_fully(facts)


def test_what_is_the_same_for_all_is_written_out_once() -> None:
    text = fast_text(Environment().from_string("{{ a }}{% if a %}, {{ a }}{% endif %} {{ b }}!"), html=False)
    assert text is not None
    (beginning, _, end) = text.bound({"a": "x"})._pieces
    assert (beginning, end) == ("x, x ", "!")


@pytest.mark.parametrize(
    "source",
    [
        "{{ a }} {{ c.x }}",
        "{% if a == 'x' %}1{% elsif b %}2{% else %}3{% endif %}",
        "{% for item in items %}{{ item.k }}{% unless forloop.last %}, {% endunless %}{% endfor %}",
        "{% if items.size > 0 and a != blank %}{{ a | default: 'there' }}{% endif %}",
    ],
)
def test_ordinary_texts_go_the_quick_way(source: str) -> None:
    assert LiquidTemplate(source, "t", html=True).is_fast
    assert LiquidTemplate(source, "t", html=False).is_fast


def test_other_texts_go_the_full_way_and_work() -> None:
    template = LiquidTemplate("{% assign x = a | upcase %}{{ x }}", "t", html=True)
    assert not template.is_fast
    assert template.render({"a": "<b>"}) == "&lt;B&gt;"
    assert template.bound({"a": "<b>"}).render({"a": "<b>"}) == "&lt;B&gt;"


def test_a_condition_too_long_for_python_goes_the_full_way() -> None:
    template = LiquidTemplate("{% if a == 'b" + "' or a == 'c" * 400 + "' %}yes{% endif %}", "t", html=True)
    assert not template.is_fast
    assert template.render({"a": "c"}) == "yes"


@pytest.mark.parametrize(
    "source",
    [
        "{{ a['b\\'); import os; ('] }}",
        "{% if a.b == \"'); import os; ('\" %}x{% else %}y{% endif %}",
        "{{ a.b | default: \"'); import os; ('\" }}",
        "')\nimport os\n{{ a.b }}\\",
    ],
)
def test_what_an_author_writes_stays_a_literal(source: str) -> None:
    template = LiquidTemplate(source, "t", html=False)
    for value in (None, "'); import os; ('", "kept"):
        facts = {"a": {"b": value}}
        assert outcome(template.render, facts) == outcome(template.render_fully, facts)


@pytest.mark.parametrize("html", [True, False])
@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("{{ customer.frist_name }}", "customer.frist_name"),
        ("{{ nobody }}", "nobody"),
        ("{% if customer.vip %}x{% endif %}", "customer.vip"),
        ("{% for x in orders %}{{ x }}{% endfor %}", "orders"),
    ],
)
def test_a_missing_variable_is_named_with_its_template(source: str, named: str, html: bool) -> None:
    with pytest.raises(InvalidTemplate, match="welcome v2.*" + named.replace(".", r"\.")):
        LiquidTemplate(source, "welcome v2", html=html).render({"customer": {"first_name": "M"}})


@pytest.mark.parametrize(
    "source",
    [
        "{{ a",
        "{% if a %}",
        "{% endif %}",
        "{% include '/etc/passwd' %}",
        "{% render 'x' %}",
        "{% layout 'x' %}",
        "{{ a | safe }}",
        "{{ 'now' | date: '%s' }}",
        "{{ a | nothing }}",
        "{% for i in (1..3) %}",
        "x" * 50_001,
        "{% if a %}" * 200 + "{% endif %}" * 200,
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_written(source: str) -> None:
    with pytest.raises(InvalidTemplate, match="my words"):
        LiquidTemplate(source, "my words", html=False)


@pytest.mark.parametrize(
    "source",
    [
        "{{ a.__class__ }}",
        "{{ self.__class__.__mro__ }}",
        "{{ a.__init__.__globals__ }}",
        "{{ c.keys }}",
        "{{ items.append }}",
        "{{ a['__class__'] }}",
    ],
)
def test_python_is_out_of_reach(source: str) -> None:
    with pytest.raises(InvalidTemplate):
        LiquidTemplate(source, "t", html=False).render({"a": "x", "c": {"x": 1}, "items": []})


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in (1..99999) %}{% for b in (1..99999) %}x{% endfor %}{% endfor %}",
        "{% for a in (1..999999999999) %}x{% endfor %}",
        "{% for a in (1..1900) %}" + "x" * 2000 + "{% endfor %}",
        "{% assign s = 'xxxxxxxxxx' %}" + "{% assign s = s | append: s %}" * 40 + "{{ s }}",
        "{% for i in items %}{{ i }}{% for j in items %}{{ j }}{% endfor %}{% endfor %}",
        "{% for i in items %}" + "y" * 4_000 + "{% endfor %}",
    ],
)
def test_a_text_that_would_grow_without_end_is_stopped_soon(source: str) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidTemplate):
        LiquidTemplate(source, "t", html=True).render({"items": ["z"] * 190})
    assert time.monotonic() - started < 3


def test_variables_used_are_paths_from_outside() -> None:
    source = (
        "{{ customer.name }}{% for item in items %}{{ item.lot }}{% endfor %}{% if items[0].sku == grade %}{% endif %}"
    )
    assert variables_used(source) == {"customer.name", "items", "items.sku", "grade"}

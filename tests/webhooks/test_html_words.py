import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.html_words import text_of_html


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>Hi &amp; <b>bye</b></p>", "Hi & bye"),
        ("<div>one</div><div>two<br/>three</div>", "one\n\ntwo\nthree"),
        ("a<script>if (1<2) { x('</p>') }</script>b", "ab"),
        ("<STYLE>p{}</Style><title>t</title>x", "x"),
        ("x<!-- <p>hidden</p> -->y<!-- open", "xy"),
        ("yes<blockquote>old <blockquote>older</blockquote> old</blockquote>no", "yes\n\nno"),
        ("</blockquote>stray", "stray"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<!doctype html><?xml?>x", "x"),
        ("&lt;script&gt;", "<script>"),
        ("", ""),
        ("<", "<"),
        ("<p", ""),
    ],
)
def test_words_are_kept_and_the_rest_is_not(source: str, words: str) -> None:
    assert text_of_html(source) == words


@pytest.mark.parametrize("piece", ["<", "<div>", "<!--", "&", "<blockquote>", "<script>", "<a", "</", "<br>", "<!"])
def test_a_megabyte_of_anything_is_read_in_time(piece: str) -> None:
    started = time.monotonic()
    text_of_html(piece * (1_000_000 // len(piece)))
    assert time.monotonic() - started < 5


@given(st.text(st.sampled_from("<>!-/ab blockquote=\"'&;\n"), max_size=300))
def test_no_source_raises(source: str) -> None:
    assert len(text_of_html(source)) <= len(source) * 2

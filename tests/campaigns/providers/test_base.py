"""Envelopes refuse what would break out of a header."""

import pytest

from campaigns.providers.transport import Answer, problems_with_url, safe_detail
from outreach.errors import InvalidInput
from tests.campaigns.providers.cases import email, sms

BREAKS = ["\r\nBcc: all@example.com", "\n", "\r", "\0", "\ud83d"]


@pytest.mark.parametrize("bad", BREAKS)
@pytest.mark.parametrize("field", ["to", "to_name", "subject", "from_address", "from_name", "reply_to"])
def test_a_line_break_in_an_email_header_is_refused_by_name(field: str, bad: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        email(0, **{field: "a" + bad})


@pytest.mark.parametrize("bad", BREAKS)
def test_a_line_break_in_an_extra_header_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput, match="List-Unsubscribe"):
        email(headers={"List-Unsubscribe": "a" + bad})
    with pytest.raises(InvalidInput, match="header name"):
        email(headers={"X-A" + bad: "a"})


@pytest.mark.parametrize("bad", BREAKS)
def test_a_line_break_in_a_number_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput, match="to"):
        sms(to="+1555" + bad)


def test_details_lose_addresses_numbers_and_keys() -> None:
    told = safe_detail("To maria@example.org or +1 (555) 123-4567\nwith SG.abcdefghijklmnopqrstuvwxyz0123456789")
    assert told == "To [removed] or [removed] with [removed]"
    assert len(safe_detail("word " * 500) or "") <= 200
    assert safe_detail("") is None


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry-after": "3"}, 3, 3),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0, 0),
        ({"x-ratelimit-reset": "99999999999"}, 1e9, 1e11),
        ({"retry-after": "soon"}, None, None),
        ({"retry-after": "nan"}, None, None),
        ({"retry-after": "-1"}, None, None),
        ({}, None, None),
    ],
)
def test_the_wait_is_read_from_seconds_dates_and_moments(
    headers: dict[str, str], low: float | None, high: float | None
) -> None:
    wait = Answer(429, headers, b"").retry_after_seconds
    if low is None or high is None:
        assert wait is None
    else:
        assert wait is not None
        assert low <= wait <= high


@pytest.mark.parametrize(
    "url", ["", "api.example.com", "ftp://a", "http://api.example.com", "https://u:p@api.example.com", "http://[x"]
)
def test_a_base_address_that_would_fail_or_leak_is_named(url: str) -> None:
    assert "OUTREACH_X" in problems_with_url("OUTREACH_X", url)[0]

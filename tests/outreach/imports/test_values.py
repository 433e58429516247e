from collections.abc import Callable

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, settings
from hypothesis import given as given_any
from hypothesis import strategies as st

from outreach.imports import values


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2017-10-02 10:56:33", "2017-10-02T10:56:33+00:00"),
        ("2017-10-02T10:56:33+02:00", "2017-10-02T08:56:33+00:00"),
        ("2017-10-02T10:56:33Z", "2017-10-02T10:56:33+00:00"),
        ("2017-10-02", "2017-10-02T00:00:00+00:00"),
        ("10/2/2017 10:56", "2017-10-02T10:56:00+00:00"),
        ("10/2/2017 12:05 AM", "2017-10-02T00:05:00+00:00"),
        ("10/2/2017", "2017-10-02T00:00:00+00:00"),
        (" ", None),
    ],
)
def test_times_become_utc(given: str, expected: str | None) -> None:
    assert values.time(given) == expected


@pytest.mark.parametrize(
    "given",
    ["2027-02-29", "0001-01-01", "9999-12-31 23:59:59", "13/2/2017", "yesterday", "20171002", "1506941793", "10/2/17"],
)
def test_impossible_times_are_refused(given: str) -> None:
    with pytest.raises(values.Bad):
        values.time(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Ann@EXAMPLE.com", "ann@example.com"),
        ("ann@Bücher.example.com", "ann@xn--bcher-kva.example.com"),
        ("ann@xn--bcher-kva.example.com", "ann@xn--bcher-kva.example.com"),
        ("jo\u0308rg@example.com", "j\u00f6rg@example.com"),
        (" <ann@example.com> ", "ann@example.com"),
        ("", None),
    ],
)
def test_equal_addresses_become_equal(given: str, expected: str | None) -> None:
    assert values.email(given) == expected


@pytest.mark.parametrize("given", ["a@b@c", "x" * 300 + "@example.com", "a@[127.0.0.1]", "nobody", "a\nb@example.com"])
def test_unusable_addresses_are_refused(given: str) -> None:
    with pytest.raises(values.Bad):
        values.email(given)


NEARLY = st.text("abcXYZ019!#$%&'*+/=?^_`{|}~-..é\"\\ @", max_size=12)
DOMAINS = st.sampled_from(
    ["example.com", "EXAMPLE.org", "a.localhost", "x.test", "1.2", "gmail.com.", "b_c.de", "-a.com"]
)
LONG = st.integers(60, 70).map(lambda length: "x" * length) | st.integers(180, 260).map(lambda length: "y" * length)
LABELS = st.lists(st.sampled_from(["a" * 63, "a" * 64, "b-c", "xn--a", "com", ""]), min_size=1, max_size=6).map(
    ".".join
)


@settings(max_examples=500)
@given_any(local=NEARLY | LONG, domain=DOMAINS | NEARLY | LABELS)
@example(local="x" * 64, domain=".".join(["a" * 63, "b" * 63, "c" * 59, "de"]))
@example(local="x" * 64, domain=".".join(["a" * 63, "b" * 63, "c" * 57, "de"]))
@example(local="x" * 70, domain="example.com")
@example(local="xyz", domain=".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 58, "de"]))
@example(local="PostMaster", domain="Example.com")
@example(local="a..b", domain="example.com")
@example(local="a.", domain="example.com")
def test_the_short_way_of_plain_addresses_says_what_the_library_says(local: str, domain: str) -> None:
    address = f"{local}@{domain}".strip().strip("<>")
    assert what_comes_of(values.email, address) == what_comes_of(the_library, address)


def the_library(address: str) -> str:
    found = validate_email(address, check_deliverability=False)
    return f"{found.local_part.lower()}@{found.ascii_domain}"


def what_comes_of(read: Callable[[str], str | None], address: str) -> str | None:
    try:
        return read(address)
    except (values.Bad, EmailNotValidError) as error:
        return f"refused: {error}"


@pytest.mark.parametrize(
    ("given", "region", "expected"),
    [
        ("020 7946 0123", "GB", "+442079460123"),
        ("+44 (0)20 7946 0123", None, "+442079460123"),
        ("(202) 555-0123", "US", "+12025550123"),
        ("+١٢٠٢٥٥٥٠١٢٣", None, "+12025550123"),
        ("", "GB", None),
    ],
)
def test_phones_become_e164_with_the_country_of_the_customer(
    given: str, region: str | None, expected: str | None
) -> None:
    assert values.phone(given, region) == expected


@pytest.mark.parametrize(
    ("given", "region", "reason"),
    [
        ("020 7946 0123", None, "country"),
        ("62099", "GB", "not a valid number"),
        ("+1 202 555 0123 x12", None, "extension"),
        ("0909 879 0123", "GB", "premium"),
        ("call me", "GB", "not a phone number"),
    ],
)
def test_unusable_phones_are_refused_with_the_reason(given: str, region: str | None, reason: str) -> None:
    with pytest.raises(values.Bad, match=reason):
        values.phone(given, region)


@pytest.mark.parametrize(
    ("given", "expected"), [("gb", "GB"), ("United Kingdom", "GB"), ("USA", "US"), ("brazil", "BR"), ("", None)]
)
def test_countries_are_known_by_code_and_name(given: str, expected: str | None) -> None:
    assert values.country(given) == expected


def test_a_country_that_is_none_is_refused() -> None:
    with pytest.raises(values.Bad, match="two-letter"):
        values.country("Narnia")


def test_one_line_values_lose_line_ends_and_direction_marks() -> None:
    assert values.line("Ann\r\nBcc: all@example.com") == "Ann Bcc: all@example.com"
    assert values.line("12 \u202eteertS hgiH\u202c") == "12 teertS hgiH"
    assert values.line("Haus 🏠") == "Haus 🏠"


def test_a_quantity_below_zero_is_refused() -> None:
    with pytest.raises(values.Bad, match="quantity_returned"):
        values.whole_number("-6")
    assert values.whole_number("6.0") == "6"

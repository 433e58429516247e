from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from campaigns.plausible_zones import plausible_zones
from campaigns.timing import Window, next_allowed, zone_names


def zones(
    time_zone: str | None = None, country: str | None = None, region: str | None = None, phone: str | None = None
) -> tuple[str, ...]:
    return plausible_zones(time_zone=time_zone, country=country, region=region, phone=phone, home="Europe/Zurich")


def test_her_own_zone_beats_address_and_number() -> None:
    assert zones("Asia/Tokyo", "US", "IL", "+12025550100") == ("Asia/Tokyo",)


@pytest.mark.parametrize("invalid", ["Mars/Olympus", "", "../../etc/passwd", "America", "Factory", "\0", "utc+3"])
def test_an_invalid_zone_counts_as_unknown(invalid: str) -> None:
    assert zones(invalid, "US", "IL") == ("America/Chicago",)


def test_the_state_decides_where_a_country_has_several_zones() -> None:
    assert zones(country="US", region="il") == ("America/Chicago",)
    assert zones(country="US", region="US-WA") == ("America/Los_Angeles",)
    assert zones(country="US", region="TX") == ("America/Chicago", "America/Denver")
    assert zones(country="AU", region="QLD") == ("Australia/Brisbane",)


def test_a_country_of_one_zone_needs_no_more() -> None:
    assert zones(country="JP") == ("Asia/Tokyo",)


def test_country_and_number_narrow_each_other() -> None:
    assert zones(country="US", phone="+12025550100") == ("America/New_York",)


def test_a_number_alone_names_its_places() -> None:
    assert zones(phone="+4915112345") == ("Europe/Berlin",)
    assert zones(phone="+13125550100") == ("America/Chicago",)


def test_a_toll_free_number_may_be_anywhere_in_its_numbering_plan() -> None:
    found = zones(phone="+18005550100")
    assert {"America/New_York", "Pacific/Honolulu", "Pacific/Guam"} <= set(found)


def test_a_country_that_disagrees_with_the_number_keeps_both() -> None:
    found = zones(country="US", phone="+4915112345")
    assert {"Europe/Berlin", "America/New_York", "Pacific/Honolulu"} <= set(found)


def test_nothing_known_is_the_zone_of_the_house() -> None:
    assert zones() == ("Europe/Zurich",)
    assert zones(country="XX", phone="+999") == ("Europe/Zurich",)


def test_an_american_without_a_state_is_written_to_when_all_states_are_awake() -> None:
    found = zones(country="US")
    slot = next_allowed(datetime(2026, 7, 1, 4, tzinfo=UTC), [ZoneInfo(z) for z in found], Window(time(8), time(21)))
    assert slot is not None
    assert slot.opens_at.astimezone(ZoneInfo("Pacific/Honolulu")).time() >= time(8)
    assert slot.closes_at.astimezone(ZoneInfo("America/New_York")).time() <= time(21)


def test_every_zone_that_is_named_exists() -> None:
    for state in ("AK", "HI", "PR", "GU", "AS", "NL", "NU", "ACT", "WA"):
        for country in ("US", "CA", "AU"):
            assert set(zones(country=country, region=state)) <= zone_names()

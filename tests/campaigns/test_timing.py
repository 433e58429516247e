"""Quiet hours: never outside the window, for any zone of the world and any instant."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.timing import Window, allowed, next_allowed, parse_hours, zone_names
from outreach.errors import InvalidInput

EIGHT_TO_NINE = Window(time(8), time(21))
NEW_YORK = ZoneInfo("America/New_York")

zones = st.sampled_from(sorted(zone_names())).map(ZoneInfo)
instants = st.datetimes(datetime(1995, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC))
windows = st.tuples(st.integers(0, 1439), st.integers(0, 1439)).filter(lambda pair: pair[0] != pair[1]).map(
    lambda pair: Window(time(*divmod(pair[0], 60)), time(*divmod(pair[1], 60)))
)  # fmt: skip


def at(text: str, zone: ZoneInfo = NEW_YORK, fold: int = 0) -> datetime:
    """Return an instant from the local time of a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


@settings(max_examples=600)
@given(instants, zones)
def test_no_sms_goes_out_outside_the_window_in_any_zone_at_any_instant(instant: datetime, zone: ZoneInfo) -> None:
    slot = next_allowed(instant, [zone], EIGHT_TO_NINE)
    assert slot is not None
    assert instant <= slot.opens_at < slot.closes_at
    last = slot.closes_at - timedelta(microseconds=1)
    for share in (0, 0.25, 0.5, 0.75, 1):
        assert allowed(slot.opens_at + (last - slot.opens_at) * share, zone, EIGHT_TO_NINE)
    offsets = [moment.astimezone(zone).utcoffset() or timedelta(0) for moment in (instant, slot.opens_at)]
    assert slot.opens_at - instant <= timedelta(hours=24) + abs(offsets[1] - offsets[0])


@settings(max_examples=600)
@given(instants, zones, windows)
def test_any_window_holds_through_gaps_and_overlaps(instant: datetime, zone: ZoneInfo, window: Window) -> None:
    slot = next_allowed(instant, [zone], window)
    assert slot is not None
    assert instant <= slot.opens_at < slot.closes_at
    last = slot.closes_at - timedelta(microseconds=1)
    steps = int((last - slot.opens_at) / timedelta(minutes=15))
    for moment in [slot.opens_at + number * timedelta(minutes=15) for number in range(steps + 1)] + [last]:
        assert allowed(moment, zone, window)


@settings(max_examples=200)
@given(instants, st.lists(zones, min_size=1, max_size=6))
def test_several_plausible_zones_must_all_agree(instant: datetime, plausible: list[ZoneInfo]) -> None:
    slot = next_allowed(instant, plausible, EIGHT_TO_NINE)
    if slot is not None:
        for zone in plausible:
            assert allowed(slot.opens_at, zone, EIGHT_TO_NINE)
            assert allowed(slot.closes_at - timedelta(microseconds=1), zone, EIGHT_TO_NINE)
    else:
        moments = [instant + hours * timedelta(minutes=15) for hours in range(96)]
        assert not any(all(allowed(m, zone, EIGHT_TO_NINE) for zone in plausible) for m in moments)


def test_a_slot_that_is_open_now_starts_now() -> None:
    slot = next_allowed(at("2026-07-01T12:00"), [NEW_YORK], EIGHT_TO_NINE)
    assert slot is not None
    assert (slot.opens_at, slot.closes_at) == (at("2026-07-01T12:00"), at("2026-07-01T21:00"))


def test_the_last_second_of_the_day_is_allowed_and_nine_sharp_waits_for_the_morning() -> None:
    late = next_allowed(at("2026-07-01T20:59:59"), [NEW_YORK], EIGHT_TO_NINE)
    assert late is not None
    assert late.opens_at == at("2026-07-01T20:59:59")
    sharp = next_allowed(at("2026-07-01T21:00"), [NEW_YORK], EIGHT_TO_NINE)
    assert sharp is not None
    assert sharp.opens_at == at("2026-07-02T08:00")


@pytest.mark.parametrize("evening", ["2026-03-07T22:00", "2026-10-31T22:00", "2028-02-28T23:30", "2028-02-29T23:30"])
def test_the_morning_after_a_change_of_the_clock_or_a_leap_day_is_eight_local(evening: str) -> None:
    slot = next_allowed(at(evening), [NEW_YORK], EIGHT_TO_NINE)
    assert slot is not None
    assert slot.opens_at.astimezone(NEW_YORK).time() == time(8)
    assert slot.opens_at - at(evening) < timedelta(hours=12)


def test_a_window_that_opens_in_the_gap_opens_with_the_jump() -> None:
    # On 2026-03-08 New York goes from 01:59:59 to 03:00.
    slot = next_allowed(at("2026-03-08T01:00"), [NEW_YORK], Window(time(2, 30), time(5)))
    assert slot is not None
    assert slot.opens_at == at("2026-03-08T03:00")


def test_a_window_that_opens_in_the_overlap_closes_when_the_clock_goes_back_before_it() -> None:
    # On 2026-11-01 New York shows 01:00 to 02:00 twice.
    window = Window(time(1, 30), time(5))
    first = next_allowed(at("2026-11-01T00:10"), [NEW_YORK], window)
    assert first is not None
    assert (first.opens_at, first.closes_at) == (at("2026-11-01T01:30"), at("2026-11-01T01:00", fold=1))
    second = next_allowed(first.closes_at, [NEW_YORK], window)
    assert second is not None
    assert second.opens_at == at("2026-11-01T01:30", fold=1)


def test_the_contiguous_united_states_share_eleven_to_nine_eastern() -> None:
    coast_to_coast = [ZoneInfo(f"America/{city}") for city in ("New_York", "Chicago", "Denver", "Los_Angeles")]
    slot = next_allowed(at("2026-07-01T06:00"), coast_to_coast, EIGHT_TO_NINE)
    assert slot is not None
    assert (slot.opens_at, slot.closes_at) == (at("2026-07-01T11:00"), at("2026-07-01T21:00"))


def test_zones_on_opposite_sides_of_the_world_have_no_common_hour() -> None:
    far = [ZoneInfo("America/Los_Angeles"), ZoneInfo("Europe/Moscow"), ZoneInfo("Asia/Tokyo")]
    assert next_allowed(at("2026-07-01T06:00"), far, EIGHT_TO_NINE) is None


@pytest.mark.parametrize("hours", ["8", "8-25", "24-8", "8-24:30", "eight to nine", "8-8", "8:75-9", "-1-9"])
def test_hours_that_mean_nothing_are_refused(hours: str) -> None:
    with pytest.raises(InvalidInput):
        parse_hours(hours)


def test_hours_are_read_and_empty_means_any_time() -> None:
    assert parse_hours("8-21") == EIGHT_TO_NINE
    assert parse_hours(" 8:30 - 24 ") == Window(time(8, 30), time(0))
    assert parse_hours("") is None

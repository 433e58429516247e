"""Known lengths of text messages."""

import pytest

from campaigns.sms_segments import sms_segments


@pytest.mark.parametrize(
    ("text", "encoding", "segments", "units"),
    [
        ("", "GSM-7", 1, 0),
        ("a" * 160, "GSM-7", 1, 160),
        ("a" * 161, "GSM-7", 2, 161),
        ("a" * 306, "GSM-7", 2, 306),
        ("a" * 307, "GSM-7", 3, 307),
        ("€" * 80, "GSM-7", 1, 160),
        ("€" * 81, "GSM-7", 2, 162),
        # The escape of a € is not parted from it: 152 and 2 do not fit into 153.
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 3, 306),
        ("é", "GSM-7", 1, 1),
        ("Ç", "GSM-7", 1, 1),
        ("ç", "UCS-2", 1, 1),
        ("ç" * 70, "UCS-2", 1, 70),
        ("ç" * 71, "UCS-2", 2, 71),
        ("ç" * 134, "UCS-2", 2, 134),
        ("ç" * 135, "UCS-2", 3, 135),
        ("a" * 69 + "🙂", "UCS-2", 2, 71),
        ("a" * 68 + "🙂", "UCS-2", 1, 70),
        ("a" * 66 + "🙂" + "a" * 66, "UCS-2", 3, 134),
        ("’", "UCS-2", 1, 1),
    ],
)
def test_the_segments_of_a_text(text: str, encoding: str, segments: int, units: int) -> None:
    count = sms_segments(text)
    assert (count.encoding, count.segments, count.units) == (encoding, segments, units)


def test_one_emoji_makes_a_cheap_text_dear() -> None:
    text = "a" * 150
    assert sms_segments(text).segments == 1
    assert sms_segments(text + "🙂").segments == 3

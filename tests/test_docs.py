"""What is documented is all there is, and the other way round."""

from pathlib import Path

from campaigns.ledger import REASONS
from outreach.settings import Settings
from outreach.vocabulary import SkipReason

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_every_setting_is_explained() -> None:
    page = (DOCS / "settings.md").read_text()
    missing = [
        name
        for name, field in Settings.model_fields.items()
        if f"`OUTREACH_{name.upper()}`" not in page or (field.description or "?") not in page
    ]
    assert missing == []


def test_every_reason_why_somebody_was_not_told_is_explained() -> None:
    page = (DOCS / "words.md").read_text()
    assert [reason for reason in SkipReason if reason not in REASONS] == []
    assert [reason for reason, words in REASONS.items() if f"| `{reason}` | {words} |" not in page] == []


def test_the_readme_names_every_package() -> None:
    readme = (DOCS.parent / "README.md").read_text()
    assert all(f"{name}/" in readme for name in ("app", "webhooks", "campaigns", "segments", "outreach", "sandbox"))

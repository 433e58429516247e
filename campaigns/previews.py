"""Seeing a template before anybody else does: example facts, and what becomes of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from campaigns.rendering import Content, Rendered, compile_content
from campaigns.sms_segments import SegmentCount, sms_segments
from outreach.vocabulary import Channel, Grade


@dataclass(frozen=True, slots=True)
class Preview:
    """What one person would get, how long the text message is, and which facts the words use."""

    rendered: Rendered
    segments: SegmentCount | None
    variables: tuple[str, ...]
    compiled_the_quick_way: bool


def preview(content: Content, context: Mapping[str, Any] | None = None) -> Preview:
    """Render a template with example facts; raises InvalidTemplate as a real campaign would."""
    compiled = compile_content(content)
    rendered = compiled.render(example_context() if context is None else context)
    segments = sms_segments(rendered.text or "") if content.channel is Channel.SMS else None
    return Preview(rendered, segments, tuple(sorted(compiled.variables())), compiled.is_fast)


def example_context(grade: Grade = Grade.LIKELY) -> dict[str, Any]:
    """Return the facts a template may use, with example values: the contract between words and data.

    Every key is always there; what is absent is None (or an empty list). Dates are words already.
    """
    return {
        "customer": {
            "name": "Maria Lindqvist",
            "first_name": "Maria",
            "external_id": "C-20418",
            "email": "maria@example.com",
            "phone": "+15550100142",
            "city": "Portland",
            "region": "OR",
            "postal_code": "97205",
            "country": "US",
            "language": "en",
        },
        "problem": {
            "key": "P-1042",
            "title": "The enclosed instructions are for another model",
            "summary": "Filters of lot L-77 were packed with the instructions of the larger model. Mounted that way, "
            "the seal can leak. The filter itself is sound.",
            "workaround": "Please do not mount the filter yet. The right instructions are two pages:\n"
            "example.com/filter-77",
            "fix": "New instructions are on their way to you by post. You need not send anything back.",
            "next_update_by": "Friday 12 June, 17:00",
        },
        "items": [
            {
                "product": "Water filter S2",
                "sku": "WF-S2",
                "lot": "L-77",
                "serial": None,
                "order": "10-4471",
                "quantity": 1,
                "ordered_on": "28 May",
                "delivered_on": None if grade is Grade.INCOMING else "2 June",
                "promised_on": "9 June",
            }
        ],
        "tickets": [{"reference": "T-88213", "subject": "It drips"}] if grade is Grade.AFFECTED else [],
        "grade": str(grade),
        "organisation": {"name": "Alder & Finch", "postal_address": "12 Harbour Street, Portland, OR 97205"},
        "links": {
            "unsubscribe": "https://care.example.com/u/4fQ8",
            "answer": "https://care.example.com/a/9tKx",
            "verify": "https://care.example.com/verify",
        },
        "code": "K7M-2QX",
    }

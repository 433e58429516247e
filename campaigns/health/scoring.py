"""A score of 0 to 100 per customer, in one statement for any number of them; only those are asked again who changed."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.health.rules import rules_in_force

# Time changes scores too: nobody's is older than this, a slice per sweep.
OLDEST, SLICE = timedelta(days=7), 5_000
# How far back a signal looks.
TICKET_DAYS, ANSWER_DAYS, USAGE_DAYS, ORDER_DAYS = 90, 180, 30, 365

# Each signal as a number from 0 (bad) to 1 (good), null where there is nothing to go by; `w` is the customer.
_SIGNALS = f"""
    SELECT w.id AS customer_id,
      (SELECT CASE WHEN count(*) = 0 THEN NULL ELSE
              1 - least(5, count(*) FILTER (
                  WHERE t.opened_at > cast(:now AS timestamptz) - interval '{TICKET_DAYS} days')) / 5.0 END
       FROM tickets t WHERE t.customer_id = w.id AND t.opened_at <= :now) AS tickets,
      (SELECT CASE WHEN count(*) = 0 THEN NULL ELSE
              1 - least(sum(CASE WHEN p.state IN ('resolved', 'closed') OR m.grade = 'cleared' THEN 0
                                 WHEN p.severity IN ('high', 'critical') THEN 1.0 ELSE 0.5 END), 1.0) END
       FROM audience_members m JOIN segments s ON s.id = m.segment_id JOIN problems p ON p.id = s.problem_id
       WHERE m.customer_id = w.id AND m.left_at IS NULL) AS problems,
      (SELECT avg(CASE v.kind WHEN 'nps' THEN a.score / 10.0 WHEN 'csat' THEN (a.score - 1) / 4.0
                              WHEN 'ces' THEN (a.score - 1) / 6.0 END)
       FROM survey_answers a JOIN surveys v ON v.id = a.survey_id JOIN survey_asks k ON k.id = a.ask_id
       WHERE a.customer_id = w.id AND a.question = v.questions -> 0 ->> 'key' AND a.score IS NOT NULL
         AND NOT k.suspected_bot
         AND a.answered_at > cast(:now AS timestamptz) - interval '{ANSWER_DAYS} days') AS surveys,
      (SELECT CASE WHEN count(*) = 0 THEN NULL ELSE
              least(1.0, count(*) FILTER (
                             WHERE u.occurred_at > cast(:now AS timestamptz) - interval '{USAGE_DAYS} days')
                         / greatest(1.0, count(*) / {ANSWER_DAYS / USAGE_DAYS})) END
       FROM usage_events u WHERE u.customer_id = w.id AND u.occurred_at <= :now
         AND u.occurred_at > cast(:now AS timestamptz) - interval '{ANSWER_DAYS} days') AS usage,
      (SELECT CASE r.intent WHEN 'still_broken' THEN 0.0 WHEN 'question' THEN 0.6 ELSE 1.0 END
       FROM responses r
       WHERE r.customer_id = w.id AND r.intent IN ('solved', 'still_broken', 'already_fixed', 'question')
         AND r.received_at > cast(:now AS timestamptz) - interval '{ANSWER_DAYS} days'
       ORDER BY r.received_at DESC LIMIT 1) AS check_ins,
      (SELECT 1 - least(extract(epoch FROM cast(:now AS timestamptz) - max(o.ordered_at)) / 86400.0 / {ORDER_DAYS}, 1)
       FROM orders o WHERE o.customer_id = w.id AND o.cancelled_at IS NULL AND o.ordered_at <= :now) AS orders,
      greatest((SELECT max(o.ordered_at) FROM orders o WHERE o.customer_id = w.id),
               (SELECT max(t.opened_at) FROM tickets t WHERE t.customer_id = w.id),
               (SELECT max(r.received_at) FROM responses r WHERE r.customer_id = w.id),
               (SELECT max(a.answered_at) FROM survey_answers a WHERE a.customer_id = w.id),
               (SELECT max(u.occurred_at) FROM usage_events u WHERE u.customer_id = w.id)) AS last_sign_at
    FROM customers w WHERE w.id = ANY(cast(:customers AS bigint[])) AND w.erased_at IS NULL"""

_RESCORE = text(f"""
WITH signals AS MATERIALIZED ({_SIGNALS}
), weighed AS (
    SELECT s.customer_id, s.last_sign_at, x.signal, cast(x.value AS float8) AS value, x.weight,
           sum(x.weight) OVER (PARTITION BY s.customer_id) AS weights
    FROM signals s CROSS JOIN LATERAL (
        SELECT given.signal, given.weight, CASE given.signal
                   WHEN 'tickets' THEN s.tickets WHEN 'problems' THEN s.problems WHEN 'surveys' THEN s.surveys
                   WHEN 'usage' THEN s.usage WHEN 'check_ins' THEN s.check_ins WHEN 'orders' THEN s.orders END AS value
        FROM unnest(cast(:signals AS text[]), cast(:weights AS int[])) AS given(signal, weight)
    ) x WHERE x.value IS NOT NULL AND x.weight > 0
), scored AS (
    SELECT customer_id, max(last_sign_at) AS last_sign_at,
           cast(round(sum(100 * value * weight / weights)) AS smallint) AS score,
           jsonb_object_agg(signal, jsonb_build_object(
               'value', round(cast(value AS numeric), 3), 'weight', weight,
               'points', round(cast(100 * value * weight / weights AS numeric), 1))) AS signals
    FROM weighed GROUP BY customer_id
), banded AS (
    SELECT *, CASE WHEN score >= :good_from THEN 'good' WHEN score >= :fair_from THEN 'fair' ELSE 'poor' END AS band
    FROM scored
), kept AS (
    INSERT INTO health_scores (customer_id, score, band, signals, computed_at, last_sign_at)
    SELECT customer_id, score, band, signals, :now, last_sign_at FROM banded ORDER BY customer_id
    ON CONFLICT (customer_id) DO UPDATE SET score = excluded.score, band = excluded.band, signals = excluded.signals,
        computed_at = excluded.computed_at, last_sign_at = excluded.last_sign_at
    RETURNING customer_id
)
INSERT INTO health_trends (customer_id, day, score, band)
SELECT b.customer_id, cast(cast(:now AS timestamptz) AT TIME ZONE 'UTC' AS date), b.score, b.band
FROM banded b LEFT JOIN health_scores h ON h.customer_id = b.customer_id
WHERE h.customer_id IS NULL OR h.score <> b.score
ON CONFLICT (customer_id, day) DO UPDATE SET score = excluded.score, band = excluded.band
""")

_STALE = text("""
SELECT customer_id FROM health_scores WHERE computed_at < cast(:now AS timestamptz) - cast(:oldest AS interval)
ORDER BY computed_at LIMIT :slice
""")


def rescore(session: Session, *, customers: list[int], now: datetime) -> None:
    """Work out the scores of these customers; whoever has no signal at all has none."""
    if not customers:
        return
    rules = rules_in_force(session)
    parameters: dict[str, Any] = {
        "customers": customers,
        "signals": list(rules.weights),
        "weights": list(rules.weights.values()),
        "good_from": rules.good_from,
        "fair_from": rules.fair_from,
        "now": now,
    }
    session.execute(_RESCORE, parameters)


def stale(session: Session, *, now: datetime) -> list[int]:
    """Return customers whose score is old, the oldest first."""
    return list(session.scalars(_STALE, {"now": now, "oldest": OLDEST, "slice": SLICE}))

"""Five questions of growing difficulty: as rules, and as the SQL that an experienced person would write by hand."""

from datetime import UTC, datetime
from typing import Any

from segments.standard_grades import standard_grades

NOW = datetime(2026, 6, 1, tzinfo=UTC)

FILL = (
    """INSERT INTO customers (id, external_id, name, email, phone, address_line1, city, region, postal_code, country,
         locale, time_zone, attributes)
       SELECT i, 'c' || i, 'Ann ' || i, CASE WHEN i % 14 <> 0 THEN 'c' || i || '@example.com' END,
         CASE WHEN i % 5 <> 0 THEN '+1555' || lpad(i::text, 7, '0') END, i || ' Main St', 'Springfield', 'R' || i % 27,
         lpad((i % 99999)::text, 5, '0'), (ARRAY['US','BR','DE','FR','GB','PT','ES','IT','NL','SE'])[1 + i % 10],
         'en', 'America/New_York', jsonb_build_object('plan', (i / 10 % 4)::text, 'seats', i % 50)
       FROM generate_series(1, {n}) i""",
    """INSERT INTO products (id, external_id, name, category)
       SELECT i, 'P' || i, 'Product ' || i, 'C' || i % 10 FROM generate_series(1, 200) i""",
    """INSERT INTO problems (id, key, title, state, severity)
       SELECT i, 'P-' || i, 'Problem ' || i, 'known', 'medium' FROM generate_series(1, 40) i""",
    """INSERT INTO orders (id, external_id, customer_id, ordered_at, promised_at, shipped_at, delivered_at,
         carrier, region)
       SELECT i, 'O' || i, 1 + (hashint8(i)::bigint & 2147483647) % {n}, o, o + interval '9 days',
         CASE WHEN r < 97 THEN o + interval '2 days' END, CASE WHEN r < 94 THEN o + interval '5 days' END,
         'K' || i % 5, 'R' || i % 27
       FROM (SELECT i, timestamptz '2024-01-01' + make_interval(mins => ((hashint8(i * 17)::bigint & 2147483647)
               % 1200000)::int) o, (hashint8(i * 19)::bigint & 2147483647) % 100 r
             FROM generate_series(1, 3 * {n} / 2) i) x""",
    """INSERT INTO order_items (id, external_id, order_id, customer_id, product_id, lot, seller, quantity,
         quantity_returned, ordered_at, promised_at, shipped_at, delivered_at)
       SELECT i, 'I' || i, o.id, o.customer_id, 1 + (hashint8(i * 7)::bigint & 2147483647) % 200,
         'L' || 1000 + (hashint8(i * 13)::bigint & 2147483647) % 500, 'S' || i % 40, 1 + i % 3,
         CASE WHEN (hashint8(i * 23)::bigint & 2147483647) % 12 = 0 AND o.delivered_at IS NOT NULL
              THEN 1 + i % 3 ELSE 0 END,
         o.ordered_at, o.promised_at, o.shipped_at, o.delivered_at
       FROM generate_series(1, 3 * {n}) i JOIN orders o ON o.id = (i + 1) / 2""",
    """INSERT INTO tickets (id, desk, external_id, customer_id, problem_id, subject, status, opened_at)
       SELECT i, 'd', 'T' || i, 1 + (hashint8(i * 29)::bigint & 2147483647) % {n},
         CASE WHEN i % 5 < 2 THEN 1 + i % 40 END,
         'It does not work', 'open', timestamptz '2024-01-10' + make_interval(mins => ((hashint8(i * 31)::bigint
         & 2147483647) % 1200000)::int)
       FROM generate_series(1, 3 * {n} / 10) i""",
)

_SIXTY = [f"P{number}" for number in range(1, 61)]
_LOTS = [f"L{number}" for number in range(1100, 1200)]
_LATE_ITEMS = [
    {"field": "lot", "op": "natural_between", "value": {"from": "L1100", "to": "L1399"}},
    {"field": "order.carrier", "op": "equals", "value": "K2"},
    {"field": "order.ordered_at", "op": "between", "value": {"from": "2025-01-01", "to": "2026-05-31"}},
    {"field": "delivered_at", "op": "is_missing"},
]

RULES: dict[str, Any] = {
    "one lot in a window": {
        "related": "order_items",
        "where": {
            "all": [
                {"field": "product.external_id", "op": "equals", "value": "P17"},
                {"field": "lot", "op": "one_of", "value": _LOTS},
                {"field": "ordered_at", "op": "between", "value": {"from": "2024-06-01", "to": "2025-05-31"}},
                {"field": "quantity_returned", "op": "equals", "value": 0},
            ]
        },
    },
    "customers of a country and plan who hold a category": {
        "all": [
            {"field": "customer.country", "op": "equals", "value": "BR"},
            {"field": "customer.attributes.plan", "op": "equals", "value": "2"},
            {
                "related": "order_items",
                "where": {
                    "all": [
                        {"field": "product.category", "op": "equals", "value": "C3"},
                        {"field": "delivered_at", "op": "is_present"},
                    ]
                },
            },
        ]
    },
    "scope in four grades": standard_grades(
        "P-7", such={"field": "product.external_id", "op": "one_of", "value": _SIXTY}
    ),
    "at least two, none returned, no recent ticket": {
        "all": [
            {
                "related": "order_items",
                "quantifier": "count",
                "op": "at_least",
                "value": 2,
                "where": {"field": "product.external_id", "op": "one_of", "value": _SIXTY},
            },
            {
                "related": "order_items",
                "quantifier": "none",
                "where": {"field": "quantity_returned", "op": "more_than", "value": 0},
            },
            {
                "related": "tickets",
                "quantifier": "none",
                "where": {"field": "opened_at", "op": "in_last", "value": {"days": 180}},
            },
        ]
    },
    "late items of a lot range by one carrier": {
        "affected": {
            "related": "order_items",
            "where": {"all": [*_LATE_ITEMS, {"field": "promised_at", "op": "more_than_ago", "value": {"days": 20}}]},
        },
        "likely": {
            "related": "order_items",
            "where": {
                "all": [*_LATE_ITEMS, {"not": {"field": "promised_at", "op": "more_than_ago", "value": {"days": 20}}}]
            },
        },
    },
}

_ALIVE = "NOT EXISTS (SELECT 1 FROM customers e WHERE e.id = {key} AND e.erased_at IS NOT NULL)"
_NONE = "'{}'::bigint[]"
_SIXTY_SQL = ", ".join(f"'{code}'" for code in _SIXTY)
_LOTS_SQL = ", ".join(f"'{lot}'" for lot in _LOTS)

# Each gives customer_id, grade and (where asked for) the four arrays of evidence.
HAND: dict[str, str] = {
    "one lot in a window": f"""
        SELECT i.customer_id, 'affected' AS grade, array_agg(i.id ORDER BY i.id) AS items,
               {_NONE} AS orders, {_NONE} AS tickets, {_NONE} AS events
        FROM order_items i JOIN products p ON p.id = i.product_id
        WHERE p.external_id = 'P17' AND i.lot IN ({_LOTS_SQL}) AND i.ordered_at >= '2024-06-01Z'
          AND i.ordered_at < '2025-06-01Z' AND i.quantity_returned = 0 AND i.customer_id IS NOT NULL
          AND {_ALIVE.format(key="i.customer_id")}
        GROUP BY i.customer_id""",
    "customers of a country and plan who hold a category": f"""
        SELECT i.customer_id, 'affected' AS grade, array_agg(i.id ORDER BY i.id) AS items,
               {_NONE} AS orders, {_NONE} AS tickets, {_NONE} AS events
        FROM order_items i JOIN products p ON p.id = i.product_id JOIN customers c ON c.id = i.customer_id
        WHERE c.country = 'BR' AND c.attributes ->> 'plan' = '2' AND p.category = 'C3'
          AND i.delivered_at IS NOT NULL AND c.erased_at IS NULL
        GROUP BY i.customer_id""",
    "scope in four grades": f"""
        SELECT * FROM (
          SELECT coalesce(h.customer_id, t.customer_id) AS customer_id,
            CASE WHEN coalesce(h.gone, false) OR r.customer_id IS NOT NULL THEN
                   CASE WHEN t.customer_id IS NOT NULL OR h.holds OR h.moving OR h.back THEN 'cleared' END
                 WHEN t.customer_id IS NOT NULL THEN 'affected' WHEN h.holds THEN 'likely'
                 WHEN h.moving THEN 'incoming' END AS grade,
            CASE WHEN h.gone THEN h.all_items ELSE coalesce(h.items, '{{}}') END AS items,
            {_NONE} AS orders, coalesce(t.tickets, '{{}}') AS tickets, {_NONE} AS events
          FROM (
            SELECT i.customer_id, array_agg(i.id ORDER BY i.id) AS all_items,
              array_agg(i.id ORDER BY i.id) FILTER (WHERE NOT over
                AND (i.delivered_at IS NOT NULL OR i.cancelled_at IS NULL)) AS items,
              bool_or(i.delivered_at IS NOT NULL AND NOT over) AS holds,
              bool_or(i.delivered_at IS NULL AND i.cancelled_at IS NULL AND NOT over) AS moving,
              bool_or(over) AS back,
              bool_and(over OR i.cancelled_at IS NOT NULL) AS gone
            FROM order_items i JOIN products p ON p.id = i.product_id
            CROSS JOIN LATERAL (SELECT i.quantity_returned >= i.quantity OR i.attributes ->> 'replaced' IS NOT NULL
              OR i.attributes ->> 'remedy' IS NOT NULL AS over) x
            WHERE p.external_id IN ({_SIXTY_SQL}) AND i.customer_id IS NOT NULL
            GROUP BY i.customer_id) h
          FULL JOIN (
            SELECT t.customer_id, array_agg(t.id ORDER BY t.id) AS tickets
            FROM tickets t JOIN problems p ON p.id = t.problem_id
            WHERE p.key = 'P-7' AND t.customer_id IS NOT NULL GROUP BY t.customer_id) t USING (customer_id)
          LEFT JOIN (
            SELECT DISTINCT r.customer_id FROM responses r JOIN problems p ON p.id = r.problem_id
            WHERE p.key = 'P-7' AND r.intent IN ('not_me', 'already_fixed')) r
            ON r.customer_id = coalesce(h.customer_id, t.customer_id)
        ) found WHERE grade IS NOT NULL AND {_ALIVE.format(key="found.customer_id")}""",
    "at least two, none returned, no recent ticket": f"""
        SELECT h.customer_id, 'affected' AS grade, h.items, {_NONE} AS orders, {_NONE} AS tickets, {_NONE} AS events
        FROM (
          SELECT i.customer_id, array_agg(i.id ORDER BY i.id) AS items
          FROM order_items i JOIN products p ON p.id = i.product_id
          WHERE p.external_id IN ({_SIXTY_SQL}) AND i.customer_id IS NOT NULL
          GROUP BY i.customer_id HAVING count(*) >= 2) h
        WHERE NOT EXISTS (SELECT 1 FROM order_items i WHERE i.customer_id = h.customer_id AND i.quantity_returned > 0)
          AND NOT EXISTS (SELECT 1 FROM tickets t WHERE t.customer_id = h.customer_id
            AND t.opened_at > '2026-06-01Z'::timestamptz - interval '180 days' AND t.opened_at <= '2026-06-01Z')
          AND {_ALIVE.format(key="h.customer_id")}""",
    "late items of a lot range by one carrier": f"""
        SELECT customer_id, CASE WHEN late THEN 'affected' ELSE 'likely' END AS grade, items,
               {_NONE} AS orders, {_NONE} AS tickets, {_NONE} AS events
        FROM (
          SELECT i.customer_id, array_agg(i.id ORDER BY i.id) AS items,
            coalesce(bool_or(i.promised_at < '2026-06-01Z'::timestamptz - interval '20 days'), false) AS late
          FROM order_items i JOIN orders o ON o.id = i.order_id
          WHERE natural_key(i.lot) BETWEEN natural_key('L1100') AND natural_key('L1399') AND o.carrier = 'K2'
            AND o.ordered_at >= '2025-01-01Z' AND o.ordered_at < '2026-06-01Z' AND i.delivered_at IS NULL
            AND i.customer_id IS NOT NULL AND {_ALIVE.format(key="i.customer_id")}
          GROUP BY i.customer_id) late""",
}

# What a preview tells, by hand: counts per grade, reach per channel with the reasons why not, overlap.
HAND_PREVIEW = """
WITH found AS MATERIALIZED (SELECT customer_id, grade FROM ({found}) f),
reach AS (
  SELECT f.grade, count(*) AS number,
    count(*) FILTER (WHERE strpos(c.email, '@') > 1 AND NOT barred_email) AS email,
    count(*) FILTER (WHERE c.email IS NULL) AS no_email,
    count(*) FILTER (WHERE NOT strpos(c.email, '@') > 1) AS invalid_email,
    count(*) FILTER (WHERE strpos(c.email, '@') > 1 AND barred_email) AS suppressed_email,
    count(*) FILTER (WHERE c.phone ~ '^\\+[1-9][0-9]{{6,14}}$' AND NOT barred_phone) AS sms,
    count(*) FILTER (WHERE c.phone IS NULL) AS no_phone,
    count(*) FILTER (WHERE NOT c.phone ~ '^\\+[1-9][0-9]{{6,14}}$') AS invalid_phone,
    count(*) FILTER (WHERE c.phone ~ '^\\+[1-9][0-9]{{6,14}}$' AND barred_phone) AS suppressed_phone,
    count(*) FILTER (WHERE has_postal AND NOT barred_postal) AS postcard,
    count(*) FILTER (WHERE NOT has_postal) AS no_postal,
    count(*) FILTER (WHERE has_postal AND barred_postal) AS suppressed_postal,
    count(*) FILTER (WHERE (strpos(c.email, '@') > 1 AND NOT barred_email
      OR c.phone ~ '^\\+[1-9][0-9]{{6,14}}$' AND NOT barred_phone OR has_postal AND NOT barred_postal) IS NOT TRUE)
      AS unreachable
  FROM found f JOIN customers c ON c.id = f.customer_id
  CROSS JOIN LATERAL (SELECT
    EXISTS (SELECT 1 FROM suppressions s WHERE s.channel = 'email' AND s.lifted_at IS NULL AND s.address = c.email)
      AS barred_email,
    EXISTS (SELECT 1 FROM suppressions s WHERE s.channel = 'sms' AND s.lifted_at IS NULL AND s.address = c.phone)
      AS barred_phone,
    EXISTS (SELECT 1 FROM suppressions s WHERE s.channel = 'postcard' AND s.lifted_at IS NULL AND s.address =
      lower(concat_ws('|', c.address_line1, c.address_line2, c.city, c.region, c.postal_code, c.country)))
      AS barred_postal,
    c.address_line1 IS NOT NULL AND c.city IS NOT NULL AND c.postal_code IS NOT NULL AND c.country IS NOT NULL
      AS has_postal) x
  GROUP BY f.grade),
overlap AS (
  SELECT p.key, count(*) FROM found f
  JOIN audience_members m ON m.customer_id = f.customer_id AND m.left_at IS NULL AND m.grade <> 'cleared'
  JOIN segments s ON s.id = m.segment_id JOIN problems p ON p.id = s.problem_id
  WHERE f.grade <> 'cleared' AND p.state NOT IN ('closed', 'resolved') GROUP BY p.key)
SELECT (SELECT jsonb_agg(reach) FROM reach), (SELECT jsonb_agg(overlap) FROM overlap),
  (SELECT jsonb_agg(s) FROM (SELECT f.*, c.name FROM ({found}) f JOIN customers c ON c.id = f.customer_id
     WHERE f.customer_id = ANY(ARRAY(SELECT customer_id FROM found ORDER BY customer_id LIMIT 5))) s)
"""
HAND_FILL = """
WITH found AS ({found}),
entered AS (
  INSERT INTO audience_members (segment_id, customer_id, grade, version, evidence_items, evidence_orders,
    evidence_tickets, evidence_events, entered_at, changed_at)
  SELECT {segment}, customer_id, grade, 1, items, orders, tickets, events, now(), now() FROM found ORDER BY customer_id
  RETURNING customer_id, grade),
logged AS (
  INSERT INTO audience_changes (segment_id, customer_id, to_grade, reason, version, at)
  SELECT {segment}, customer_id, grade, 'sweep', 1, now() FROM entered)
SELECT grade, count(*) FROM entered GROUP BY grade
"""

# Asking again about changed customers, by hand: the four grades of those alone, what differs, and what is written.
_ONLY = "= ANY(%(changed)s)"
HAND_CHANGED = f"""
WITH taken AS (DELETE FROM customer_changes),
found AS ({
    HAND["scope in four grades"]
    .replace("i.customer_id IS NOT NULL", f"i.customer_id {_ONLY}")
    .replace("t.customer_id IS NOT NULL GROUP", f"t.customer_id {_ONLY} GROUP")
}),
delta AS MATERIALIZED (
  SELECT coalesce(f.customer_id, m.customer_id) AS customer_id, m.grade AS was, f.grade, f.items, f.tickets
  FROM found f FULL JOIN (SELECT * FROM audience_members WHERE segment_id = %(segment)s AND left_at IS NULL
    AND customer_id {_ONLY}) m ON m.customer_id = f.customer_id
  WHERE m.grade IS DISTINCT FROM f.grade OR m.evidence_items IS DISTINCT FROM f.items
    OR m.evidence_tickets IS DISTINCT FROM f.tickets),
kept AS (
  INSERT INTO audience_members AS m (segment_id, customer_id, grade, version, evidence_items, evidence_tickets,
    entered_at, changed_at)
  SELECT %(segment)s, customer_id, grade, 1, items, tickets, now(), now() FROM delta WHERE grade IS NOT NULL
  ORDER BY customer_id
  ON CONFLICT (segment_id, customer_id) DO UPDATE SET grade = excluded.grade, evidence_items = excluded.evidence_items,
    evidence_tickets = excluded.evidence_tickets, changed_at = excluded.changed_at),
gone AS (
  UPDATE audience_members m SET left_at = now(), changed_at = now() FROM delta
  WHERE m.segment_id = %(segment)s AND m.customer_id = delta.customer_id AND delta.grade IS NULL),
logged AS (
  INSERT INTO audience_changes (segment_id, customer_id, from_grade, to_grade, reason, version, at)
  SELECT %(segment)s, customer_id, was, grade, 'sweep', 1, now() FROM delta
  WHERE was IS DISTINCT FROM grade ORDER BY customer_id)
SELECT was, grade, count(*) FROM delta GROUP BY was, grade
"""
# Merely reading the changed customers' items, for the first time since they changed.
HAND_READ = f"SELECT count(*), sum(quantity) FROM order_items WHERE customer_id {_ONLY}"

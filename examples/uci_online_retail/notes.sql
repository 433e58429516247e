-- What the counts of the report do not say: each line of the file is an item, a return, or named here.
WITH steps AS (
    SELECT
        count(*) FILTER (WHERE customer IS NULL) AS nobody,
        count(*) FILTER (WHERE cancelled) AS returned,
        count(*) FILTER (WHERE cancelled AND customer IS NULL) AS returned_by_nobody,
        count(*) FILTER (WHERE NOT cancelled AND quantity <= 0) AS corrections
    FROM lines
), without AS (
    SELECT count(*) FILTER (WHERE lost > 0) AS returns, coalesce(sum(lost), 0) AS units
    FROM (
        SELECT unmatched - coalesce(lag(unmatched) OVER (
            PARTITION BY customer, code ORDER BY moment, cancelled, invoice, line
        ), 0) AS lost
        FROM pile
    )
)
SELECT format('{} of the lines have no customer: they cannot be reached.', nobody) FROM steps
UNION ALL
SELECT format('{} cancelled lines became returns of earlier purchases.', returned - returned_by_nobody) FROM steps
UNION ALL
SELECT format('{} cancelled lines have no customer and were matched to no purchase.', returned_by_nobody) FROM steps
UNION ALL
SELECT format(
    '{} returns ({} units) are larger than what was bought before them in this file.', returns, units
) FROM without
UNION ALL
SELECT format('{} lines correct the stock (no quantity sold) and are no items.', corrections) FROM steps

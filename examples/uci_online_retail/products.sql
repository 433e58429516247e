-- A code has had several descriptions, some of them remarks on stock; the most frequent one of sold lines names it.
SELECT
    code AS product_id,
    coalesce(
        mode(description ORDER BY description) FILTER (WHERE price > 0 AND quantity > 0),
        mode(description ORDER BY description)
    ) AS name,
    CASE WHEN regexp_matches(code, '^[0-9]{5}') THEN 'goods' ELSE 'charges and others' END AS category
FROM lines
GROUP BY code
ORDER BY code

-- A review of one or two stars that says something is a complaint. A review may belong to several orders, so
-- review and order together name it.
SELECT
    r.review_id || '-' || r.order_id AS ticket_id,
    'reviews' AS desk,
    c.customer_unique_id AS customer_id,
    coalesce(nullif(trim(r.review_comment_title), ''), left(r.review_comment_message, 80)) AS subject,
    r.review_comment_message AS body,
    'solved' AS status,
    moment_of(r.review_creation_date) AS opened_at,
    moment_of(r.review_answer_timestamp) AS solved_at,
    r.order_id AS order_id,
    CAST(r.review_score AS BIGINT) AS score
FROM reviews r
JOIN orders o USING (order_id)
JOIN customers c USING (customer_id)
WHERE CAST(r.review_score AS BIGINT) <= 2 AND regexp_matches(r.review_comment_message, '\S')
ORDER BY ticket_id

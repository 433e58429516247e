-- Every review is something the customer did; its score is an attribute.
SELECT
    r.review_id || '-' || r.order_id AS event_id,
    c.customer_unique_id AS customer_id,
    'review' AS name,
    moment_of(r.review_creation_date) AS occurred_at,
    CAST(r.review_score AS BIGINT) AS score,
    r.order_id AS order_id
FROM reviews r
JOIN orders o USING (order_id)
JOIN customers c USING (customer_id)
ORDER BY event_id

-- The estimated delivery date is what the shop promised: the promise holds until that day is over. A cancelled order has no time of cancellation: the
-- latest time the file knows of it stands in.
SELECT
    o.order_id,
    c.customer_unique_id AS customer_id,
    o.order_status AS status,
    moment_of(o.order_purchase_timestamp) AS ordered_at,
    moment_of(o.order_estimated_delivery_date) + INTERVAL 86399 SECOND AS promised_at,
    moment_of(o.order_delivered_carrier_date) AS shipped_at,
    moment_of(o.order_delivered_customer_date) AS delivered_at,
    CASE
        WHEN o.order_status = 'canceled' THEN greatest(
            moment_of(o.order_purchase_timestamp),
            moment_of(o.order_approved_at),
            moment_of(o.order_delivered_carrier_date)
        )
    END AS cancelled_at,
    c.customer_city AS city,
    c.customer_state AS region,
    c.customer_zip_code_prefix AS postal_code,
    'BR' AS country
FROM orders o
LEFT JOIN customers c USING (customer_id)
ORDER BY o.order_id

-- Invoices are orders; those that begin with C cancel earlier ones and become returns (items.sql).
SELECT
    invoice AS order_id,
    any_value(customer) AS customer_id,
    'invoiced' AS status,
    min(moment) AS ordered_at,
    country_of(any_value(country)) AS country
FROM lines
WHERE NOT cancelled
GROUP BY invoice
ORDER BY invoice

-- customer_id of the file is made anew for each order; the person is customer_unique_id. She lives where her
-- latest order went. Names, addresses and numbers are made up: every fifth has no phone, every seventh no email.
WITH latest AS (
    SELECT
        c.customer_unique_id AS person,
        arg_max(c, (o.order_purchase_timestamp, o.order_id)) AS home
    FROM customers c
    JOIN orders o USING (customer_id)
    GROUP BY c.customer_unique_id
), numbered AS (
    SELECT *, row_number() OVER (ORDER BY person) - 1 AS n FROM latest
)
SELECT
    person AS customer_id,
    'Customer ' || left(person, 8) AS name,
    CASE WHEN n % 7 <> 0 THEN 'customer-' || left(person, 16) || '@example.com' END AS email,
    CASE WHEN n % 5 <> 0 THEN fictional_phone(n) END AS phone,
    'pt-BR' AS locale,
    time_zone_of(home.customer_state) AS time_zone,
    'Rua Exemplo, ' || (n % 200 + 1) AS address_line1,
    home.customer_city AS city,
    home.customer_state AS region,
    home.customer_zip_code_prefix AS postal_code,
    'BR' AS country
FROM numbered
ORDER BY person

-- The people of the file are numbers; addresses are made of reserved names and numbers, so that nobody real
-- can be reached. Every fifth has no phone, every seventh no email: the channels have something to do.
SELECT
    customer AS customer_id,
    'Customer ' || customer AS name,
    CASE WHEN CAST(customer AS BIGINT) % 7 <> 0 THEN 'customer-' || customer || '@example.com' END AS email,
    CASE WHEN CAST(customer AS BIGINT) % 5 <> 0 THEN fictional_phone(CAST(customer AS BIGINT) - 12000) END AS phone,
    'en' AS locale,
    time_zone_of(latest) AS time_zone,
    (CAST(customer AS BIGINT) % 200 + 1) || ' Example Street' AS address_line1,
    'Example Town' AS city,
    'EX' || (CAST(customer AS BIGINT) % 90 + 10) || ' 1AA' AS postal_code,
    country_of(latest) AS country
FROM (
    SELECT customer, arg_max(country, (moment, invoice)) AS latest
    FROM lines
    WHERE customer IS NOT NULL
    GROUP BY customer
)
ORDER BY customer

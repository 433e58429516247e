-- Each line of goods sold is an item. Lines without quantity sold are corrections of stock: nobody bought them.
SELECT
    i.invoice || '-' || i.code || '-' || i.line AS item_id,
    i.invoice AS order_id,
    i.code AS product_id,
    i.quantity,
    coalesce(r.quantity_returned, 0) AS quantity_returned,
    i.moment AS ordered_at,
    r.returned_at
FROM (
    SELECT *, row_number() OVER (
            PARTITION BY invoice, code ORDER BY moment, quantity, price, description, country
        ) AS line
    FROM lines
    WHERE NOT cancelled AND quantity > 0
) i
LEFT JOIN returns r USING (invoice, code, line)

-- One row is one piece. Times are those of its order.
SELECT
    order_id || '-' || order_item_id AS item_id,
    order_id,
    product_id,
    seller_id AS seller,
    1 AS quantity
FROM items
ORDER BY order_id, CAST(order_item_id AS BIGINT)

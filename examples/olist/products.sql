-- Products have no names, only a category, which some lack.
SELECT
    p.product_id,
    coalesce(c.product_category_name_english, p.product_category_name) AS category,
    TRY_CAST(p.product_weight_g AS BIGINT) AS weight_g
FROM products p
LEFT JOIN categories c USING (product_category_name)
ORDER BY p.product_id

-- Shared by the statements of this folder. The data folder is that of the nine Olist files.

CREATE VIEW customers AS
SELECT * FROM read_csv('olist_customers_dataset.csv.gz', header = true, all_varchar = true, store_rejects = true);

CREATE VIEW orders AS
SELECT * FROM read_csv('olist_orders_dataset.csv.gz', header = true, all_varchar = true, store_rejects = true);

CREATE VIEW items AS
SELECT * FROM read_csv('olist_order_items_dataset.csv.gz', header = true, all_varchar = true, store_rejects = true);

CREATE VIEW products AS
SELECT * FROM read_csv('olist_products_dataset.csv.gz', header = true, all_varchar = true, store_rejects = true);

CREATE VIEW categories AS
SELECT * FROM read_csv('product_category_name_translation.csv.gz', header = true, all_varchar = true, store_rejects = true);

CREATE VIEW reviews AS
SELECT * FROM read_csv('olist_order_reviews_dataset.csv.gz', header = true, all_varchar = true, store_rejects = true);

-- The file says no zone, so its times count as UTC, as everywhere. If you know that they are those of Brasília,
-- write timezone('America/Sao_Paulo', …) around the CAST.
CREATE MACRO moment_of(value) AS CAST(nullif(value, '') AS TIMESTAMP);

CREATE MACRO time_zone_of(state) AS coalesce(map {
    'AC': 'America/Rio_Branco', 'AM': 'America/Manaus', 'RO': 'America/Porto_Velho', 'RR': 'America/Boa_Vista',
    'MT': 'America/Cuiaba', 'MS': 'America/Campo_Grande', 'BA': 'America/Bahia', 'PE': 'America/Recife',
    'CE': 'America/Fortaleza', 'RN': 'America/Fortaleza', 'PB': 'America/Fortaleza', 'MA': 'America/Fortaleza',
    'PI': 'America/Fortaleza', 'AL': 'America/Maceio', 'SE': 'America/Maceio', 'PA': 'America/Belem',
    'AP': 'America/Belem', 'TO': 'America/Araguaina'
}[state], 'America/Sao_Paulo');

-- 555-0100 to 555-0199 is kept for fiction in each North American area code; Brazil keeps no numbers for it.
-- One per number from 0 to 9,999, so that no two customers share one.
CREATE MACRO fictional_phone(n) AS '+1' || [
    201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218, 219, 224, 225, 228, 229, 231,
    234, 239, 240, 248, 251, 252, 253, 254, 256, 260, 262, 267, 269, 270, 276, 281, 301, 302, 303, 304, 305, 307,
    308, 309, 310, 312, 313, 314, 315, 316, 317, 318, 319, 320, 321, 323, 325, 330, 331, 334, 336, 337, 339, 347,
    351, 352, 360, 361, 386, 401, 402, 404, 405, 406, 407, 408, 409, 410, 412, 413, 414, 415, 417, 419, 423, 424,
    425, 430, 432, 434, 435, 440, 443, 469, 478, 479, 480, 484
][1 + (n // 100) % 100] || '55501' || lpad(CAST(n % 100 AS VARCHAR), 2, '0');

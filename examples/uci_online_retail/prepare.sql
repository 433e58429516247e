-- Shared by the statements of this folder. The data folder is that of the UCI file.

-- Every line as it was written, with types. `line` counts equal lines of one invoice, so that each has a name.
CREATE VIEW lines AS
SELECT
    InvoiceNo AS invoice,
    starts_with(InvoiceNo, 'C') AS cancelled,
    StockCode AS code,
    nullif(trim(Description), '') AS description,
    CAST(Quantity AS BIGINT) AS quantity,
    CAST(InvoiceDate AS TIMESTAMP) AS moment,
    CAST(UnitPrice AS DOUBLE) AS price,
    nullif(CustomerID, '') AS customer,
    Country AS country
FROM read_csv('online_retail_2010_12_to_2011_12.csv.gz', header = true, all_varchar = true, store_rejects = true);

-- The names of the file that are no ISO code and no plain English name; NULL where it says no country.
CREATE MACRO country_of(name) AS CASE name
    WHEN 'EIRE' THEN 'IE'
    WHEN 'RSA' THEN 'ZA'
    WHEN 'Channel Islands' THEN 'JE'
    WHEN 'European Community' THEN NULL
    WHEN 'Unspecified' THEN NULL
    ELSE name
END;

CREATE MACRO time_zone_of(name) AS coalesce(map {
    'Australia': 'Australia/Sydney', 'Austria': 'Europe/Vienna', 'Bahrain': 'Asia/Bahrain',
    'Belgium': 'Europe/Brussels', 'Brazil': 'America/Sao_Paulo', 'Canada': 'America/Toronto',
    'Channel Islands': 'Europe/Jersey', 'Cyprus': 'Asia/Nicosia', 'Czech Republic': 'Europe/Prague',
    'Denmark': 'Europe/Copenhagen', 'EIRE': 'Europe/Dublin', 'Finland': 'Europe/Helsinki',
    'France': 'Europe/Paris', 'Germany': 'Europe/Berlin', 'Greece': 'Europe/Athens', 'Hong Kong': 'Asia/Hong_Kong',
    'Iceland': 'Atlantic/Reykjavik', 'Israel': 'Asia/Jerusalem', 'Italy': 'Europe/Rome', 'Japan': 'Asia/Tokyo',
    'Lebanon': 'Asia/Beirut', 'Lithuania': 'Europe/Vilnius', 'Malta': 'Europe/Malta',
    'Netherlands': 'Europe/Amsterdam', 'Norway': 'Europe/Oslo', 'Poland': 'Europe/Warsaw',
    'Portugal': 'Europe/Lisbon', 'RSA': 'Africa/Johannesburg', 'Saudi Arabia': 'Asia/Riyadh',
    'Singapore': 'Asia/Singapore', 'Spain': 'Europe/Madrid', 'Sweden': 'Europe/Stockholm',
    'Switzerland': 'Europe/Zurich', 'USA': 'America/New_York', 'United Arab Emirates': 'Asia/Dubai'
}[name], 'Europe/London');

-- Numbers that Ofcom keeps for drama: 0xxx at the end of these area codes is given to nobody.
-- One per number from 0 to 10,999, so that no two customers share one.
CREATE MACRO fictional_phone(n) AS
    ['+44207946', '+44113496', '+44114496', '+44116496', '+44117496', '+44118496', '+44121496', '+44131496',
     '+44141496', '+44151496', '+44161496'][1 + (n // 1000) % 11] || '0' || lpad(CAST(n % 1000 AS VARCHAR), 3, '0');

-- Purchases and returns of known buyers, one after the other. `stock` is what the buyer holds of the product
-- after each step: a purchase piles up, a return takes from the top of the pile (the latest purchase first)
-- and never digs below the floor: what was never bought here cannot be taken back.
CREATE VIEW pile AS
WITH steps AS (
    SELECT *, row_number() OVER (
            PARTITION BY invoice, code ORDER BY moment, quantity, price, description, country
        ) AS line
    FROM lines
    WHERE (cancelled AND quantity < 0) OR (NOT cancelled AND quantity > 0)
), running AS (
    SELECT *, sum(quantity) OVER step AS total
    FROM steps
    WHERE customer IS NOT NULL
    WINDOW step AS (PARTITION BY customer, code ORDER BY moment, cancelled, invoice, line)
)
SELECT
    customer, code, moment, cancelled, invoice, line, quantity,
    total - least(0, min(total) OVER step) AS stock,
    -least(0, min(total) OVER step) AS unmatched
FROM running
WINDOW step AS (PARTITION BY customer, code ORDER BY moment, cancelled, invoice, line);

-- What came back of each purchase: the lowest the pile ever falls afterwards tells how deep returns dug.
CREATE VIEW returns AS
WITH lows AS (
    SELECT *, min(stock) OVER (
            PARTITION BY customer, code ORDER BY moment, cancelled, invoice, line
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        ) AS low
    FROM pile
), touched AS (
    SELECT *, greatest(low, stock - quantity) AS rest
    FROM lows
    WHERE NOT cancelled AND low < stock
)
SELECT
    t.invoice, t.code, t.line,
    t.stock - t.rest AS quantity_returned,
    -- the return that took the last unit which came back
    min(p.moment) AS returned_at
FROM touched t
JOIN pile p
    ON p.customer = t.customer AND p.code = t.code AND p.cancelled AND p.stock <= t.rest
    AND p.moment >= t.moment
GROUP BY ALL;

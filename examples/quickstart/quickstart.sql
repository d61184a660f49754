-- A file and a folder are tables. The younger file has one column more: the older rows have NULL there.
SELECT id, customer_id, ordered_at, amount, coupon FROM lake.orders ORDER BY id;

-- A named query over them, which other queries use like a table.
CREATE VIEW revenue AS
SELECT c.country, sum(o.amount) AS revenue
FROM lake.orders o JOIN lake.customers c ON c.id = o.customer_id
GROUP BY c.country;

SELECT * FROM revenue ORDER BY country;

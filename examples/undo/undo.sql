-- A DELETE that should not have been, and the table as it was before.
CREATE TABLE customers (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO customers VALUES (1, 'Ada'), (2, 'Grace'), (3, 'Edsger');

-- A token of what this session has written: it names this state for ever.
SHOW POSITION;

DELETE FROM customers WHERE id > 0;
INSERT INTO customers VALUES (4, 'Barbara');
SELECT count(*) AS customers FROM customers;

-- Whoever is not there now comes back.
INSERT INTO customers SELECT * FROM customers AS OF 'main:4' WHERE id NOT IN (SELECT id FROM customers);
SELECT * FROM customers ORDER BY id;

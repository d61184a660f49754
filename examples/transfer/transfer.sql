-- Money moves from one account to another: both rows change, or none, and once, however often it is sent.
CREATE TABLE accounts (name TEXT PRIMARY KEY, balance DECIMAL(12, 2) NOT NULL CHECK (balance >= 0));
INSERT INTO accounts VALUES ('ada', 100), ('grace', 20);

SET request_id = 'transfer 17';
BEGIN;
UPDATE accounts SET balance = balance - 30 WHERE name = 'ada';
UPDATE accounts SET balance = balance + 30 WHERE name = 'grace';
COMMIT;

-- The answer was lost, so the client sends it all again.
SET request_id = 'transfer 17';
BEGIN;
UPDATE accounts SET balance = balance - 30 WHERE name = 'ada';
UPDATE accounts SET balance = balance + 30 WHERE name = 'grace';
COMMIT;

SELECT * FROM accounts ORDER BY name;
SELECT sum(balance) AS total FROM accounts;

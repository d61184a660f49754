-- A payment reaches three shards: that of the source account, that of the target, and that of the bank's own fees.
CREATE TABLE accounts (id BIGINT PRIMARY KEY, owner TEXT NOT NULL, balance DECIMAL(12, 2) NOT NULL CHECK (balance >= 0))
  WITH (shards = 4);
INSERT INTO accounts VALUES (1, 'ada', 100);
INSERT INTO accounts VALUES (2, 'grace', 20);
INSERT INTO accounts VALUES (9, 'fees', 0);

-- The shard of the source account decides; what it emits is done by the others, once.
CREATE PROCEDURE pay(source BIGINT, target BIGINT, amount DECIMAL(12, 2), fee DECIMAL(12, 2)) AS $$
  ASSERT amount > 0 AND fee >= 0, 'an amount is above zero';
  ASSERT (SELECT balance FROM accounts WHERE id = source) >= amount + fee, 'not enough money';
  UPDATE accounts SET balance = balance - amount - fee WHERE id = source;
  EMIT CALL receive(source, target, amount);
  EMIT WHEN fee > 0 UPDATE accounts SET balance = balance + fee WHERE id = 9;
$$;

-- If there is no such account the money goes back: a compensation is a procedure like any other.
CREATE PROCEDURE receive(source BIGINT, target BIGINT, amount DECIMAL(12, 2)) AS $$
  UPDATE accounts SET balance = balance + amount WHERE id = target;
  EMIT WHEN NOT EXISTS (SELECT 1 FROM accounts WHERE id = target)
    UPDATE accounts SET balance = balance + amount WHERE id = source;
$$;

-- Without this a call is answered once its own shard has decided, and the money is under way.
SET wait = effects;
SET request_id = 'payment 17';
CALL pay(1, 2, 30, 0.50);
SELECT * FROM accounts ORDER BY id;

-- The answer was lost, so the client sends it again.
SET request_id = 'payment 17';
CALL pay(1, 2, 30, 0.50);

-- Nobody has this account.
CALL pay(1, 7, 5, 0.50);

-- More than there is, and the client does not wait for the answer.
SET request_id = 'payment 18';
SET wait = none;
CALL pay(2, 1, 500, 0);

SELECT * FROM accounts ORDER BY id;
SELECT sum(balance) AS total FROM accounts;

-- Who has a name is decided in the shard of the name; what a user is called lies in the shard of the user.
CREATE TABLE names (name TEXT PRIMARY KEY, owner BIGINT NOT NULL) WITH (shards = 4);
CREATE TABLE users (id BIGINT PRIMARY KEY, name TEXT NOT NULL) WITH (shards = 4);
INSERT INTO users VALUES (1, 'ada');
INSERT INTO names VALUES ('ada', 1);
INSERT INTO users VALUES (2, 'grace');
INSERT INTO names VALUES ('grace', 2);

-- The new name is claimed first.
CREATE PROCEDURE rename(new TEXT, old TEXT, id BIGINT) AS $$
  ASSERT NOT EXISTS (SELECT 1 FROM names WHERE name = new), 'the name is taken';
  INSERT INTO names VALUES (new, id);
  EMIT CALL move(id, old, new);
$$;

-- Then the user gets it and the old one is free; or the new one again, if the user is called otherwise by now.
CREATE PROCEDURE move(id BIGINT, old TEXT, new TEXT) AS $$
  EMIT WHEN EXISTS (SELECT 1 FROM users WHERE users.id = id AND name = old)
    DELETE FROM names WHERE name = old AND owner = id;
  EMIT WHEN NOT EXISTS (SELECT 1 FROM users WHERE users.id = id AND name = old)
    DELETE FROM names WHERE name = new AND owner = id;
  UPDATE users SET name = new WHERE users.id = id AND name = old;
$$;

SET wait = effects;
CALL rename('lovelace', 'ada', 1);
CALL rename('hopper', 'grace', 2);
SELECT users.id, users.name, names.owner FROM users JOIN names ON names.name = users.name ORDER BY users.id;

-- A name that is out of date changes nothing, and leaves nothing claimed.
CALL rename('byron', 'ada', 1);
SELECT * FROM names ORDER BY name;

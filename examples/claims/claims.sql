-- A name belongs to who claims it first. The log decides, and what it decides it keeps.
CREATE TABLE names (name TEXT PRIMARY KEY, owner TEXT NOT NULL, claimed INT GENERATED ALWAYS AS IDENTITY);

SET request_id = 'ada claims polder';
INSERT INTO names (name, owner) VALUES ('polder', 'ada');

-- Grace does not wait, and asks later.
SET wait = none;
SET request_id = 'grace claims dike';
INSERT INTO names (name, owner) VALUES ('dike', 'grace');
SET wait = outcome;
WAIT FOR 'grace claims dike';

-- Edsger would like to have polder, too: the row that is there stays as it is.
INSERT INTO names (name, owner) VALUES ('polder', 'edsger'), ('sluice', 'edsger') ON CONFLICT (name) DO NOTHING;

-- Ada's connection broke before she was answered. She sends the same again: it is done once.
SET request_id = 'ada claims polder';
INSERT INTO names (name, owner) VALUES ('polder', 'ada');

SELECT name, owner FROM names ORDER BY name;
SELECT request_id, state, outcome FROM polder.system.requests;

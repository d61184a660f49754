-- Bookings of one room lie in one shard, so it can check anything in them: here that no two overlap.
CREATE TABLE bookings (room TEXT, guest TEXT, arrival DATE NOT NULL, departure DATE NOT NULL, PRIMARY KEY (room, arrival))
  WITH (shards = 4, key = 'room');
-- What a guest has booked lies in the guest's shard.
CREATE TABLE stays (guest TEXT, room TEXT, arrival DATE NOT NULL, PRIMARY KEY (guest, arrival)) WITH (shards = 4, key = 'guest');

CREATE PROCEDURE book(room TEXT, guest TEXT, arrival DATE, departure DATE) AS $$
  ASSERT arrival < departure, 'a stay has a night';
  ASSERT NOT EXISTS (
    SELECT 1 FROM bookings b WHERE b.room = room AND b.arrival < departure AND b.departure > arrival
  ), 'the room is taken';
  INSERT INTO bookings VALUES (room, guest, arrival, departure);
  EMIT INSERT INTO stays VALUES (guest, room, arrival);
$$;

SET wait = effects;
CALL book('blue', 'ada', '2026-03-01', '2026-03-05');
CALL book('blue', 'grace', '2026-03-05', '2026-03-07');

-- This one overlaps. Nobody waits for it; that it was declined is an entry of the log.
SET wait = none;
SET request_id = 'edsger books blue';
CALL book('blue', 'edsger', '2026-03-04', '2026-03-06');
SET wait = effects;
CALL book('red', 'edsger', '2026-03-04', '2026-03-06');

SELECT * FROM bookings ORDER BY room, arrival;
SELECT * FROM stays ORDER BY guest;
SELECT request_id, state, outcome FROM polder.system.requests;

-- A sum for each event, so that a bit that flips on the disk is found and never shown for what was stored:
-- SQLite has no sums of its own, and text with another letter in it is text.
--
-- The lower 32 bits are the CRC-32 of seq, time, kind and payload, the upper ones that of the agents
-- (store/sum.rs). NULL: an event from before this migration.
ALTER TABLE events ADD COLUMN sum INTEGER;

-- Every later event has one.
INSERT INTO meta (name, value)
VALUES ('sums_after', coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0));

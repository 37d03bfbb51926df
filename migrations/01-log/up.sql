-- The log and its board.
--
-- One table is written; everything else in this file is a fold of it, a word about it, or a view
-- for people. The file is made with auto_vacuum=INCREMENTAL, which has to come before the first
-- table and so stands with the code that makes the file, not here.

PRAGMA application_id = 1213615175; -- 'HVLG'

-- What is true of the log as a whole, and can never be derived from rows that may go:
-- log_id, floor (highest pruned seq), board_floor (highest pruned seq of a board kind),
-- redacting_seq (the one event whose text may change now), redactions (how many were),
-- approval_id and question_id (the last ids given), kind.NAME (declared kinds).
CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (name, value) VALUES
    ('floor', 0), ('board_floor', 0), ('redacting_seq', 0), ('redactions', 0),
    ('approval_id', 0), ('question_id', 0);

-- The log. AUTOINCREMENT, so that a seq never changes its meaning, whoever deletes what.
CREATE TABLE events (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    recorded_at_ms INTEGER NOT NULL,
    kind           TEXT NOT NULL,
    agents         TEXT NOT NULL,
    payload        TEXT NOT NULL
) STRICT;

-- Rare kinds only: those that the board is folded from, and declared ones. Messages and an application's
-- own kinds (they have a dot) come by the thousand; with them in it, a commit of 64 events dirties ten
-- pages more and the append rate falls by a third. Written with <>, since an IN list would build a table
-- at each insert.
CREATE INDEX events_rare ON events (kind)
WHERE kind <> 'sent' AND kind <> 'delivered' AND instr(kind, '.') = 0;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
WHEN old.seq <> (SELECT value FROM meta WHERE name = 'redacting_seq')
  OR new.seq <> old.seq OR new.recorded_at_ms <> old.recorded_at_ms
  OR new.kind <> old.kind OR new.agents <> old.agents
BEGIN
    SELECT raise(ABORT, 'events are append-only: this one is not being redacted');
END;

CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
WHEN old.seq > (SELECT value FROM meta WHERE name = 'floor')
BEGIN
    SELECT raise(ABORT, 'events are append-only: this one is above the floor');
END;

-- Idempotency: what a key stands for. A batch under one key holds first_seq..last_seq.
CREATE TABLE keys (
    actor          TEXT NOT NULL,
    key            TEXT NOT NULL,
    content_hash   BLOB NOT NULL,
    first_seq      INTEGER NOT NULL,
    last_seq       INTEGER NOT NULL,
    recorded_at_ms INTEGER NOT NULL,
    PRIMARY KEY (actor, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_by_age ON keys (recorded_at_ms);
CREATE INDEX keys_by_seq ON keys (first_seq);

-- The board: what is open now. These four tables can be dropped and folded anew from the events
-- with the same result.
CREATE TABLE approvals (
    id           INTEGER PRIMARY KEY,
    agent        TEXT NOT NULL,
    status       TEXT NOT NULL,
    bytes        INTEGER NOT NULL,
    added_seq    INTEGER NOT NULL,
    resolved_seq INTEGER
) STRICT;
CREATE INDEX approvals_open ON approvals (added_seq) WHERE resolved_seq IS NULL;
CREATE INDEX approvals_closed ON approvals (resolved_seq) WHERE resolved_seq IS NOT NULL;

CREATE TABLE questions (
    id           INTEGER PRIMARY KEY,
    asker        TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    deadline_at  INTEGER,
    bytes        INTEGER NOT NULL,
    added_seq    INTEGER NOT NULL,
    resolved_seq INTEGER
) STRICT;
CREATE INDEX questions_open ON questions (added_seq) WHERE resolved_seq IS NULL;
CREATE INDEX questions_closed ON questions (resolved_seq) WHERE resolved_seq IS NOT NULL;
CREATE INDEX questions_due ON questions (deadline_at) WHERE resolved_seq IS NULL AND deadline_at IS NOT NULL;

CREATE TABLE transients (
    name           TEXT PRIMARY KEY NOT NULL,
    transient_kind TEXT NOT NULL,
    since_unix     INTEGER NOT NULL,
    expires_at     INTEGER,
    bytes          INTEGER NOT NULL,
    set_seq        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX transients_by_seq ON transients (set_seq);

-- How much is open, for each agent and (under the name '') in all.
CREATE TABLE open_load (
    agent TEXT PRIMARY KEY NOT NULL,
    items INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- For people. The columns are an API; the functions are ones that SQLite 3.40 has.
CREATE VIEW v_events AS
SELECT seq,
       strftime('%Y-%m-%d %H:%M:%S', recorded_at_ms / 1000, 'unixepoch') AS at,
       kind,
       agents,
       payload
FROM events;

CREATE VIEW v_open_approvals AS
SELECT a.id,
       a.agent,
       json_extract(e.payload, '$.approval_kind') AS approval_kind,
       json_extract(e.payload, '$.sha_short') AS sha_short,
       json_extract(e.payload, '$.description') AS description,
       strftime('%Y-%m-%d %H:%M:%S', e.recorded_at_ms / 1000, 'unixepoch') AS since,
       a.added_seq AS seq
FROM approvals AS a
JOIN events AS e ON e.seq = a.added_seq
WHERE a.resolved_seq IS NULL
ORDER BY a.added_seq;

CREATE VIEW v_open_questions AS
SELECT q.id,
       q.asker,
       json_extract(e.payload, '$.question') AS question,
       json_extract(e.payload, '$.options') AS options,
       strftime('%Y-%m-%d %H:%M:%S', q.deadline_at, 'unixepoch') AS deadline,
       strftime('%Y-%m-%d %H:%M:%S', e.recorded_at_ms / 1000, 'unixepoch') AS since,
       q.added_seq AS seq
FROM questions AS q
JOIN events AS e ON e.seq = q.added_seq
WHERE q.resolved_seq IS NULL
ORDER BY q.added_seq;

CREATE VIEW v_transients AS
SELECT name,
       transient_kind,
       strftime('%Y-%m-%d %H:%M:%S', since_unix, 'unixepoch') AS since,
       strftime('%Y-%m-%d %H:%M:%S', expires_at, 'unixepoch') AS expires,
       set_seq AS seq
FROM transients
ORDER BY set_seq;

CREATE VIEW v_messages AS
SELECT seq,
       strftime('%Y-%m-%d %H:%M:%S', recorded_at_ms / 1000, 'unixepoch') AS at,
       kind,
       json_extract(payload, '$.from') AS "from",
       json_extract(payload, '$.to') AS "to",
       json_extract(payload, '$.body') AS body,
       json_extract(payload, '$.message_id') AS message_id
FROM events
WHERE kind = 'sent' OR kind = 'delivered';

-- All that waits for the operator, oldest first, short enough for 45 columns.
CREATE VIEW v_attention AS
WITH waiting (recorded_at_ms, what, id, agent, text) AS (
    SELECT e.recorded_at_ms, 'approval', a.id, a.agent,
           coalesce(json_extract(e.payload, '$.description'), json_extract(e.payload, '$.approval_kind'))
    FROM approvals AS a JOIN events AS e ON e.seq = a.added_seq
    WHERE a.resolved_seq IS NULL
    UNION ALL
    SELECT e.recorded_at_ms, 'question', q.id, q.asker, json_extract(e.payload, '$.question')
    FROM questions AS q JOIN events AS e ON e.seq = q.added_seq
    WHERE q.resolved_seq IS NULL
)
SELECT strftime('%H:%M', recorded_at_ms / 1000, 'unixepoch') AS since,
       CASE
           WHEN age < 60 THEN age || 's'
           WHEN age < 3600 THEN (age / 60) || 'm'
           WHEN age < 86400 THEN (age / 3600) || 'h'
           ELSE (age / 86400) || 'd'
       END AS age,
       what,
       id,
       substr(agent, 1, 8) AS agent,
       -- Untrusted text on a terminal: nothing that moves the cursor.
       substr(replace(replace(replace(replace(replace(
           text, char(10), ' '), char(13), ' '), char(8), '?'), char(27), '?'), char(155), '?'), 1, 12) AS summary
FROM (SELECT *, max(0, CAST(strftime('%s', 'now') AS INTEGER) - recorded_at_ms / 1000) AS age FROM waiting)
ORDER BY recorded_at_ms;

-- The swarm's business: what no event carries whole, and so cannot be folded from the log.
--
-- Leases of transients, the broker's messages with its journal, questions between peers, and who may come
-- in. All of it is of this file alone: an export of the log leaves it out.

-- What was answered to a command, where the seqs do not say it. A key whose first_seq is 0 stands for a
-- command that made no event.
ALTER TABLE keys ADD COLUMN answer TEXT;

-- What one agent asked for: what is open, and what was closed last.
CREATE INDEX approvals_of_agent ON approvals (agent, resolved_seq);
CREATE INDEX questions_of_asker ON questions (asker, resolved_seq);

-- How long a transient may last unrenewed. set_seq names the event that it is the lease of: a row for
-- another one is void. owner is the process that set it through the crate (a random word for each opening of
-- the file), NULL where it was set over HTTP.
CREATE TABLE leases (
    name     TEXT PRIMARY KEY NOT NULL,
    set_seq  INTEGER NOT NULL,
    lease_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    owner    TEXT
) STRICT, WITHOUT ROWID;

-- The broker. A message waits (lease_until_ms is NULL), or is handed out until its lease ends, or is done
-- (acked_at). AUTOINCREMENT, so that an id never means another message. The body comes last, so that a walk
-- over messages does not read it.
CREATE TABLE messages (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    sender         TEXT NOT NULL,
    recipient      TEXT NOT NULL,
    at             INTEGER NOT NULL,
    question_id    INTEGER,
    handed_out     INTEGER NOT NULL DEFAULT 0,
    lease_ms       INTEGER,
    lease_until_ms INTEGER,
    acked_at       INTEGER,
    body           TEXT NOT NULL
) STRICT;

-- A message keeps its place in this index from sending to acknowledging, so a handing out costs no index.
CREATE INDEX messages_open ON messages (recipient, id) WHERE acked_at IS NULL;

-- What happened to messages and is not mirrored yet, in order: 'sent', 'delivered' (the first handing out).
CREATE TABLE journal (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    what       TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    at         INTEGER NOT NULL
) STRICT;

-- Questions between peers, which never reach the log. Their ids come from the same counter as those of
-- questions for the operator.
CREATE TABLE peer_questions (
    id          INTEGER PRIMARY KEY,
    asker       TEXT NOT NULL,
    peer        TEXT NOT NULL,
    question    TEXT NOT NULL,
    options     TEXT NOT NULL,
    multi       INTEGER NOT NULL,
    asked_at    INTEGER NOT NULL,
    deadline_at INTEGER,
    message_id  INTEGER NOT NULL,
    outcome     TEXT NOT NULL DEFAULT 'open',
    answer      TEXT,
    answerer    TEXT,
    answered_at INTEGER,
    selected    TEXT
) STRICT;
CREATE INDEX peer_questions_of_asker ON peer_questions (asker, id);
CREATE INDEX peer_questions_of_peer ON peer_questions (peer, id);
CREATE INDEX peer_questions_open ON peer_questions (asker, id) WHERE outcome = 'open';
CREATE INDEX peer_questions_put ON peer_questions (peer, id) WHERE outcome = 'open';
CREATE INDEX peer_questions_due ON peer_questions (deadline_at)
WHERE outcome = 'open' AND deadline_at IS NOT NULL;

-- Who may come in. Secrets are kept as SHA-256 of 256 random bits.
CREATE TABLE tokens (
    name       TEXT PRIMARY KEY NOT NULL,
    hash       BLOB NOT NULL,
    roles      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;

-- hash is of the cookie, write_hash of the second secret that a write needs too.
CREATE TABLE sessions (
    hash       BLOB PRIMARY KEY NOT NULL,
    write_hash BLOB NOT NULL,
    token      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE login_codes (
    hash       BLOB PRIMARY KEY NOT NULL,
    token      TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- For people: what waits for whom.
CREATE VIEW v_inboxes AS
SELECT recipient,
       sum(handed_out = 0) AS waiting,
       sum(handed_out > 0) AS unacknowledged,
       strftime('%Y-%m-%d %H:%M:%S', min(at), 'unixepoch') AS oldest
FROM messages
WHERE acked_at IS NULL
GROUP BY recipient
ORDER BY min(id);

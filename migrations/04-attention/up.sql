-- A key whose content was redacted names the call that it was given to (store/keys.rs). Before this it named none;
-- of the keys without an answer it was an append.
UPDATE keys SET content_hash = x'c7447b6b6b7401bd5579f2c3dd15c6314f3faca8c0042a2d623ab79e32151ab4'
WHERE content_hash = zeroblob(32) AND answer IS NULL;

-- What waits, as an operator's shell shows it: every character of a summary that a terminal would obey is one that
-- it does not. Before this some were left: of the C1 controls all but one, and the marks that turn text around.
DROP VIEW v_attention;

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
       -- Character by character: there is no function for it in a shell.
       (WITH RECURSIVE walk (at, code, shown) AS (
            SELECT 1, unicode(substr(text, 1, 1)), ''
            UNION ALL
            SELECT at + 1, unicode(substr(text, at + 1, 1)), shown || CASE
                WHEN code IN (9, 10, 13) THEN ' '
                WHEN code < 32 OR code BETWEEN 127 AND 159 THEN '?'
                WHEN code = 1564 OR code BETWEEN 8203 AND 8207 OR code BETWEEN 8232 AND 8238
                     OR code BETWEEN 8288 AND 8297 OR code = 65279 THEN '?'
                ELSE char(code)
            END
            FROM walk WHERE at <= 12 AND code IS NOT NULL
        )
        SELECT shown FROM walk ORDER BY at DESC LIMIT 1) AS summary
FROM (SELECT *, max(0, CAST(strftime('%s', 'now') AS INTEGER) - recorded_at_ms / 1000) AS age FROM waiting)
ORDER BY recorded_at_ms;

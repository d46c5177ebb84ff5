-- name: find_letters
-- A page of the dead letters that fit, oldest first: which, of which run and code, and whether it could be sent.
SELECT r.id, run.id, r.code, length(c.payload) > 0
FROM record AS r INDEXED BY record_letter
CROSS JOIN run ON run.number = r.run
CROSS JOIN content AS c ON c.id = r.id
WHERE r.state = 4 AND r.letter = 1 AND r.id > :after
  AND (:run IS NULL OR run.id = :run)
  AND (:code IS NULL OR r.code = :code)
  AND (:destination IS NULL OR run.destination = :destination)
  AND (:key IS NULL OR c.key = :key)
  AND (:since IS NULL OR r.settled >= :since)
  AND (:ids IS NULL OR r.id IN (SELECT value FROM json_each(:ids)))
ORDER BY r.id LIMIT :limit;

-- name: letters
-- Dead letters with all that they hold.
SELECT r.id, run.id, run.destination, c.key, c.line, c.payload, c.original, r.code, r.message, r.settled, r.attempts
FROM json_each(:ids) AS each
CROSS JOIN record AS r ON r.id = each.value
CROSS JOIN run ON run.number = r.run
CROSS JOIN content AS c ON c.id = r.id;

-- name: attempts
-- Every attempt that did not deliver, oldest first, those of the records of which these are replays included.
WITH RECURSIVE lineage (of, id) AS (
    SELECT value, value FROM json_each(:ids)
    UNION ALL
    SELECT of, r.origin FROM lineage JOIN record AS r ON r.id = lineage.id WHERE r.origin > 0
)
SELECT lineage.of, a.at, a.status, a.code, a.message, a.request_id
FROM lineage CROSS JOIN attempt AS a ON a.record = lineage.id
ORDER BY lineage.of, a.token;

-- name: replayed
-- These letters have a successor now.
UPDATE record SET letter = 2 WHERE id IN (SELECT value FROM json_each(:ids));

-- name: replay_content
-- Copies of dead letters, for the run that sends them again; ids count on from the last one.
INSERT INTO content (id, run, key, line, payload, original)
SELECT :last + 1 + each.key, :run, c.key, c.line, c.payload, c.original
FROM json_each(:ids) AS each CROSS JOIN content AS c ON c.id = each.value;

-- name: replay_records
-- Copies of dead letters, ready to be sent.
INSERT INTO record (id, run, grp, size, origin)
SELECT :last + 1 + each.key, :run, r.grp, r.size, r.id
FROM json_each(:ids) AS each CROSS JOIN record AS r ON r.id = each.value;

-- name: count_keyless
-- How many of a replay's records have no key.
SELECT count(*) FROM content WHERE id BETWEEN :first AND :last AND key = '';

-- name: drop_letters
-- These letters are no longer kept, nor what a platform wrote about them; the books still count them as dead.
UPDATE record SET letter = 3, message = '' WHERE id IN (SELECT value FROM json_each(:ids));

-- name: drop_content
-- Forget what dropped letters held.
UPDATE content SET payload = x'', original = NULL WHERE id IN (SELECT value FROM json_each(:ids));

-- name: drop_attempts
-- Forget how often dropped letters were sent: a platform's message may quote them.
DELETE FROM attempt WHERE record IN (SELECT value FROM json_each(:ids));

-- name: find_loaded
-- Every record that a key meant, in runs whose source was read to its end.
SELECT k.id
FROM run CROSS JOIN keyed AS k ON k.run = run.number AND k.key = :key
WHERE :run IS NULL OR run.id = :run;

-- name: find_loading
-- Every record that a key means in runs that are still being read: there is no index yet.
SELECT c.id
FROM run CROSS JOIN content AS c ON c.id BETWEEN run.first_record AND run.last_record
WHERE run.loaded = 0 AND c.run = run.number AND c.key = :key AND (:run IS NULL OR run.id = :run);

-- name: histories
-- What happened to records.
SELECT r.id, run.id, run.destination, c.key, c.line, r.state, r.attempts, r.code, r.message, r.remote_id, r.settled
FROM json_each(:ids) AS each
CROSS JOIN record AS r ON r.id = each.value
CROSS JOIN run ON run.number = r.run
CROSS JOIN content AS c ON c.id = r.id;

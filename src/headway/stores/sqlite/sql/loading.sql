-- name: last_id
-- The highest id that was given.
SELECT coalesce(max(id), 0) FROM content;

-- name: add_content
-- What a row holds.
INSERT INTO content (id, run, key, line, payload, original) VALUES (?, ?, ?, ?, ?, ?);

-- name: add_record
-- A row that waits to be sent.
INSERT INTO record (id, run, grp, size) VALUES (?, ?, ?, ?);

-- name: add_bad_record
-- A row that cannot be sent: an open dead letter from the beginning.
INSERT INTO record (id, run, grp, size, state, letter, settled, code, message) VALUES (?, ?, '', 0, 4, 1, ?, ?, ?);

-- name: book_load
-- The books and the source's position, in the transaction of the rows.
UPDATE run
SET read = read + :ready + :dead, pending = pending + :ready, dead = dead + :dead, keyless = keyless + :keyless,
    position = :position, duplicates = :duplicates, changed = :now,
    first_record = coalesce(first_record, :first), last_record = coalesce(:last, last_record)
WHERE number = :run;

-- name: to_finish
-- What the end of the load needs to know of the run.
SELECT loaded, duplicates, read - keyless, first_record, last_record FROM run WHERE number = ?;

-- name: key_first
-- Note which record each key means, in the order of the keys; of two rows with one key the first stays.
INSERT INTO keyed (run, key, rank, id)
SELECT run, key, CASE WHEN length(payload) THEN 0 ELSE id END, id
FROM content WHERE id BETWEEN :first AND :last AND run = :run AND key <> ''
ORDER BY key, id
ON CONFLICT DO NOTHING;

-- name: key_last
-- Note which record each key means, in the order of the keys; of two rows with one key the last stays.
INSERT INTO keyed (run, key, rank, id)
SELECT run, key, CASE WHEN length(payload) THEN 0 ELSE id END, id
FROM content WHERE id BETWEEN :first AND :last AND run = :run AND key <> ''
ORDER BY key, id DESC
ON CONFLICT DO NOTHING;

-- name: key_losers
-- Note the rows that gave way, so that they are found by their key too.
INSERT INTO keyed (run, key, rank, id)
SELECT run, key, id, id
FROM content AS c
WHERE id BETWEEN :first AND :last AND run = :run AND key <> '' AND length(payload) > 0
  AND id <> (SELECT id FROM keyed AS k WHERE k.run = c.run AND k.key = c.key AND k.rank = 0);

-- name: skip_losers
-- Skip the rows that gave way.
UPDATE record
SET state = 5, settled = :now, code = 'DUPLICATE', message = 'another row of the same key took its place'
WHERE state = 0 AND id IN (SELECT id FROM keyed WHERE run = :run AND rank > 0);

-- name: first_duplicate
-- Two rows of one key, to name them.
SELECT l.key, w.line, c.line
FROM content AS c
JOIN keyed AS l ON l.run = c.run AND l.key = c.key AND l.rank = 0
JOIN content AS w ON w.id = l.id
WHERE c.id BETWEEN :first AND :last AND c.run = :run AND length(c.payload) > 0 AND l.id <> c.id
ORDER BY c.id LIMIT 1;

-- name: book_finish
-- The books at the end of the load.
UPDATE run
SET loaded = 1, state = 'running', pending = pending - :skipped, skipped = skipped + :skipped, changed = :now
WHERE number = :run;

-- name: count_keyed
-- How many keys are sent.
SELECT count(*) FROM keyed WHERE run = ? AND rank = 0;

-- name: loaded_counts
-- What the load came to.
SELECT read, dead, skipped, pending FROM run WHERE number = ?;

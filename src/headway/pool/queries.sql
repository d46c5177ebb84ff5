-- What a durable pool asks of its file.

-- name: add
-- A task that was submitted.
INSERT INTO tasks (pool, state, key, task, priority, cost, at) VALUES (?, 'ready', ?, ?, ?, ?, ?);

-- name: lease
-- A handler is about to work on it: after a crash its outcome is unknown.
UPDATE tasks SET state = 'leased', attempts = ? WHERE id = ?;

-- name: back
-- It goes again.
UPDATE tasks SET state = 'ready', attempts = ?, retries = ?, error = ?, message = ? WHERE id = ?;

-- name: done
-- It was delivered.
DELETE FROM tasks WHERE id = ?;

-- name: dead
-- It is a dead letter.
UPDATE tasks SET state = 'dead', attempts = ?, retries = ?, error = ?, message = ?, at = ? WHERE id = ?;

-- name: unfinished
-- What an earlier process left, oldest first.
SELECT id, key, task, priority, cost, attempts, retries, state FROM tasks
WHERE pool = ? AND state <> 'dead' ORDER BY id;

-- name: letters
-- Every dead letter, oldest first.
SELECT id, key, task, priority, cost, attempts, retries, error, message, at FROM tasks
WHERE pool = ? AND state = 'dead' ORDER BY id;

-- name: revive
-- A dead letter is sent again, as if for the first time.
UPDATE tasks SET state = 'ready', attempts = 0, retries = 0, priority = 'replay' WHERE id = ?;

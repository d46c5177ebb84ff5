-- name: create_run
-- Begin a run; OR IGNORE because another process may have taken the same id in the same second.
INSERT OR IGNORE INTO run
    (id, kind, source, destination, account, priority, options, fingerprint, reopen, state, created, changed)
VALUES (:id, :kind, :source, :destination, :account, :priority, :options, :fingerprint, :reopen, 'loading', :now, :now);

-- name: run_number
-- The number by which records know the run.
SELECT number, loaded FROM run WHERE id = ?;

-- name: run
-- One run as it stands.
SELECT id, kind, source, destination, account, priority, options, fingerprint, reopen, state, reason, created, changed,
       loaded, position, read, delivered, unchanged, dead, skipped, pending, requests, rate_limited, retries
FROM run WHERE id = ?;

-- name: runs
-- All runs as they stand, the latest first.
SELECT id, kind, source, destination, account, priority, options, fingerprint, reopen, state, reason, created, changed,
       loaded, position, read, delivered, unchanged, dead, skipped, pending, requests, rate_limited, retries
FROM run ORDER BY number DESC;

-- name: latest_unfinished
-- The run that `resume` without a name means.
SELECT id FROM run WHERE state NOT IN ('done', 'partial') ORDER BY number DESC LIMIT 1;

-- name: set_state
-- What the run does now, or why it stopped.
UPDATE run SET state = ?, reason = ?, changed = ? WHERE number = ?;

-- name: set_identity
-- Whose account the run sends to, now that the platform has told.
UPDATE run SET options = json_set(options, '$.identity', ?), changed = ? WHERE number = ?;

-- name: count
-- Add to what the run has spent.
UPDATE run
SET requests = requests + ?, rate_limited = rate_limited + ?, retries = retries + ?
WHERE number = ?;

-- name: ledger
-- The books, as every transaction kept them.
SELECT read, delivered, unchanged, dead, skipped, pending FROM run WHERE number = ?;

-- name: audit
-- The books, counted anew from the records.
SELECT count(*),
       coalesce(sum(state = 2), 0), coalesce(sum(state = 3), 0), coalesce(sum(state = 4), 0),
       coalesce(sum(state = 5), 0), coalesce(sum(state IN (0, 1)), 0)
FROM record
WHERE id BETWEEN (SELECT first_record FROM run WHERE number = :run) AND (SELECT last_record FROM run WHERE number = :run)
  AND run = :run;

-- name: lock_holder
-- Who works on the run.
SELECT pid, start, host, holder, since, beat FROM run_lock WHERE run = ?;

-- name: take_lock
-- Work on the run from now on.
INSERT OR REPLACE INTO run_lock (run, pid, start, host, holder, since, beat) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: beat_lock
-- Say that the work goes on.
UPDATE run_lock SET beat = ? WHERE run = ? AND holder = ?;

-- name: release_lock
-- Leave the run to others.
DELETE FROM run_lock WHERE run = ? AND holder = ?;

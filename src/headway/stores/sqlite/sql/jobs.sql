-- name: create_job
-- A delivery of several calls begins.
INSERT INTO job (run, token, state, payload, created, changed) VALUES (?, ?, 'open', ?, ?, ?);

-- name: carry
-- The records of a claim travel in a job from now on.
UPDATE claim SET job = ?, lease_until = ? WHERE token = ? AND run = ? AND job IS NULL;

-- name: update_job
-- What the job needs to go on.
UPDATE job SET payload = ?, changed = ? WHERE id = ? AND token = ? AND state = 'open';

-- name: job
-- One job.
SELECT job.id, run.id, job.token, job.state, job.payload, job.created, job.changed
FROM job JOIN run ON run.number = job.run WHERE job.id = ?;

-- name: jobs
-- The jobs of a run, oldest first.
SELECT job.id, run.id, job.token, job.state, job.payload, job.created, job.changed
FROM run CROSS JOIN job ON job.run = run.number
WHERE run.id = :run AND (:state IS NULL OR job.state = :state)
ORDER BY job.id;

-- name: job_claim
-- The lease that a job carries.
SELECT c.token, c.run, c.pid, c.start, c.host, c.holder, c.lease_until, c.left, c.ids
FROM job CROSS JOIN claim AS c ON c.token = job.token
WHERE job.id = ? AND job.state = 'open';

-- name: add_taken_claim
-- The lease of a job that another process began.
INSERT INTO claim (run, owner, pid, start, host, holder, claimed, lease_until, job, left, ids)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: drop_claim
-- Void the token of the process that had the job before.
DELETE FROM claim WHERE token = ?;

-- name: take_records
-- The job's records follow the new token; their attempt is still the same.
UPDATE record SET token = :new
WHERE state = 1 AND token = :old AND id IN (SELECT value FROM json_each(:ids));

-- name: take_job
-- The job follows the new token.
UPDATE job SET token = ?, changed = ? WHERE id = ?;

-- name: job_records
-- The records of a job that are not settled yet, in the order in which they were claimed.
SELECT r.id, c.key, c.payload, r.grp, r.attempts, r.part, r.unknown
FROM json_each(:ids) AS each
CROSS JOIN record AS r ON r.id = each.value
CROSS JOIN content AS c ON c.id = r.id
WHERE r.state = 1 AND r.token = :token;

-- name: cache_get
-- What a destination said, if not too long ago; a future instant means that the clock was set back.
SELECT value FROM cache WHERE kind = :kind AND key = :key AND at > :now - :max_age AND at <= :now;

-- name: cache_put
-- Remember what a destination said.
INSERT INTO cache (kind, key, value, at) VALUES (?, ?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, at = excluded.at;

-- name: cache_forget
-- Forget what a destination said.
DELETE FROM cache WHERE kind = ? AND key = ?;

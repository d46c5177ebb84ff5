-- name: due_head
-- The record that has been due longest: its group and part travel now.
SELECT grp, part FROM record
WHERE run = ? AND state = 0 AND not_before > 0 AND not_before <= ?
ORDER BY not_before, id LIMIT 1;

-- name: fresh_head
-- The first group with records that were never sent.
SELECT grp FROM record WHERE run = ? AND state = 0 AND not_before = 0 ORDER BY grp, id LIMIT 1;

-- name: due
-- Records of one group and part that are due, longest first.
SELECT r.id, c.key, c.payload, r.grp, r.attempts + 1, r.part, r.unknown, r.size
FROM record AS r CROSS JOIN content AS c ON c.id = r.id
WHERE r.run = ? AND r.grp = ? AND r.part = ? AND r.state = 0 AND r.not_before > 0 AND r.not_before <= ?
ORDER BY r.not_before, r.id LIMIT ?;

-- name: fresh
-- Records of one group that were never sent, oldest first.
SELECT r.id, c.key, c.payload, r.grp, r.attempts + 1, r.part, r.unknown, r.size
FROM record AS r CROSS JOIN content AS c ON c.id = r.id
WHERE r.run = ? AND r.grp = ? AND r.state = 0 AND r.not_before = 0
ORDER BY r.id LIMIT ?;

-- name: add_claim
-- The lease of a batch; its rowid is the fencing token.
INSERT INTO claim (run, owner, pid, start, host, holder, claimed, lease_until, left, ids)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: lease
-- The attempt is noted before it is made.
UPDATE record SET state = 1, token = ?, attempts = attempts + 1
WHERE id IN (SELECT value FROM json_each(?));

-- name: claim_left
-- Whether the claim is still held, and of how many records.
SELECT left, job FROM claim WHERE token = ? AND run = ?;

-- name: renew
-- Hold the claim for longer.
UPDATE claim SET lease_until = ? WHERE token = ? AND run = ?;

-- name: deliver
-- The destination has the record.
UPDATE record SET state = 2, remote_id = ?, settled = ?, code = '', message = ''
WHERE id = ? AND token = ? AND state = 1;

-- name: bury
-- The record is given up.
UPDATE record SET state = 4, letter = 1, settled = ?, code = ?, message = ?
WHERE id = ? AND token = ? AND state = 1;

-- name: put_back
-- The record is to be sent again.
UPDATE record
SET state = 0, not_before = ?, code = ?, message = ?, part = ?, attempts = attempts - ?, unknown = max(unknown, ?)
WHERE id = ? AND token = ? AND state = 1;

-- name: add_attempt
-- A delivery that did not succeed.
INSERT INTO attempt (record, token, at, status, code, message, request_id) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: settle_claim
-- Records of the claim have been settled.
UPDATE claim SET left = left - ? WHERE token = ?;

-- name: end_claim
-- All records of the claim have been settled.
DELETE FROM claim WHERE token = ?;

-- name: end_job
-- All records of the job have been settled.
UPDATE job SET state = 'finished', changed = ? WHERE id = ?;

-- name: book_finish
-- The books, in the transaction of the outcomes.
UPDATE run SET delivered = delivered + :delivered, dead = dead + :dead, pending = pending - :delivered - :dead
WHERE number = :run;

-- name: unlease
-- The batch was certainly not sent: it goes back to where it was.
UPDATE record SET state = 0, attempts = attempts - 1
WHERE state = 1 AND token = :token
  AND id IN (SELECT value FROM json_each((SELECT ids FROM claim WHERE token = :token)));

-- name: claims
-- The leases of a run that no open job carries.
SELECT token, pid, start, host, holder, lease_until FROM claim WHERE run = ? AND job IS NULL ORDER BY token;

-- name: note_unknown
-- An attempt of which nobody knows how it ended.
INSERT INTO attempt (record, token, at, status, code, message, request_id)
SELECT r.id, :token, :now, 0, :code, :message, ''
FROM json_each((SELECT ids FROM claim WHERE token = :token)) AS each CROSS JOIN record AS r ON r.id = each.value
WHERE r.state = 1 AND r.token = :token;

-- name: recover_ready
-- Outcome unknown, safe to repeat: to be sent again.
UPDATE record SET state = 0, not_before = :now, unknown = 1, code = :code, message = :message
WHERE state = 1 AND token = :token
  AND id IN (SELECT value FROM json_each((SELECT ids FROM claim WHERE token = :token)));

-- name: recover_dead
-- Outcome unknown, and sending it again might do it twice: a dead letter.
UPDATE record SET state = 4, letter = 1, settled = :now, unknown = 1, code = :code, message = :message
WHERE state = 1 AND token = :token
  AND id IN (SELECT value FROM json_each((SELECT ids FROM claim WHERE token = :token)));

-- name: next_due
-- When the next record that came back may travel.
SELECT not_before FROM record WHERE run = ? AND state = 0 AND not_before > 0 ORDER BY not_before, id LIMIT 1;

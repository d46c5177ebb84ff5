-- Records as the queue.
--
-- What never changes (content) and what changes with every step (record) are apart: a step rewrites 50 bytes instead of
-- the payload, and a look over all records of a run reads 5 % of the file.
--
-- States of a record: 0 ready, 1 leased, 2 delivered, 3 unchanged, 4 dead, 5 skipped.
-- Instants are Unix seconds.

CREATE TABLE run (
    number        INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,
    source        TEXT NOT NULL,
    destination   TEXT NOT NULL,
    account       TEXT NOT NULL,
    priority      TEXT NOT NULL,
    options       TEXT NOT NULL,               -- JSON
    fingerprint   TEXT NOT NULL,
    reopen        TEXT NOT NULL,
    state         TEXT NOT NULL,
    reason        TEXT NOT NULL DEFAULT '',
    created       REAL NOT NULL,
    changed       REAL NOT NULL,
    duplicates    TEXT NOT NULL DEFAULT 'last',
    position      TEXT,                        -- where the source is to be read on, as of the last load
    loaded        INTEGER NOT NULL DEFAULT 0,  -- the source was read to its end
    keyless       INTEGER NOT NULL DEFAULT 0,  -- rows without a key, and rows that cannot be sent
    first_record  INTEGER,                     -- all records of the run lie between these two
    last_record   INTEGER,
    read          INTEGER NOT NULL DEFAULT 0,
    delivered     INTEGER NOT NULL DEFAULT 0,
    unchanged     INTEGER NOT NULL DEFAULT 0,
    dead          INTEGER NOT NULL DEFAULT 0,
    skipped       INTEGER NOT NULL DEFAULT 0,
    pending       INTEGER NOT NULL DEFAULT 0,
    requests      INTEGER NOT NULL DEFAULT 0,
    rate_limited  INTEGER NOT NULL DEFAULT 0,
    retries       INTEGER NOT NULL DEFAULT 0,
    CHECK (read = delivered + unchanged + dead + skipped + pending),
    CHECK (min(delivered, unchanged, dead, skipped, pending) >= 0)
) STRICT;

-- Which process works on a run.
CREATE TABLE run_lock (
    run    INTEGER PRIMARY KEY REFERENCES run (number),
    pid    INTEGER NOT NULL,
    start  TEXT NOT NULL,                      -- of the process: tells it from a later one with its number
    host   TEXT NOT NULL,
    holder TEXT NOT NULL,                      -- the store object within the process
    since  REAL NOT NULL,
    beat   REAL NOT NULL
) STRICT;

CREATE TABLE content (
    id       INTEGER PRIMARY KEY,
    run      INTEGER NOT NULL,
    key      TEXT NOT NULL,
    line     INTEGER NOT NULL,
    payload  BLOB NOT NULL,                    -- empty: the row could not be read, it can never be sent
    original BLOB                              -- NULL: the same as the payload
) STRICT;

CREATE TABLE record (
    id         INTEGER PRIMARY KEY,            -- that of its content
    run        INTEGER NOT NULL,
    grp        TEXT NOT NULL,
    size       INTEGER NOT NULL,
    state      INTEGER NOT NULL DEFAULT 0,
    attempts   INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,        -- 0: never came back from a delivery
    token      INTEGER NOT NULL DEFAULT 0,
    part       INTEGER NOT NULL DEFAULT 0,
    unknown    INTEGER NOT NULL DEFAULT 0,
    letter     INTEGER NOT NULL DEFAULT 0,     -- of a dead record: 1 open, 2 replayed, 3 dropped
    origin     INTEGER NOT NULL DEFAULT 0,     -- the dead record that this one is a replay of
    settled    REAL NOT NULL DEFAULT 0,
    remote_id  TEXT NOT NULL DEFAULT '',
    code       TEXT NOT NULL DEFAULT '',
    message    TEXT NOT NULL DEFAULT ''
) STRICT;

-- What was never sent, in the order of sending: group by group, oldest first.
CREATE INDEX record_fresh ON record (run, grp, id) WHERE state = 0 AND not_before = 0;

-- What waits to be sent again: who is due first, and who may travel with it.
CREATE INDEX record_due ON record (run, not_before, id) WHERE state = 0 AND not_before > 0;
CREATE INDEX record_due_together ON record (run, grp, part, not_before, id) WHERE state = 0 AND not_before > 0;

-- Dead letters that nobody has replayed or dropped.
CREATE INDEX record_letter ON record (id) WHERE state = 4 AND letter = 1;

-- Which record a key means. Rank 0 is the one that is sent: no run sends two of one key. The others have their id as
-- rank. Filled in the order of the keys when a run is loaded: random inserts would cost five times as much.
CREATE TABLE keyed (
    run  INTEGER NOT NULL,
    key  TEXT NOT NULL,
    rank INTEGER NOT NULL,
    id   INTEGER NOT NULL,
    PRIMARY KEY (run, key, rank)
) STRICT, WITHOUT ROWID;

-- The leases: one row for each delivery under way.
CREATE TABLE claim (
    token       INTEGER PRIMARY KEY AUTOINCREMENT, -- the fencing token: never given twice
    run         INTEGER NOT NULL,
    owner       TEXT NOT NULL,
    pid         INTEGER NOT NULL,
    start       TEXT NOT NULL,
    host        TEXT NOT NULL,
    holder      TEXT NOT NULL,
    claimed     REAL NOT NULL,
    lease_until REAL NOT NULL,
    job         INTEGER,
    left        INTEGER NOT NULL,                  -- records that are not settled yet
    ids         TEXT NOT NULL                  -- of its records, as JSON
) STRICT;

CREATE INDEX claim_run ON claim (run);

-- Every attempt that did not deliver its record.
CREATE TABLE attempt (
    record     INTEGER NOT NULL,
    token      INTEGER NOT NULL,
    at         REAL NOT NULL,
    status     INTEGER NOT NULL,
    code       TEXT NOT NULL,
    message    TEXT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (record, token)
) STRICT, WITHOUT ROWID;

-- Deliveries of several calls. The lease of the records of an open job lives with the job, not with a process.
CREATE TABLE job (
    id      INTEGER PRIMARY KEY,
    run     INTEGER NOT NULL REFERENCES run (number),
    token   INTEGER NOT NULL,
    state   TEXT NOT NULL,                     -- open, finished
    payload BLOB NOT NULL,
    created REAL NOT NULL,
    changed REAL NOT NULL
) STRICT;

CREATE INDEX job_run ON job (run, id);

-- What destinations said of themselves (identity, schema).
CREATE TABLE cache (
    kind  TEXT NOT NULL,
    key   TEXT NOT NULL,
    value BLOB NOT NULL,
    at    REAL NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

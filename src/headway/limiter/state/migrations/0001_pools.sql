-- The shared state of every limit of this user, one row a limit: what was lent to whom, what cools until when.
CREATE TABLE pools (
    key TEXT PRIMARY KEY,
    body TEXT NOT NULL
) WITHOUT ROWID;

-- The keeper's clock, one row: it goes on from `now` by the monotonic clock within a boot, by the wall clock over one.
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    boot TEXT NOT NULL,
    monotonic INTEGER NOT NULL,
    wall INTEGER NOT NULL,
    now INTEGER NOT NULL,
    suspect INTEGER NOT NULL  -- `now` when the file was made while living processes had used another, else 0
);

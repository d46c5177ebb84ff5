CREATE TABLE tasks (
  id INTEGER PRIMARY KEY,
  pool TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('ready', 'leased', 'dead')),
  key TEXT NOT NULL,
  task TEXT NOT NULL,
  priority TEXT NOT NULL,
  cost INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  retries INTEGER NOT NULL DEFAULT 0,
  error TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  at REAL NOT NULL
) STRICT;
CREATE INDEX tasks_of_pool ON tasks (pool, state, id);

-- People at the server: who is logged in, what was begun on the way to that, and who looked at what.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  person TEXT NOT NULL,
  csrf TEXT NOT NULL,
  created {real} NOT NULL,
  seen {real} NOT NULL
);
CREATE INDEX sessions_seen ON sessions (seen);

CREATE TABLE logins (
  id TEXT PRIMARY KEY,
  document TEXT NOT NULL,
  expires {real} NOT NULL
);

CREATE TABLE views (
  id {identity},
  run TEXT NOT NULL,
  who TEXT NOT NULL,
  via TEXT NOT NULL,
  address TEXT NOT NULL,
  what TEXT NOT NULL,
  at {real} NOT NULL
);
CREATE INDEX views_run ON views (run, id);

-- What other systems are told of runs, each once.
CREATE TABLE deliveries (
  id TEXT PRIMARY KEY,
  webhook TEXT NOT NULL,
  run TEXT NOT NULL,
  document TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  due {real} NOT NULL,
  error TEXT NOT NULL
);
CREATE INDEX deliveries_due ON deliveries (state, due);

-- Lists of runs, page by page.
CREATE INDEX runs_page ON runs (started, id);
CREATE INDEX runs_runbook ON runs (runbook, started, id);
CREATE INDEX runs_state ON runs (state, started, id);
CREATE INDEX runs_ticket ON runs (ticket, started, id);
CREATE INDEX runs_ended ON runs (ended);
DROP INDEX runs_started;

-- Runs that somebody asked for and that a server is to begin, oldest first. ``once`` names what may be asked for once only.
CREATE TABLE requests (
  number {identity},
  id TEXT NOT NULL UNIQUE,
  runbook TEXT NOT NULL,
  document TEXT NOT NULL,
  executor TEXT NOT NULL,
  state TEXT NOT NULL,
  error TEXT NOT NULL,
  once TEXT UNIQUE,
  asked {real} NOT NULL,
  changed {real} NOT NULL
);
CREATE INDEX requests_state ON requests (state, number);

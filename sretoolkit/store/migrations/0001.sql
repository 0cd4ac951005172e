CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

-- What one sees of a run at a glance. The truth about it is in its entries.
CREATE TABLE runs (
  id TEXT PRIMARY KEY,
  runbook TEXT NOT NULL,
  runbook_hash TEXT,
  parameters TEXT NOT NULL,
  actor TEXT NOT NULL,
  origin TEXT NOT NULL,
  process TEXT NOT NULL,
  mode TEXT NOT NULL,
  state TEXT NOT NULL,
  ticket TEXT NOT NULL,
  plan_hash TEXT,
  undoes TEXT,
  progress TEXT NOT NULL,
  error TEXT NOT NULL,
  exit_code INTEGER,
  notebook TEXT,
  html TEXT,
  started {real} NOT NULL,
  ended {real},
  heartbeat {real} NOT NULL,
  bound INTEGER NOT NULL
);
CREATE INDEX runs_started ON runs (started);
CREATE INDEX runs_unbound ON runs (bound) WHERE bound = 0;

CREATE TABLE touched (run TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (run, target));
CREATE INDEX touched_target ON touched (target);

CREATE TABLE entries (
  run TEXT NOT NULL,
  seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  body TEXT NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (run, seq)
);

CREATE INDEX entries_pruned ON entries (kind) WHERE kind = 'pruned';

-- The first entries of all runs, in the order of the store's own chain.
CREATE TABLE chain (number INTEGER PRIMARY KEY, run TEXT NOT NULL, hash TEXT NOT NULL);

CREATE TABLE signatures (
  run TEXT NOT NULL,
  seq INTEGER NOT NULL,
  hash TEXT NOT NULL,
  key_id TEXT NOT NULL,
  signature TEXT NOT NULL,
  at {real} NOT NULL,
  PRIMARY KEY (run, seq, key_id)
);

CREATE TABLE leases (
  target TEXT PRIMARY KEY,
  token INTEGER NOT NULL,
  state TEXT NOT NULL,
  run TEXT NOT NULL,
  holder TEXT NOT NULL,
  since {real} NOT NULL,
  expires {real} NOT NULL
);

CREATE TABLE controls (
  id {identity},
  run TEXT NOT NULL,
  verb TEXT NOT NULL,
  subject TEXT NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  at {real} NOT NULL
);
CREATE INDEX controls_run ON controls (run, id);

CREATE TABLE approvals (
  id {identity},
  run TEXT NOT NULL,
  plan_hash TEXT NOT NULL,
  approver TEXT NOT NULL,
  at {real} NOT NULL,
  expires {real} NOT NULL,
  consumed {real}
);
CREATE INDEX approvals_run ON approvals (run);

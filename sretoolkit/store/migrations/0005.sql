-- Runbooks that are run at certain times. ``ticked``: up to there every tick was dealt with; ``due``: when the next one is.
CREATE TABLE schedules (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  document TEXT NOT NULL,
  state TEXT NOT NULL,
  why TEXT NOT NULL,
  ticked {real} NOT NULL,
  due {real} NOT NULL,
  since {real} NOT NULL
);
CREATE INDEX schedules_due ON schedules (state, due);

-- What became of each tick: asked for as a run (then how that ended), queued, skipped or missed.
CREATE TABLE schedule_ticks (
  schedule TEXT NOT NULL,
  tick {real} NOT NULL,
  state TEXT NOT NULL,
  run TEXT NOT NULL,
  why TEXT NOT NULL,
  at {real} NOT NULL,
  PRIMARY KEY (schedule, tick)
);
CREATE INDEX schedule_ticks_state ON schedule_ticks (state);
CREATE INDEX schedule_ticks_run ON schedule_ticks (run);

-- The files of records, where other machines than the one that wrote them read them. ``body`` is packed by zlib.
CREATE TABLE record_files (
  run TEXT NOT NULL,
  name TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  body {bytes} NOT NULL,
  PRIMARY KEY (run, name)
);

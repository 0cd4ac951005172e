-- Runs of a person, and runs that touched a target, page by page.
CREATE INDEX runs_actor ON runs (actor, started, id);
ALTER TABLE touched ADD COLUMN started {real} NOT NULL DEFAULT 0;
UPDATE touched SET started = coalesce((SELECT started FROM runs WHERE id = run), 0);
CREATE INDEX touched_page ON touched (target, started, run);
DROP INDEX touched_target;

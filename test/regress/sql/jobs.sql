-- A backup and what is then known about it. Labels, times and sizes differ from run to run.
SELECT chronos.stanza_create();
-- A second time is no error.
SELECT chronos.stanza_create();
SELECT test, ok, status FROM chronos.check() WHERE test <> 'archive_timeout';

SELECT chronos.backup_now('full', '{"reason": "regression test", "by": "it=self"}') AS full \gset
SELECT :'full' ~ '^\d{8}-\d{6}F$' AS has_label;

-- Queued, then waited for.
SELECT chronos.start_backup('full') AS job \gset
SELECT chronos.wait(:job) AS state;
SELECT chronos.wait(:job, '0') AS state_again;
SELECT chronos.cancel(:job) AS too_late;

SELECT type, state, requested_by = current_user AS by_me, label ~ '^\d{8}-\d{6}F$' AS has_label,
	requested_at <= started_at AND started_at <= finished_at AS times_in_order,
	bytes > 10000000 AS has_bytes, files > 500 AS has_files, error_code, error, hint
FROM chronos.jobs ORDER BY id;
SELECT count(*) AS running FROM chronos.progress;

-- The worker writes the history before it ends.
DO $$ BEGIN
	FOR i IN 1 .. 100 LOOP
		EXIT WHEN (SELECT count(*) = 2 FROM chronos.job_history WHERE finished_at IS NOT NULL);
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
SELECT type, state, label = :'full' AS is_first FROM chronos.job_history ORDER BY id;
SELECT count(*) AS jobs FROM chronos.jobs;

-- The configuration file, with where each value comes from.
SELECT name, source FROM chronos.settings
WHERE scope = 'repository' AND source <> 'default' AND name <> 'pg1-path' ORDER BY name;

-- Jobs of every kind leave the same kind of record.
SELECT chronos.wait(chronos.start_job('expire', '{"dry-run": true}')) AS state;
SELECT chronos.wait(chronos.start_job('maintenance', '{"repo": 1, "upload-age": "2d"}')) AS state;
SELECT chronos.wait(chronos.start_job('incr', '{"annotation": {"by": "job", "for": "a test"}, "start-fast": true}'))
	AS state;
SELECT chronos.wait(chronos.start_job('expire', '{"repo": 7}')) AS state;
SELECT type, state, label IS NOT NULL AS has_label, error_code, error
FROM chronos.jobs ORDER BY id DESC LIMIT 4;
SELECT annotation FROM chronos.backups ORDER BY label DESC LIMIT 1;

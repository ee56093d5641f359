-- What the repository says about the backups of the test before.
SELECT label AS full FROM chronos.jobs ORDER BY id LIMIT 1 \gset
SELECT label AS base FROM chronos.jobs ORDER BY id DESC LIMIT 1 \gset
SELECT chronos.backup_now('diff') AS diff \gset
SELECT label = :'full' AS is_first, type, stanza, repo_key, prior = :'base' AS has_prior,
	reference = ARRAY[:'base'] AS has_reference,
	started_at <= finished_at AS times_in_order, duration >= '0' AS has_duration,
	wal_start ~ '^[0-9A-F]{24}$' AS has_wal, lsn_start < lsn_stop AS has_lsn,
	size > 10000000 AS has_size, delta = size AS all_new, repo_delta > 0 AS has_repo_size,
	page_errors, pg_version::int = current_setting('server_version_num')::int / 10000 AS this_version,
	system_id = (SELECT system_identifier FROM pg_control_system()) AS this_system, format
FROM chronos.backups ORDER BY label;
SELECT annotation, jsonb_path_query_array(databases, '$[*].name') AS databases, tablespaces, page_error_files
FROM chronos.backup_info(:'full');
-- A label that is in no repository.
SELECT count(*) FROM chronos.backup_info('20010101-000000F');

-- All of it is read back; the next time what is new.
SELECT status, repo_key, place, file, problem, message ~ 'backups with \d+ files' AS has_message, consequence
FROM chronos.verify();
SELECT status FROM chronos.verify('latest,oldest', "full" => true);
SELECT * FROM chronos.verify('20200101-000000F');
SELECT * FROM chronos.verify('next');
SELECT * FROM chronos.verify('--config=/etc/passwd');
SELECT test, status FROM chronos.check() WHERE test ~ 'verify';
-- What it takes and costs.
SELECT repo_key, stanza, area, objects > 0 AS objects, bytes > 0 AS bytes
	FROM chronos.repo_usage() WHERE area = 'backup' AND item = :'full';
INSERT INTO chronos.storage_prices VALUES (1, '', 'EUR', 1000);
SELECT repo_key, storage_class, currency, per_month > 0 AS priced, repo_written_30_days > 0 AS written
	FROM chronos.costs;
DELETE FROM chronos.storage_prices;

-- The first of its type has nothing to be compared with.
SELECT type, delta > 0 AS delta, stored_ratio BETWEEN 0 AND 1 AS ratio, delta_times_usual IS NULL AS first
	FROM chronos.backup_changes WHERE label = :'full';

\echo Use "CREATE EXTENSION chronos_backup" to load this file. \quit

-- Roles belong to the cluster, this script runs in one database: another one may have made them.
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'chronos_monitor') THEN
		CREATE ROLE chronos_monitor NOLOGIN;
		COMMENT ON ROLE chronos_monitor IS 'may look at backups, jobs and settings of chronos_backup';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'chronos_operator') THEN
		CREATE ROLE chronos_operator NOLOGIN;
		COMMENT ON ROLE chronos_operator IS 'may start and cancel jobs of chronos_backup';
	END IF;
	GRANT chronos_monitor TO chronos_operator;
	GRANT chronos_monitor TO pg_monitor;
END
$$;

COMMENT ON SCHEMA chronos IS 'physical backup and point-in-time recovery inside the server';

-- Jobs

CREATE TABLE chronos.job_history (
	id bigint NOT NULL,
	type text NOT NULL,
	state text NOT NULL,
	requested_by text NOT NULL,
	requested_at timestamptz NOT NULL,
	started_at timestamptz,
	finished_at timestamptz,
	label text,
	bytes bigint,
	files bigint,
	error_code integer,
	error text,
	hint text,
	-- Numbers may begin again where the history was not readable: the time tells such jobs apart.
	PRIMARY KEY (id, requested_at)
);
COMMENT ON TABLE chronos.job_history IS
	'finished jobs; written by job workers in the database chronos.database';

CREATE FUNCTION chronos.start_backup(type text DEFAULT 'full', annotations jsonb DEFAULT NULL)
	RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_start_backup';
COMMENT ON FUNCTION chronos.start_backup(text, jsonb) IS
	'queue a full, diff or incr backup and return its job number; follow it in chronos.jobs';

CREATE FUNCTION chronos.backup_now(type text DEFAULT 'full', annotations jsonb DEFAULT NULL)
	RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_backup_now';
COMMENT ON FUNCTION chronos.backup_now(text, jsonb) IS
	'take a full, diff or incr backup and return its label; cancelling the query cancels the backup';

CREATE FUNCTION chronos.start_job(type text, options jsonb DEFAULT NULL)
	RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_start_job';
COMMENT ON FUNCTION chronos.start_job(text, jsonb) IS
	'queue a job - full, diff, incr, verify, expire, maintenance, drill - and return its number; follow it in chronos.jobs';

CREATE FUNCTION chronos.wait(job bigint, timeout interval DEFAULT NULL)
	RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_wait';
COMMENT ON FUNCTION chronos.wait(bigint, interval) IS
	'wait until a job is finished, or for the given time, and return its state';

CREATE FUNCTION chronos.cancel(job bigint)
	RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_cancel';
COMMENT ON FUNCTION chronos.cancel(bigint) IS
	'ask a job to end; false if it was finished already';

CREATE FUNCTION chronos.current_jobs(
		OUT id bigint, OUT type text, OUT state text, OUT requested_by text,
		OUT requested_at timestamptz, OUT started_at timestamptz, OUT finished_at timestamptz,
		OUT label text, OUT bytes bigint, OUT files bigint,
		OUT error_code integer, OUT error text, OUT hint text,
		OUT phase text, OUT phase_started_at timestamptz, OUT bytes_total bigint, OUT files_total bigint,
		OUT worker_pid integer)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'chronos_current_jobs';
COMMENT ON FUNCTION chronos.current_jobs() IS
	'jobs in shared memory: waiting, running and recently finished ones; what chronos.jobs is made of';

CREATE VIEW chronos.jobs AS
	SELECT id, type, state, requested_by, requested_at, started_at, finished_at, label, bytes, files,
		error_code, error, hint
	FROM chronos.current_jobs()
	UNION ALL
	SELECT id, type, state, requested_by, requested_at, started_at, finished_at, label, bytes, files,
		error_code, error, hint
	FROM chronos.job_history AS recorded
	WHERE NOT EXISTS (
		SELECT FROM chronos.current_jobs() AS job
		WHERE job.id = recorded.id AND job.requested_at = recorded.requested_at);
COMMENT ON VIEW chronos.jobs IS 'every job: waiting, running and finished, with its outcome';

CREATE VIEW chronos.progress AS
	SELECT id, type, phase,
		bytes AS bytes_done, bytes_total,
		CASE WHEN bytes_total > 0 THEN round(100.0 * bytes / bytes_total, 1) END AS percent,
		files AS files_done, files_total,
		CASE WHEN seconds > 0 THEN (bytes / seconds)::bigint END AS bytes_per_second,
		CASE WHEN bytes > 0 AND bytes_total >= bytes
			THEN make_interval(secs => (seconds * (bytes_total - bytes) / bytes)::double precision) END AS eta,
		clock_timestamp() - started_at AS elapsed,
		worker_pid
	FROM chronos.current_jobs(),
		LATERAL (SELECT extract(epoch FROM clock_timestamp() - phase_started_at) AS seconds) AS phase_age
	WHERE state = 'running';
COMMENT ON VIEW chronos.progress IS
	'running jobs: phase, amount done, rate since the phase began, and the time left at that rate';

-- Repository

CREATE FUNCTION chronos.repository_info(label text DEFAULT NULL)
	RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_repository_info';
COMMENT ON FUNCTION chronos.repository_info(text) IS
	'what "chronos info --output=json" prints, for one backup with --set';

CREATE FUNCTION chronos.backup_info(label text DEFAULT NULL,
		OUT stanza text, OUT repo_key integer, OUT backup_label text, OUT type text, OUT prior text,
		OUT reference text[], OUT started_at timestamptz, OUT finished_at timestamptz,
		OUT wal_start text, OUT wal_stop text, OUT lsn_start pg_lsn, OUT lsn_stop pg_lsn,
		OUT size bigint, OUT delta bigint, OUT repo_size bigint, OUT repo_delta bigint,
		OUT repo_size_map bigint, OUT repo_delta_map bigint,
		OUT page_errors boolean, OUT annotation jsonb,
		OUT pg_version text, OUT system_id bigint, OUT db_id integer,
		OUT format integer, OUT backrest_version text,
		OUT databases jsonb, OUT tablespaces jsonb, OUT links jsonb, OUT page_error_files text[])
	RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT stanza->>'name',
		(b->'database'->>'repo-key')::integer,
		b->>'label',
		b->>'type',
		b->>'prior',
		CASE jsonb_typeof(b->'reference')
			WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(b->'reference')) END,
		to_timestamp((b->'timestamp'->>'start')::bigint),
		to_timestamp((b->'timestamp'->>'stop')::bigint),
		b->'archive'->>'start',
		b->'archive'->>'stop',
		(b->'lsn'->>'start')::pg_lsn,
		(b->'lsn'->>'stop')::pg_lsn,
		(b->'info'->>'size')::bigint,
		(b->'info'->>'delta')::bigint,
		(b->'info'->'repository'->>'size')::bigint,
		(b->'info'->'repository'->>'delta')::bigint,
		(b->'info'->'repository'->>'size-map')::bigint,
		(b->'info'->'repository'->>'delta-map')::bigint,
		(b->>'error')::boolean,
		b->'annotation',
		db->>'version',
		(db->>'system-id')::bigint,
		(b->'database'->>'id')::integer,
		(b->'backrest'->>'format')::integer,
		b->'backrest'->>'version',
		nullif(b->'database-ref', 'null'),
		nullif(b->'tablespace', 'null'),
		nullif(b->'link', 'null'),
		CASE jsonb_typeof(b->'error-list')
			WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(b->'error-list')) END
	FROM jsonb_array_elements(chronos.repository_info($1)) AS stanza,
		LATERAL jsonb_array_elements(stanza->'backup') AS b
		LEFT JOIN LATERAL (
			SELECT history FROM jsonb_array_elements(stanza->'db') AS history
			WHERE history->'id' = b->'database'->'id'
				AND history->'repo-key' = b->'database'->'repo-key') AS version(db) ON true
	$$;
COMMENT ON FUNCTION chronos.backup_info(text) IS
	'a row per backup in the repository; for one label also its databases, tablespaces, links and files with page errors';

CREATE VIEW chronos.backups AS
	SELECT backup_label AS label, type, stanza, repo_key, prior, reference, started_at, finished_at,
		finished_at - started_at AS duration, wal_start, wal_stop, lsn_start, lsn_stop,
		size, delta, repo_size, repo_delta, repo_size_map, repo_delta_map, page_errors, annotation,
		pg_version, system_id, db_id, format, backrest_version
	FROM chronos.backup_info();
COMMENT ON VIEW chronos.backups IS 'every backup in the repository, as chronos.backup_info() has it';

CREATE FUNCTION chronos.stanza_create()
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_stanza_create';
COMMENT ON FUNCTION chronos.stanza_create() IS
	'make this cluster''s place in every repository; succeeds if it is there already';

CREATE FUNCTION chronos."check"(
		OUT test text, OUT ok boolean, OUT status text, OUT message text, OUT hint text)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_check';
COMMENT ON FUNCTION chronos."check"() IS
	'test the way of a WAL segment from this server into the repository; a row per test';

-- Settings

CREATE FUNCTION chronos.configuration()
	RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_configuration';
COMMENT ON FUNCTION chronos.configuration() IS
	'what "chronos config-list --output=json" prints: the options of the configuration file, without secrets';

CREATE VIEW chronos.settings AS
	SELECT 'server' AS scope, name, setting AS value, source, short_desc AS description
	FROM pg_catalog.pg_settings WHERE name LIKE 'chronos.%'
	UNION ALL
	SELECT 'repository', name, value, source, description
	FROM pg_catalog.jsonb_to_recordset(chronos.configuration())
		AS option(name text, value text, source text, description text);
COMMENT ON VIEW chronos.settings IS
	'the settings chronos.* of the server and the options of the configuration file, without secrets';

-- Retention and what is written about backups

CREATE FUNCTION chronos.expire_decisions(dry_run boolean, label text)
	RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_expire';
COMMENT ON FUNCTION chronos.expire_decisions(boolean, text) IS
	'what "chronos expire --output=json" prints';

CREATE FUNCTION chronos.expire(dry_run boolean DEFAULT false, label text DEFAULT NULL,
		OUT repo_key int, OUT object text, OUT name text, OUT action text, OUT reason text)
	RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT decision.repo, decision.object, decision.name, decision.action, decision.reason
		FROM pg_catalog.jsonb_to_recordset(chronos.expire_decisions($1, $2))
			AS decision(repo int, object text, name text, action text, reason text);
	END;
COMMENT ON FUNCTION chronos.expire(boolean, text) IS
	'remove what retention no longer wants, or one backup; a row per decision with its reason; a dry run removes nothing';

CREATE FUNCTION chronos.hold(label text, reason text)
	RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_hold';
COMMENT ON FUNCTION chronos.hold(text, text) IS
	'keep a backup, what it depends on and its WAL, whatever retention says';

CREATE FUNCTION chronos.unhold(label text)
	RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_unhold';
COMMENT ON FUNCTION chronos.unhold(text) IS 'end a hold';

CREATE FUNCTION chronos.annotate(label text, key text, value text DEFAULT NULL)
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_annotate';
COMMENT ON FUNCTION chronos.annotate(text, text, text) IS
	'write an annotation of a backup; without a value it is removed';

CREATE FUNCTION chronos.stanza_upgrade()
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_stanza_upgrade';
COMMENT ON FUNCTION chronos.stanza_upgrade() IS
	'after pg_upgrade: make the cluster''s new version known to every repository; old backups stay restorable';

-- Nothing for PUBLIC; chronos_monitor may look, chronos_operator may also run things.

REVOKE ALL ON SCHEMA chronos FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA chronos FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA chronos FROM PUBLIC;
GRANT USAGE ON SCHEMA chronos TO chronos_monitor;
GRANT SELECT ON chronos.job_history, chronos.jobs, chronos.progress, chronos.backups, chronos.settings
	TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.current_jobs(), chronos.repository_info(text),
	chronos.backup_info(text), chronos.configuration(), chronos.wait(bigint, interval) TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.start_job(text, jsonb), chronos.start_backup(text, jsonb),
	chronos.backup_now(text, jsonb),
	chronos.cancel(bigint), chronos.stanza_create(), chronos."check"(),
	chronos.expire_decisions(boolean, text), chronos.expire(boolean, text), chronos.hold(text, text),
	chronos.unhold(text), chronos.annotate(text, text, text), chronos.stanza_upgrade() TO chronos_operator;

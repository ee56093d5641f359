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
	requested_from text,
	requested_at timestamptz NOT NULL,
	schedule text,
	due_at timestamptz,
	attempt integer,
	options text,
	started_at timestamptz,
	finished_at timestamptz,
	label text,
	bytes bigint,
	files bigint,
	phases jsonb,
	error_code integer,
	error text,
	hint text,
	copying jsonb,
	-- Numbers may begin again where the history was not readable: the time tells such jobs apart.
	PRIMARY KEY (id, requested_at)
);
COMMENT ON TABLE chronos.job_history IS
	'jobs that have begun, with who asked for what, when, from where, and what came of it; in the database chronos.database';
SELECT pg_catalog.pg_extension_config_dump('chronos.job_history', '');

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
		OUT worker_pid integer, OUT requested_from text, OUT schedule text, OUT due_at timestamptz,
		OUT attempt integer, OUT options text, OUT phases jsonb, OUT copying jsonb)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'chronos_current_jobs';
COMMENT ON FUNCTION chronos.current_jobs() IS
	'jobs in shared memory: waiting, running and recently finished ones; what chronos.jobs is made of';

CREATE VIEW chronos.jobs AS
	SELECT id, type, state, requested_by, requested_from, requested_at, schedule, due_at, attempt, options,
		started_at, finished_at, label, bytes, files, phases, error_code, error, hint, copying
	FROM chronos.current_jobs()
	UNION ALL
	SELECT id, type, state, requested_by, requested_from, requested_at, schedule, due_at, attempt, options,
		started_at, finished_at, label, bytes, files, phases, error_code, error, hint, copying
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

CREATE VIEW chronos.throughput AS
	SELECT job.id, job.type, job.state, job.label, job.started_at, took.copy_time,
		stage.bytes, stage.stored_bytes,
		(stage.bytes / nullif(took.seconds, 0))::bigint AS bytes_per_second,
		(stage.stored_bytes / nullif(took.seconds, 0))::bigint AS stored_bytes_per_second,
		round(100 * stage.read / thread.seconds, 1) AS read_percent,
		round(100 * stage.compute / thread.seconds, 1) AS compute_percent,
		round(100 * stage.store / thread.seconds, 1) AS store_percent,
		round(100 * stage.clock / thread.seconds, 1) AS clock_percent,
		CASE greatest(stage.read, stage.compute, stage.store, stage.clock)
			WHEN stage.store THEN 'storage' WHEN stage.read THEN 'disk' WHEN stage.compute THEN 'processor'
			ELSE 'clock' END AS slowest,
		make_interval(secs => (job.phases->>'start')::float8) AS checkpoint_time,
		make_interval(secs => (job.phases->>'sync')::float8) AS sync_time,
		make_interval(secs => (job.phases->>'wal')::float8) AS wal_time
	FROM chronos.jobs AS job
		LEFT JOIN chronos.current_jobs() AS running
			ON running.id = job.id AND running.requested_at = job.requested_at AND running.phase = 'copy',
		LATERAL jsonb_to_record(job.copying)
			AS stage(read numeric, compute numeric, store numeric, clock numeric, bytes bigint, stored_bytes bigint),
		LATERAL (SELECT nullif(stage.read + stage.compute + stage.store + stage.clock, 0)) AS thread(seconds),
		LATERAL (SELECT coalesce(make_interval(secs => (job.phases->>'copy')::float8),
			clock_timestamp() - running.phase_started_at)) AS timed(copy_time),
		LATERAL (SELECT timed.copy_time, extract(epoch FROM timed.copy_time)) AS took(copy_time, seconds)
	WHERE job.copying IS NOT NULL;
COMMENT ON VIEW chronos.throughput IS
	'backups, also the running one: bytes per second, and what the copying threads were busy with: reading, computing, storing, waiting for the clock; so which of disk, processor and storage is the slowest';

-- Schedules

CREATE TABLE chronos.schedule_entries (
	name text PRIMARY KEY,
	type text NOT NULL,
	cron text NOT NULL,
	timezone text,
	options jsonb,
	retries integer NOT NULL,
	retry_delay interval NOT NULL,
	enabled boolean NOT NULL,
	created_by text NOT NULL,
	changed_at timestamptz NOT NULL,
	-- Runs up to here have been dealt with; what is due since then is caught up once.
	considered_until timestamptz NOT NULL,
	last_due timestamptz,
	last_job bigint,
	last_requested_at timestamptz,
	attempt integer NOT NULL DEFAULT 0
);
COMMENT ON TABLE chronos.schedule_entries IS
	'what chronos.schedule() has been told, and how far the scheduler has got; look at chronos.schedules';
SELECT pg_catalog.pg_extension_config_dump('chronos.schedule_entries', '');

CREATE FUNCTION chronos.schedules_changed() RETURNS trigger LANGUAGE c
	AS 'MODULE_PATHNAME', 'chronos_schedules_changed';
COMMENT ON FUNCTION chronos.schedules_changed() IS
	'tells the launcher when schedules have changed; also where a dump is restored';
-- Not the columns that the scheduler itself writes.
CREATE TRIGGER schedules_changed
	AFTER INSERT OR DELETE OR TRUNCATE
		OR UPDATE OF name, type, cron, timezone, options, retries, retry_delay, enabled
	ON chronos.schedule_entries EXECUTE FUNCTION chronos.schedules_changed();

CREATE FUNCTION chronos.schedule(name text, type text, cron text, timezone text DEFAULT NULL,
		options jsonb DEFAULT NULL, retries integer DEFAULT 0, retry_delay interval DEFAULT '5 minutes',
		enabled boolean DEFAULT true)
	RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_schedule';
COMMENT ON FUNCTION chronos.schedule(text, text, text, text, jsonb, integer, interval, boolean) IS
	'run a job of the type whenever the cron expression says so; replaces a schedule of that name; returns the next run';

CREATE FUNCTION chronos.unschedule(name text)
	RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_unschedule';
COMMENT ON FUNCTION chronos.unschedule(text) IS 'end a schedule; false if there is none of that name';

CREATE FUNCTION chronos.next_run(cron text, timezone text DEFAULT NULL, after timestamptz DEFAULT NULL)
	RETURNS timestamptz LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chronos_next_run';
COMMENT ON FUNCTION chronos.next_run(text, text, timestamptz) IS
	'when a cron expression comes next after a time, by default from now on';

CREATE VIEW chronos.schedules AS
	SELECT entry.name, entry.type, entry.cron, entry.timezone, entry.options, entry.enabled,
		entry.retries, entry.retry_delay,
		CASE WHEN entry.enabled
			THEN chronos.next_run(entry.cron, entry.timezone, entry.considered_until) END AS next_run,
		entry.last_due, entry.last_job, job.state AS last_state, job.started_at AS last_started_at,
		job.finished_at AS last_finished_at, job.label AS last_label, job.error AS last_error,
		entry.attempt, entry.created_by, entry.changed_at
	FROM chronos.schedule_entries AS entry
		LEFT JOIN chronos.jobs AS job
			ON job.id = entry.last_job AND job.requested_at = entry.last_requested_at;
COMMENT ON VIEW chronos.schedules IS 'every schedule with its next run and what came of the last one';

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

CREATE FUNCTION chronos.verify(label text DEFAULT NULL, "full" boolean DEFAULT false,
		OUT status text, OUT repo_key int, OUT place text, OUT file text, OUT problem text,
		OUT message text, OUT consequence text)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_verify';
COMMENT ON FUNCTION chronos.verify(text, boolean) IS
	'read back what is stored and compare it; a row per finding, or one that says that all can be restored';

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

CREATE FUNCTION chronos.maintenance_actions(dry_run boolean)
	RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_maintenance';
COMMENT ON FUNCTION chronos.maintenance_actions(boolean) IS
	'what "chronos maintenance --output=json" prints';

CREATE FUNCTION chronos.maintenance(dry_run boolean DEFAULT false,
		OUT repo_key int, OUT kind text, OUT object text, OUT since timestamptz, OUT action text)
	RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT done.repo, done.kind, done.object, pg_catalog.to_timestamp(done.since), done.action
		FROM pg_catalog.jsonb_to_recordset(chronos.maintenance_actions($1))
			AS done(repo int, kind text, object text, since bigint, action text);
	END;
COMMENT ON FUNCTION chronos.maintenance(boolean) IS
	'remove what crashed processes have left: uploads in buckets, directories of drills; a row for each; a dry run removes nothing';

CREATE FUNCTION chronos.rekey_actions(repo int, phase text, new_passphrase_file text)
	RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_rekey';
COMMENT ON FUNCTION chronos.rekey_actions(int, text, text) IS
	'what "chronos rekey --output=json" prints';

-- A superuser's: it names a file of the server, and decides who can read the repository.
CREATE FUNCTION chronos.rekey(repo int, phase text DEFAULT NULL, new_passphrase_file text DEFAULT NULL,
		OUT repo_key int, OUT stanza text, OUT name text, OUT action text, OUT reason text)
	RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT file.repo, file.stanza, file.name, file.action, file.reason
		FROM pg_catalog.jsonb_to_recordset(chronos.rekey_actions($1, $2, $3))
			AS file(repo int, stanza text, name text, action text, reason text);
	END;
COMMENT ON FUNCTION chronos.rekey(int, text, text) IS
	'give a repository a new passphrase, in two phases (prepare, finish) or at once; for superusers';

CREATE FUNCTION chronos.stanza_upgrade()
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_stanza_upgrade';
COMMENT ON FUNCTION chronos.stanza_upgrade() IS
	'after pg_upgrade: make the cluster''s new version known to every repository; old backups stay restorable';

-- The archive of WAL

CREATE FUNCTION chronos.wal_report()
	RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_wal_report';
COMMENT ON FUNCTION chronos.wal_report() IS
	'what "chronos archive-get --ls --output=json" prints';

CREATE VIEW chronos.wal_archive AS
	SELECT wal.repo AS repo_key, wal."archive-id" AS archive_id, wal.timeline, wal.state,
		wal.first AS first_wal, wal.last AS last_wal, wal.count AS segments,
		wal."stored-bytes" AS stored_bytes,
		to_timestamp(coalesce(wal."last-stored", wal."dropped-until")) AS last_change,
		origin.parent AS parent_timeline, origin."switch-lsn" AS switch_lsn
	FROM (SELECT chronos.wal_report()) AS asked(report),
		LATERAL (
			SELECT 'stored' AS state, * FROM jsonb_to_recordset(asked.report->'wal')
				AS stored(repo integer, "archive-id" text, timeline bigint, first text, last text,
					count bigint, "stored-bytes" bigint, "last-stored" bigint, "dropped-until" bigint)
			UNION ALL
			SELECT CASE WHEN (missing->>'dropped')::boolean THEN 'dropped' ELSE 'missing' END,
				(missing->>'repo')::integer, missing->>'archive-id', (missing->>'timeline')::bigint,
				missing->>'first', missing->>'last', (missing->>'count')::bigint, NULL, NULL,
				(missing->>'dropped-until')::bigint
			FROM jsonb_array_elements(asked.report->'missing') AS missing) AS wal
		LEFT JOIN LATERAL jsonb_to_recordset(asked.report->'timeline')
			AS origin(repo integer, "archive-id" text, timeline bigint, parent bigint, "switch-lsn" pg_lsn)
			USING (repo, "archive-id", timeline)
	ORDER BY wal.repo, wal."archive-id", wal.first;
COMMENT ON VIEW chronos.wal_archive IS
	'ranges of WAL segments in the repository: stored ones, and those that are missing between them or were dropped';

CREATE VIEW chronos.recovery_windows AS
	SELECT repo AS repo_key, "archive-id" AS archive_id, label, type, timeline,
		to_timestamp("from-time") AS from_time, "from-lsn" AS from_lsn,
		timestamptz 'epoch' + "to-time" * interval '1 microsecond' AS to_time, "to-lsn" AS to_lsn,
		"last-segment" AS last_wal, streamed, ends, "starts-after-gap" AS starts_after_gap
	FROM jsonb_to_recordset(chronos.wal_report()->'window')
		AS recovery(repo integer, "archive-id" text, label text, type text, timeline bigint,
			"from-time" bigint, "from-lsn" pg_lsn, "to-time" bigint, "to-lsn" pg_lsn,
			"last-segment" text, streamed boolean, ends text, "starts-after-gap" boolean);
COMMENT ON VIEW chronos.recovery_windows IS
	'from when to when each backup can be recovered, on each timeline that it leads to';

CREATE FUNCTION chronos.wal_state(
		OUT ready_count bigint, OUT oldest_ready_wal text, OUT ready_since timestamptz,
		OUT archived_until timestamptz, OUT flushed_lsn pg_lsn, OUT archived_lsn pg_lsn,
		OUT wal_directory_bytes bigint, OUT disk_free_bytes bigint, OUT bytes_per_second float8,
		OUT last_error_wal text, OUT last_error text, OUT last_error_hint text, OUT last_error_at timestamptz,
		OUT dropped_count bigint, OUT last_dropped_wal text, OUT last_dropped_at timestamptz,
		OUT streamed_lsn pg_lsn, OUT streamed_at timestamptz,
		OUT stream_error text, OUT stream_error_at timestamptz)
	RETURNS record LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'chronos_wal_state';
COMMENT ON FUNCTION chronos.wal_state() IS
	'what this server knows of the way of its WAL into the repository; what chronos.wal_status is made of';

CREATE VIEW chronos.wal_status AS
	SELECT state.flushed_lsn, state.archived_lsn,
		archiver.last_archived_wal, archiver.last_archived_time AS last_archived_at, archiver.archived_count,
		archiver.last_failed_wal, archiver.last_failed_time AS last_failed_at, archiver.failed_count,
		state.last_error_wal, state.last_error, state.last_error_hint, state.last_error_at,
		state.ready_count AS lag_segments,
		(state.flushed_lsn - state.archived_lsn)::bigint AS lag_bytes,
		CASE WHEN state.ready_count > 0 THEN clock_timestamp() - state.ready_since ELSE interval '0' END AS lag_time,
		state.streamed_lsn, state.streamed_at, state.stream_error, state.stream_error_at,
		exposed.bytes AS exposed_bytes,
		CASE WHEN exposed.bytes = 0 THEN interval '0'
			WHEN exposed.bytes > 0 THEN greatest(clock_timestamp() - greatest(coalesce(state.archived_until,
				archiver.last_archived_time, pg_catalog.pg_postmaster_start_time()), state.streamed_at), interval '0')
		END AS exposed_time,
		state.dropped_count, state.last_dropped_wal, state.last_dropped_at,
		state.wal_directory_bytes, state.disk_free_bytes, state.bytes_per_second,
		CASE WHEN state.bytes_per_second > 0
			THEN make_interval(secs => least(state.disk_free_bytes / state.bytes_per_second, 1e9)) END AS disk_full_in
	FROM chronos.wal_state() AS state, pg_catalog.pg_stat_archiver AS archiver,
		LATERAL (SELECT greatest(state.flushed_lsn - greatest(state.archived_lsn, state.streamed_lsn), 0)::bigint) AS exposed(bytes);
COMMENT ON VIEW chronos.wal_status IS
	'how far archiving is behind in segments, bytes and time, the last failure, what would be lost now, and when pg_wal fills the disk if nothing is archived any more';
CREATE VIEW chronos.backup_changes AS
	WITH backups AS (
		SELECT repo_key, label, type, finished_at, delta, repo_delta,
			repo_delta::numeric / nullif(delta, 0) AS stored_ratio
		FROM chronos.backups
	)
	SELECT b.repo_key, b.label, b.type, b.finished_at, b.delta, b.repo_delta,
		round(b.stored_ratio, 3) AS stored_ratio,
		round(b.delta / nullif(usual.delta, 0)::numeric, 2) AS delta_times_usual,
		round(b.stored_ratio / nullif(usual.stored_ratio, 0)::numeric, 2) AS ratio_times_usual
	FROM backups AS b,
		LATERAL (
			SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY e.delta) AS delta,
				percentile_cont(0.5) WITHIN GROUP (ORDER BY e.stored_ratio) AS stored_ratio
			FROM (
				SELECT delta, stored_ratio FROM backups AS earlier
				WHERE earlier.repo_key = b.repo_key AND earlier.type = b.type AND earlier.label < b.label
				ORDER BY label DESC LIMIT 10) AS e) AS usual;
COMMENT ON VIEW chronos.backup_changes IS
	'how much each backup had to store, and how well that could be compressed, against the median of the ten before it of its type: data that somebody has encrypted is much and does not compress';

-- What the repository costs

CREATE FUNCTION chronos.repository_usage()
	RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_repository_usage';
COMMENT ON FUNCTION chronos.repository_usage() IS 'what "chronos repo-usage --output=json" prints';

CREATE FUNCTION chronos.repo_usage(
		OUT repo_key integer, OUT stanza text, OUT area text, OUT item text, OUT storage_class text,
		OUT objects bigint, OUT bytes bigint)
	RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT usage."repo-key", usage.stanza, usage.area, usage.item, nullif(usage.class, ''),
			usage.objects, usage.bytes
		FROM pg_catalog.jsonb_to_recordset(chronos.repository_usage())
			AS usage("repo-key" integer, stanza text, area text, item text, class text,
				objects bigint, bytes bigint);
	END;
COMMENT ON FUNCTION chronos.repo_usage() IS
	'what each backup and archive of the stanza takes in the repositories, by storage class; lists every object';

CREATE TABLE chronos.storage_prices (
	repo_key integer NOT NULL,
	-- '' where the store has no classes.
	storage_class text NOT NULL DEFAULT '',
	currency text NOT NULL DEFAULT 'USD',
	per_gb_month numeric NOT NULL CHECK (per_gb_month >= 0),
	PRIMARY KEY (repo_key, storage_class)
);
COMMENT ON TABLE chronos.storage_prices IS
	'what 10^9 bytes cost a month in each repository and storage class; yours to fill, what chronos.costs reckons with';
SELECT pg_catalog.pg_extension_config_dump('chronos.storage_prices', '');

CREATE VIEW chronos.costs AS
	WITH used AS (
		SELECT repo_key, coalesce(storage_class, '') AS storage_class, sum(bytes) AS bytes,
			sum(objects) AS objects
		FROM chronos.repo_usage()
		GROUP BY 1, 2
	), grown AS (
		SELECT repo_key, sum(repo_delta) AS bytes
		FROM chronos.backup_info()
		WHERE finished_at > now() - interval '30 days'
		GROUP BY 1
	)
	SELECT used.repo_key, nullif(used.storage_class, '') AS storage_class, used.objects::bigint,
		used.bytes::bigint, prices.currency,
		round(used.bytes / 1e9 * prices.per_gb_month, 2) AS per_month,
		grown.bytes::bigint AS repo_written_30_days
	FROM used
	LEFT JOIN chronos.storage_prices AS prices USING (repo_key, storage_class)
	LEFT JOIN grown USING (repo_key);
COMMENT ON VIEW chronos.costs IS
	'stored bytes by repository and class with their price a month, and what backups of the last 30 days have added to the repository';

-- Health

CREATE TABLE chronos.health_state (
	rule text PRIMARY KEY,
	state text NOT NULL,
	since timestamptz NOT NULL,
	-- What receivers of alerts were last told: they are told again until they have answered.
	announced text NOT NULL
);
COMMENT ON TABLE chronos.health_state IS
	'the last known state of each health rule, so that a restart repeats no alert; written by the health worker in the database chronos.database';

CREATE FUNCTION chronos.health(
		OUT rule text, OUT state text, OUT value text, OUT threshold text, OUT message text, OUT hint text,
		OUT since timestamptz)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_health';
COMMENT ON FUNCTION chronos.health() IS
	'whether backups are what they should be: a row per rule, with its state (ok, unknown, warning, critical)';

CREATE VIEW chronos.health AS SELECT * FROM chronos.health();
COMMENT ON VIEW chronos.health IS 'what chronos.health() returns';

CREATE FUNCTION chronos.metrics(
		OUT name text, OUT labels jsonb, OUT value double precision, OUT type text, OUT help text)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_metrics';
COMMENT ON FUNCTION chronos.metrics() IS
	'the numbers that "chronos serve" offers to Prometheus, with the same names and labels';

CREATE VIEW chronos.metrics AS SELECT * FROM chronos.metrics();
COMMENT ON VIEW chronos.metrics IS 'what chronos.metrics() returns';

-- Restore drills

CREATE FUNCTION chronos.drill(label text DEFAULT NULL, target timestamptz DEFAULT NULL,
		assertions text[] DEFAULT NULL, amcheck boolean DEFAULT false, reason text DEFAULT NULL)
	RETURNS bigint LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	SET timezone = 'UTC'
	BEGIN ATOMIC
		SELECT chronos.start_job('drill', pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
			'set', $1,
			'type', CASE WHEN $2 IS NOT NULL THEN 'time' END,
			'target', pg_catalog.to_char($2, 'YYYY-MM-DD HH24:MI:SS.US') || '+00',
			'assert', pg_catalog.to_jsonb($3),
			'amcheck', CASE WHEN $4 THEN true END,
			'reason', $5)));
	END;
COMMENT ON FUNCTION chronos.drill(text, timestamptz, text[], boolean, text) IS
	'queue a restore drill and return its job number: restore a backup into a scratch directory, start it, ask it, remove it; see chronos.drills';

CREATE FUNCTION chronos.drill_history()
	RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_drill_history';
COMMENT ON FUNCTION chronos.drill_history() IS
	'what "chronos drill --list --output=json" prints: every restore drill on record, with its checks';

CREATE VIEW chronos.drills AS
	SELECT to_timestamp((drill->>'finished')::bigint) AS finished_at,
		(drill->>'passed')::boolean AS passed,
		drill->'failure'->>'phase' AS failed_phase,
		drill->'failure'->>'message' AS error,
		drill->'backup'->>'label' AS label,
		(drill->'backup'->>'repo')::integer AS repo_key,
		drill->>'type' AS type,
		drill->>'target' AS target,
		make_interval(secs => (drill->>'restore-seconds')::double precision) AS restore_time,
		make_interval(secs => (drill->>'recovery-seconds')::double precision) AS recovery_time,
		make_interval(secs => (drill->>'check-seconds')::double precision) AS check_time,
		(drill->'backup'->>'size')::bigint AS size,
		(drill->>'last-commit')::timestamptz AS last_commit,
		(drill->>'last-lsn')::pg_lsn AS last_lsn,
		make_interval(secs => (drill->>'data-age-seconds')::double precision) AS data_age,
		drill->>'server-version' AS server_version,
		drill->'databases' AS databases,
		drill->'checks' AS checks,
		drill->>'reason' AS reason
	FROM jsonb_array_elements(chronos.drill_history()) AS drill;
COMMENT ON VIEW chronos.drills IS
	'every restore drill on record: outcome, times, how new the recovered data were, and the answers to its questions';

-- Who did what

CREATE TABLE chronos.audit_log (
	started_at timestamptz,
	finished_at timestamptz NOT NULL,
	operation text NOT NULL,
	arguments jsonb NOT NULL,
	requested_by text NOT NULL,
	role text,
	requested_from text,
	application text,
	database text,
	pid integer,
	job bigint,
	outcome text NOT NULL,
	sqlstate text,
	message text
);
CREATE INDEX ON chronos.audit_log (finished_at);
COMMENT ON TABLE chronos.audit_log IS
	'who asked for what, when and from where, and how it ended: calls of functions, ends of jobs, changes of schedules and prices; rows are never changed, and go by chronos.prune_audit_log() alone';
SELECT pg_catalog.pg_extension_config_dump('chronos.audit_log', '');

CREATE FUNCTION chronos.audit_log_append_only() RETURNS trigger LANGUAGE c
	AS 'MODULE_PATHNAME', 'chronos_audit_log_append_only';
COMMENT ON FUNCTION chronos.audit_log_append_only() IS 'refuses every change of chronos.audit_log but additions';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON chronos.audit_log
	EXECUTE FUNCTION chronos.audit_log_append_only();
-- Also where session_replication_role is replica.
ALTER TABLE chronos.audit_log ENABLE ALWAYS TRIGGER append_only;

CREATE FUNCTION chronos.audit_change() RETURNS trigger LANGUAGE c
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_audit_change';
COMMENT ON FUNCTION chronos.audit_change() IS
	'records changes of a table in chronos.audit_log, under the names for a change and for a removal';
-- Not the columns that the scheduler itself writes.
CREATE TRIGGER audit_change
	AFTER INSERT OR DELETE
		OR UPDATE OF name, type, cron, timezone, options, retries, retry_delay, enabled
	ON chronos.schedule_entries FOR EACH ROW EXECUTE FUNCTION chronos.audit_change('schedule', 'unschedule');
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON chronos.schedule_entries
	EXECUTE FUNCTION chronos.audit_change('schedule', 'unschedule all');
CREATE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON chronos.storage_prices
	FOR EACH ROW EXECUTE FUNCTION chronos.audit_change('set storage price', 'remove storage price');
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON chronos.storage_prices
	EXECUTE FUNCTION chronos.audit_change('set storage price', 'remove all storage prices');

-- A superuser's, unless granted: whoever is recorded shall not decide for how long.
CREATE FUNCTION chronos.prune_audit_log(older_than interval)
	RETURNS bigint LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_prune_audit_log';
COMMENT ON FUNCTION chronos.prune_audit_log(interval) IS
	'remove what is older from chronos.audit_log, and record that there; returns the number of rows; for superusers';

-- Nothing for PUBLIC; chronos_monitor may look, chronos_operator may also run things.

REVOKE ALL ON SCHEMA chronos FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA chronos FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA chronos FROM PUBLIC;
GRANT USAGE ON SCHEMA chronos TO chronos_monitor;
GRANT SELECT ON chronos.audit_log TO chronos_monitor;
GRANT SELECT ON chronos.backup_changes TO chronos_monitor;
GRANT SELECT ON chronos.backups TO chronos_monitor;
GRANT SELECT ON chronos.costs TO chronos_monitor;
GRANT SELECT ON chronos.drills TO chronos_monitor;
GRANT SELECT ON chronos.health TO chronos_monitor;
GRANT SELECT ON chronos.health_state TO chronos_monitor;
GRANT SELECT ON chronos.job_history TO chronos_monitor;
GRANT SELECT ON chronos.jobs TO chronos_monitor;
GRANT SELECT ON chronos.metrics TO chronos_monitor;
GRANT SELECT ON chronos.progress TO chronos_monitor;
GRANT SELECT ON chronos.recovery_windows TO chronos_monitor;
GRANT SELECT ON chronos.schedule_entries TO chronos_monitor;
GRANT SELECT ON chronos.schedules TO chronos_monitor;
GRANT SELECT ON chronos.settings TO chronos_monitor;
GRANT SELECT ON chronos.storage_prices TO chronos_monitor;
GRANT SELECT ON chronos.throughput TO chronos_monitor;
GRANT SELECT ON chronos.wal_archive TO chronos_monitor;
GRANT SELECT ON chronos.wal_status TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.backup_info(text) TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.configuration() TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.current_jobs() TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.drill_history() TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.health() TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.metrics() TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.next_run(text, text, timestamptz) TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.repo_usage() TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.repository_info(text) TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.repository_usage() TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.wait(bigint, interval) TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.wal_report() TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.wal_state() TO chronos_monitor;
GRANT INSERT, UPDATE, DELETE ON chronos.storage_prices TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos."check"() TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.annotate(text, text, text) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.backup_now(text, jsonb) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.cancel(bigint) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.drill(text, timestamptz, text[], boolean, text) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.expire(boolean, text) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.expire_decisions(boolean, text) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.hold(text, text) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.maintenance(boolean) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.maintenance_actions(boolean) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.schedule(text, text, text, text, jsonb, integer, interval, boolean) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.stanza_create() TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.stanza_upgrade() TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.start_backup(text, jsonb) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.start_job(text, jsonb) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.unhold(text) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.unschedule(text) TO chronos_operator;
GRANT EXECUTE ON FUNCTION chronos.verify(text, boolean) TO chronos_operator;

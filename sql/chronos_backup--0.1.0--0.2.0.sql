\echo Use "ALTER EXTENSION chronos_backup UPDATE" to load this file. \quit

-- What 0.2.0 adds to 0.1.0. CREATE EXTENSION runs both scripts, one after the other, so a new
-- installation and an old one that is updated end with the same objects.

-- Nobody else's

-- Nothing below is looked up in the schema before it is known whose that is: an operator of a stranger's
-- that fits its operands better than the system's own would be called by the superuser who runs this.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Schema and roles may have been there before: made by another database's installation, by an
-- administrator - or by somebody who may create them and would then own what superusers call, or be
-- who may start jobs. What is not ours is refused, before anything is built on it.
DO $$
DECLARE
	-- CREATE EXTENSION, not ALTER EXTENSION UPDATE: this very transaction has made the table.
	fresh constant boolean := (
		SELECT c.xmin::text::bigint = pg_catalog.pg_current_xact_id()::text::bigint % 4294967296
		FROM pg_catalog.pg_class AS c WHERE c.oid = 'chronos.job_history'::pg_catalog.regclass);
	culprit record;
BEGIN
	SELECT o.rolname INTO culprit FROM pg_catalog.pg_namespace AS n
		JOIN pg_catalog.pg_roles AS o ON o.oid = n.nspowner
		WHERE n.nspname = 'chronos' AND NOT o.rolsuper;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_schema_definition',
			MESSAGE = pg_catalog.format('schema "chronos" belongs to %I, who is no superuser', culprit.rolname),
			DETAIL = 'Its owner could put functions of his own beside those of the extension, or drop it with its history.',
			HINT = 'Look what is in it, then DROP SCHEMA chronos, or ALTER SCHEMA chronos OWNER TO a superuser; and try again.';
	END IF;
	SELECT coalesce(g.rolname, 'PUBLIC') AS rolname INTO culprit FROM pg_catalog.pg_namespace AS n,
		LATERAL pg_catalog.aclexplode(n.nspacl) AS acl
		LEFT JOIN pg_catalog.pg_roles AS g ON g.oid = acl.grantee
		WHERE n.nspname = 'chronos' AND acl.privilege_type = 'CREATE' AND coalesce(NOT g.rolsuper, true);
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_schema_definition',
			MESSAGE = pg_catalog.format('%s may create objects in schema "chronos"',
				CASE culprit.rolname WHEN 'PUBLIC' THEN 'PUBLIC' ELSE pg_catalog.quote_ident(culprit.rolname) END),
			HINT = pg_catalog.format('REVOKE CREATE ON SCHEMA chronos FROM %s; look what is in it, and try again.',
				CASE culprit.rolname WHEN 'PUBLIC' THEN 'PUBLIC' ELSE pg_catalog.quote_ident(culprit.rolname) END);
	END IF;
	-- An administrator's own view beside ours is his to keep; a stranger's is not, nor is anything that
	-- was there before us.
	SELECT object.name INTO culprit FROM (
			SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS class, c.oid, c.relowner AS owner, c.oid::pg_catalog.regclass::text AS name
			FROM pg_catalog.pg_class AS c WHERE c.relnamespace = 'chronos'::pg_catalog.regnamespace AND c.relkind NOT IN ('i', 'I', 't', 'c')
			UNION ALL
			SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.proowner, p.oid::pg_catalog.regprocedure::text
			FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = 'chronos'::pg_catalog.regnamespace
			UNION ALL
			SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, p.oid, p.oprowner, p.oid::pg_catalog.regoperator::text
			FROM pg_catalog.pg_operator AS p WHERE p.oprnamespace = 'chronos'::pg_catalog.regnamespace
			UNION ALL
			SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typowner, t.oid::pg_catalog.regtype::text
			FROM pg_catalog.pg_type AS t WHERE t.typnamespace = 'chronos'::pg_catalog.regnamespace
				AND t.typtype IN ('d', 'e', 'r') OR t.typnamespace = 'chronos'::pg_catalog.regnamespace AND t.typtype = 'c'
				AND EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = t.typrelid AND c.relkind = 'c')
		) AS object
		JOIN pg_catalog.pg_roles AS o ON o.oid = object.owner
		WHERE (fresh OR NOT o.rolsuper) AND NOT EXISTS (
			SELECT FROM pg_catalog.pg_depend AS d
			WHERE d.classid = object.class AND d.objid = object.oid AND d.deptype = 'e'
				AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
				AND d.refobjid = (SELECT e.oid FROM pg_catalog.pg_extension AS e WHERE e.extname = 'chronos_backup'))
		LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_schema_definition',
			MESSAGE = pg_catalog.format('%s in schema "chronos" is not of chronos_backup', culprit.name),
			DETAIL = 'Who calls functions of the extension could call this instead.',
			HINT = 'Drop it or move it to another schema, and try again.';
	END IF;
	-- Given away since, as by REASSIGN OWNED when an administrator left: workers write into the tables, and
	-- functions run as their owner.
	SELECT object.name, o.rolname INTO culprit FROM (
			SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS class, c.oid, c.relowner AS owner, c.oid::pg_catalog.regclass::text AS name
			FROM pg_catalog.pg_class AS c
			UNION ALL
			SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.proowner, p.oid::pg_catalog.regprocedure::text
			FROM pg_catalog.pg_proc AS p
		) AS object
		JOIN pg_catalog.pg_roles AS o ON o.oid = object.owner AND NOT o.rolsuper
		JOIN pg_catalog.pg_depend AS d ON d.classid = object.class AND d.objid = object.oid AND d.deptype = 'e'
			AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
		JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'chronos_backup'
		LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_object_definition',
			MESSAGE = pg_catalog.format('%s of chronos_backup belongs to %I, who is no superuser', culprit.name, culprit.rolname),
			DETAIL = 'What its owner puts into it would be run by superusers and by the workers of the extension.',
			HINT = pg_catalog.format('Look what %I has changed in schema chronos, triggers too; then pg_dump its data, '
				'DROP EXTENSION and create it again - or change the owner of each object that the extension has to a superuser.', culprit.rolname);
	END IF;
	SELECT r.rolname INTO culprit FROM pg_catalog.pg_roles AS r
		WHERE r.rolname IN ('chronos_monitor', 'chronos_operator', 'chronos_driller')
			AND (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolcanlogin OR r.rolreplication OR r.rolbypassrls);
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_role_specification',
			MESSAGE = pg_catalog.format('role "%s" is there already, with attributes that a role for privileges must not have', culprit.rolname),
			DETAIL = 'Who can log in as it, or do more by it, could do so without being granted it.',
			HINT = pg_catalog.format('If it is yours: ALTER ROLE %s NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS. '
				'If not, drop it. Then try again.', culprit.rolname);
	END IF;
	-- Only where roles are new to this database: what was granted since the extension is there stays.
	IF NOT fresh THEN
		RETURN;
	END IF;
	SELECT r.rolname, m.rolname AS member INTO culprit FROM pg_catalog.pg_auth_members AS am
		JOIN pg_catalog.pg_roles AS r ON r.oid = am.roleid
		JOIN pg_catalog.pg_roles AS m ON m.oid = am.member
		LEFT JOIN pg_catalog.pg_roles AS g ON g.oid = am.grantor
		WHERE r.rolname IN ('chronos_monitor', 'chronos_operator', 'chronos_driller')
			AND NOT m.rolsuper AND (am.admin_option OR coalesce(NOT g.rolsuper, true))
		LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_role_specification',
			MESSAGE = pg_catalog.format('role "%s" is there already, and no superuser has decided that %I is a member of it',
				culprit.rolname, culprit.member),
			DETAIL = 'Who may create roles could make it beforehand, and so give itself the privileges of the extension.',
			HINT = pg_catalog.format('REVOKE %I FROM %I, or DROP ROLE %I; try again, and grant it then to whom it belongs.',
				culprit.rolname, culprit.member, culprit.rolname);
	END IF;
END
$$;

-- Who may ask a restored cluster questions

DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'chronos_driller') THEN
		CREATE ROLE chronos_driller NOLOGIN;
		COMMENT ON ROLE chronos_driller IS 'may ask questions in restore drills of chronos_backup, which read every table, and all that chronos_operator may';
	END IF;
	GRANT chronos_operator TO chronos_driller;
END
$$;
-- A time that to_char() has no text for, or not all of it, is refused by the drill as what it is.
CREATE OR REPLACE FUNCTION chronos.drill(label text DEFAULT NULL, target timestamptz DEFAULT NULL,
		assertions text[] DEFAULT NULL, amcheck boolean DEFAULT false, reason text DEFAULT NULL)
	RETURNS bigint LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	SET timezone = 'UTC'
	BEGIN ATOMIC
		SELECT chronos.start_job('drill', pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
			'set', $1,
			'type', CASE WHEN $2 IS NOT NULL THEN 'time' END,
			'target', CASE WHEN pg_catalog.isfinite($2)
				THEN pg_catalog.to_char($2, 'YYYY-MM-DD HH24:MI:SS.US') || '+00'
					|| CASE WHEN pg_catalog.date_part('year', $2) < 0 THEN ' BC' ELSE '' END
				ELSE $2::pg_catalog.text END,
			'assert', pg_catalog.to_jsonb($3),
			'amcheck', CASE WHEN $4 THEN true END,
			'reason', $5)));
	END;
COMMENT ON FUNCTION chronos.drill(text, timestamptz, text[], boolean, text) IS
	'queue a restore drill and return its job number: restore a backup into a scratch directory, start it, ask it, remove it; see chronos.drills. Assertions need chronos_driller';
COMMENT ON VIEW chronos.drills IS
	'every restore drill on record: outcome, times, how new the recovered data were, and whether its questions were answered as expected';

-- Progress, by the clock that nobody sets

CREATE FUNCTION chronos.job_times(OUT id bigint, OUT elapsed interval, OUT in_phase interval)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'chronos_job_times';
COMMENT ON FUNCTION chronos.job_times() IS
	'for how long each running job and its phase have lasted, whatever was done to the wall clock; what chronos.progress is made of';
REVOKE ALL ON FUNCTION chronos.job_times() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chronos.job_times() TO chronos_monitor;

CREATE OR REPLACE VIEW chronos.progress AS
	SELECT job.id, job.type, job.phase,
		job.bytes AS bytes_done, job.bytes_total,
		CASE WHEN job.bytes_total > 0 THEN round(100.0 * job.bytes / job.bytes_total, 1) END AS percent,
		job.files AS files_done, job.files_total,
		CASE WHEN seconds > 0 THEN (job.bytes / seconds)::bigint END AS bytes_per_second,
		CASE WHEN job.bytes > 0 AND job.bytes_total >= job.bytes
			THEN make_interval(secs => (seconds * (job.bytes_total - job.bytes) / job.bytes)::double precision) END AS eta,
		times.elapsed,
		job.worker_pid
	FROM chronos.current_jobs() AS job LEFT JOIN chronos.job_times() AS times USING (id),
		LATERAL (SELECT extract(epoch FROM times.in_phase) AS seconds) AS phase_age
	WHERE job.state = 'running';

CREATE OR REPLACE VIEW chronos.throughput AS
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
		LEFT JOIN (chronos.current_jobs() AS running JOIN chronos.job_times() AS times USING (id))
			ON running.id = job.id AND running.requested_at = job.requested_at AND running.phase = 'copy',
		LATERAL jsonb_to_record(job.copying)
			AS stage(read numeric, compute numeric, store numeric, clock numeric, bytes bigint, stored_bytes bigint),
		LATERAL (SELECT nullif(stage.read + stage.compute + stage.store + stage.clock, 0)) AS thread(seconds),
		LATERAL (SELECT coalesce(make_interval(secs => (job.phases->>'copy')::float8), times.in_phase)) AS timed(copy_time),
		LATERAL (SELECT timed.copy_time, extract(epoch FROM timed.copy_time)) AS took(copy_time, seconds)
	WHERE job.copying IS NOT NULL;

-- Schedules that cannot be used hide none of the others

CREATE FUNCTION chronos.schedule_problem(type text, cron text, timezone text)
	RETURNS text LANGUAGE c STABLE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'chronos_schedule_problem';
COMMENT ON FUNCTION chronos.schedule_problem(text, text, text) IS 'why such a schedule can never run; null if it can';
REVOKE ALL ON FUNCTION chronos.schedule_problem(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chronos.schedule_problem(text, text, text) TO chronos_monitor;

CREATE OR REPLACE VIEW chronos.schedules AS
	SELECT entry.name, entry.type, entry.cron, entry.timezone, entry.options, entry.enabled,
		entry.retries, entry.retry_delay,
		CASE WHEN entry.enabled AND problem.text IS NULL
			THEN chronos.next_run(entry.cron, entry.timezone, entry.considered_until) END AS next_run,
		entry.last_due, entry.last_job, job.state AS last_state, job.started_at AS last_started_at,
		job.finished_at AS last_finished_at, job.label AS last_label, coalesce(problem.text, job.error) AS last_error,
		entry.attempt, entry.created_by, entry.changed_at
	FROM chronos.schedule_entries AS entry
		LEFT JOIN chronos.jobs AS job
			ON job.id = entry.last_job AND job.requested_at = entry.last_requested_at
		CROSS JOIN LATERAL (SELECT chronos.schedule_problem(entry.type, entry.cron, entry.timezone)) AS problem(text);

-- Health

CREATE FUNCTION chronos.heartbeats(
		OUT subject text, OUT state text, OUT last_seen interval, OUT late_by interval, OUT message text)
	RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'chronos_heartbeats';
COMMENT ON FUNCTION chronos.heartbeats() IS
	'what has to happen again and again, when it last gave a sign of life, and whether one is missing: ok, idle (nothing is owed), late';
CREATE VIEW chronos.heartbeats AS SELECT * FROM chronos.heartbeats();
COMMENT ON VIEW chronos.heartbeats IS 'what chronos.heartbeats() returns';

REVOKE ALL ON FUNCTION chronos.heartbeats() FROM PUBLIC;
GRANT SELECT ON chronos.heartbeats TO chronos_monitor;
GRANT EXECUTE ON FUNCTION chronos.heartbeats() TO chronos_monitor;

-- Whose a stanza is

CREATE FUNCTION chronos.stanza_claim()
	RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'chronos_stanza_claim';
COMMENT ON FUNCTION chronos.stanza_claim() IS
	'after a move: make this server the one that the stanza belongs to; the former one is refused from then on';
REVOKE ALL ON FUNCTION chronos.stanza_claim() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chronos.stanza_claim() TO chronos_operator;

-- Whatever limits a session has

-- Rows that a function returns are kept in work_mem, and beyond that in a temporary file - which
-- temp_file_limit may forbid, so that somebody with small limits could not even look at settings. It
-- holds for the functions that a view is made of, too.
CREATE FUNCTION chronos.json_items(list jsonb)
	RETURNS SETOF jsonb LANGUAGE sql IMMUTABLE STRICT PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT item FROM pg_catalog.jsonb_array_elements($1) AS item;
	END;
COMMENT ON FUNCTION chronos.json_items(jsonb) IS
	'the elements of a list; what views are made of whose rows come from an engine';
REVOKE ALL ON FUNCTION chronos.json_items(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chronos.json_items(jsonb) TO chronos_monitor;

CREATE FUNCTION chronos.server_settings(OUT name text, OUT value text, OUT source text, OUT description text)
	RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT s.name, s.setting, s.source, s.short_desc
		FROM pg_catalog.pg_settings AS s WHERE s.name LIKE 'chronos.%';
	END;
COMMENT ON FUNCTION chronos.server_settings() IS
	'the settings chronos.* of the server; what chronos.settings is made of';
REVOKE ALL ON FUNCTION chronos.server_settings() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chronos.server_settings() TO chronos_monitor;

CREATE OR REPLACE VIEW chronos.settings AS
	SELECT 'server' AS scope, name, value, source, description FROM chronos.server_settings()
	UNION ALL
	SELECT 'repository', item->>'name', item->>'value', item->>'source', item->>'description'
	FROM chronos.json_items(chronos.configuration()) AS item;

CREATE OR REPLACE VIEW chronos.wal_archive AS
	SELECT wal.repo AS repo_key, wal."archive-id" AS archive_id, wal.timeline, wal.state,
		wal.first AS first_wal, wal.last AS last_wal, wal.count AS segments,
		wal."stored-bytes" AS stored_bytes,
		to_timestamp(coalesce(wal."last-stored", wal."dropped-until")) AS last_change,
		origin.parent AS parent_timeline, origin."switch-lsn" AS switch_lsn
	FROM (SELECT chronos.wal_report()) AS asked(report),
		LATERAL (
			SELECT 'stored' AS state, stored.* FROM chronos.json_items(asked.report->'wal') AS item,
				LATERAL jsonb_to_record(item)
					AS stored(repo integer, "archive-id" text, timeline bigint, first text, last text,
						count bigint, "stored-bytes" bigint, "last-stored" bigint, "dropped-until" bigint)
			UNION ALL
			SELECT CASE WHEN (missing->>'dropped')::boolean THEN 'dropped' ELSE 'missing' END,
				(missing->>'repo')::integer, missing->>'archive-id', (missing->>'timeline')::bigint,
				missing->>'first', missing->>'last', (missing->>'count')::bigint, NULL, NULL,
				(missing->>'dropped-until')::bigint
			FROM chronos.json_items(asked.report->'missing') AS missing) AS wal
		LEFT JOIN LATERAL (
			SELECT (item->>'repo')::integer AS repo, item->>'archive-id' AS "archive-id",
				(item->>'timeline')::bigint AS timeline, (item->>'parent')::bigint AS parent,
				(item->>'switch-lsn')::pg_lsn AS "switch-lsn"
			FROM chronos.json_items(asked.report->'timeline') AS item) AS origin
			USING (repo, "archive-id", timeline)
	ORDER BY wal.repo, wal."archive-id", wal.first;

CREATE OR REPLACE VIEW chronos.recovery_windows AS
	SELECT repo AS repo_key, "archive-id" AS archive_id, label, type, timeline,
		to_timestamp("from-time") AS from_time, "from-lsn" AS from_lsn,
		timestamptz 'epoch' + "to-time" * interval '1 microsecond' AS to_time, "to-lsn" AS to_lsn,
		"last-segment" AS last_wal, streamed, ends, "starts-after-gap" AS starts_after_gap
	FROM chronos.json_items(chronos.wal_report()->'window') AS item,
		LATERAL jsonb_to_record(item)
			AS recovery(repo integer, "archive-id" text, label text, type text, timeline bigint,
				"from-time" bigint, "from-lsn" pg_lsn, "to-time" bigint, "to-lsn" pg_lsn,
				"last-segment" text, streamed boolean, ends text, "starts-after-gap" boolean);

CREATE OR REPLACE VIEW chronos.drills AS
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
	FROM chronos.json_items(chronos.drill_history()) AS drill;

-- Tables of the past

CREATE FUNCTION chronos.recover_table(source text, target timestamptz DEFAULT NULL, before_drop boolean DEFAULT false,
		into_schema text DEFAULT NULL, filter text DEFAULT NULL, database text DEFAULT NULL, label text DEFAULT NULL,
		target_name text DEFAULT NULL, target_lsn pg_lsn DEFAULT NULL, target_xid bigint DEFAULT NULL,
		target_exclusive boolean DEFAULT false, plan boolean DEFAULT false, privileges boolean DEFAULT false,
		with_dependencies boolean DEFAULT false, reason text DEFAULT NULL)
	RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_recover_table';
COMMENT ON FUNCTION chronos.recover_table(text, timestamptz, boolean, text, text, text, text, text, pg_lsn, bigint, boolean, boolean, boolean, boolean, text) IS
	'queue a job that brings a table as it was into a new schema, and return its number; see chronos.recovered_tables. For superusers, and for members of the owner';
REVOKE ALL ON FUNCTION chronos.recover_table(text, timestamptz, boolean, text, text, text, text, text, pg_lsn, bigint, boolean, boolean, boolean, boolean, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chronos.recover_table(text, timestamptz, boolean, text, text, text, text, text, pg_lsn, bigint, boolean, boolean, boolean, boolean, text) TO chronos_operator;

CREATE FUNCTION chronos.recover_table(sources text[], target timestamptz DEFAULT NULL, before_drop boolean DEFAULT false,
		into_schema text DEFAULT NULL, filter text DEFAULT NULL, database text DEFAULT NULL, label text DEFAULT NULL,
		target_name text DEFAULT NULL, target_lsn pg_lsn DEFAULT NULL, target_xid bigint DEFAULT NULL,
		target_exclusive boolean DEFAULT false, plan boolean DEFAULT false, privileges boolean DEFAULT false,
		with_dependencies boolean DEFAULT false, reason text DEFAULT NULL)
	RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_recover_tables';
COMMENT ON FUNCTION chronos.recover_table(text[], timestamptz, boolean, text, text, text, text, text, pg_lsn, bigint, boolean, boolean, boolean, boolean, text) IS
	'the same with several tables of one database, all of one moment';
REVOKE ALL ON FUNCTION chronos.recover_table(text[], timestamptz, boolean, text, text, text, text, text, pg_lsn, bigint, boolean, boolean, boolean, boolean, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chronos.recover_table(text[], timestamptz, boolean, text, text, text, text, text, pg_lsn, bigint, boolean, boolean, boolean, boolean, text) TO chronos_operator;

-- A job: a search asks servers of the past one after the other, which takes seconds or minutes.
CREATE FUNCTION chronos.find_drop(name text, database text DEFAULT NULL,
		OUT dropped_at timestamptz, OUT xid bigint, OUT lsn pg_lsn, OUT label text, OUT job bigint)
	RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_find_drop';
COMMENT ON FUNCTION chronos.find_drop(text, text) IS
	'when a table was dropped, by which transaction, and a backup from before; cancelling the query cancels the search. For superusers, and for members of the owner';
REVOKE ALL ON FUNCTION chronos.find_drop(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chronos.find_drop(text, text) TO chronos_operator;

CREATE TABLE chronos.table_recoveries (
	job bigint NOT NULL,
	requested_at timestamptz NOT NULL,
	finished_at timestamptz NOT NULL,
	report jsonb NOT NULL,
	PRIMARY KEY (job, requested_at)
);
COMMENT ON TABLE chronos.table_recoveries IS
	'what jobs have told that brought tables back or planned to; kept as long as chronos.job_history, in the database chronos.database';
SELECT pg_catalog.pg_extension_config_dump('chronos.table_recoveries', '');
REVOKE ALL ON chronos.table_recoveries FROM PUBLIC;

CREATE VIEW chronos.recovered_tables AS
	SELECT recorded.job, recorded.finished_at, (report->>'plan')::boolean AS planned, report->>'database' AS database,
		item->>'source' AS source,
		CASE WHEN report->>'type' IN ('default', 'immediate') THEN report->>'type'
			ELSE concat_ws(' ', report->>'type', report->>'target') END AS target,
		report->>'backup' AS label,
		item->>'name' AS recovered, item->>'owner' AS owner,
		CASE WHEN NOT (report->>'plan')::boolean THEN (item->>'rows')::bigint END AS rows,
		CASE WHEN NOT (report->>'plan')::boolean THEN (item->>'bytes')::bigint END AS bytes,
		(report->>'fetched-bytes')::bigint AS fetched_bytes,
		make_interval(secs => (report->>'recover-seconds')::double precision) AS recovery_time,
		CASE WHEN NOT (report->>'plan')::boolean
			THEN make_interval(secs => (report->>'copy-seconds')::double precision) END AS copy_time,
		timestamptz 'epoch' + (report->'drop'->>'time-us')::bigint * interval '1 microsecond' AS dropped_at,
		lists.left_out, lists.missing, lists.notes,
		nullif(report->>'reason', '') AS reason
	FROM chronos.table_recoveries AS recorded,
		LATERAL chronos.json_items(report->'tables') AS item,
		LATERAL (SELECT
			ARRAY(SELECT line #>> '{}' FROM chronos.json_items(report->'left-out') AS line) AS left_out,
			ARRAY(SELECT line #>> '{}' FROM chronos.json_items(report->'missing') AS line) AS missing,
			ARRAY(SELECT line #>> '{}' FROM chronos.json_items(report->'notes') AS line) AS notes) AS lists;
COMMENT ON VIEW chronos.recovered_tables IS
	'every table that was brought back from the past, or planned to be: where it is now, of which moment, rows, what it took, and what was left out';
REVOKE ALL ON chronos.recovered_tables FROM PUBLIC;
GRANT SELECT ON chronos.recovered_tables TO chronos_monitor;

-- Mounted backups

CREATE FUNCTION chronos.mount_list()
	RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'chronos_mount_list';
COMMENT ON FUNCTION chronos.mount_list() IS 'what "chronos mounts --output=json" prints; what chronos.mounts is made of';
REVOKE ALL ON FUNCTION chronos.mount_list() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chronos.mount_list() TO chronos_monitor;

CREATE VIEW chronos.mounts AS
	SELECT mount.path, mount.repo AS repo_key, mount.label, mount.state, mount."user", mount.pid,
		to_timestamp(mount.since) AS since, mount.fetches, mount."fetched-bytes" AS fetched_bytes, mount.failures,
		mount."last-failure" AS last_failure, mount."missing-bytes" AS missing_bytes,
		mount."bytes-per-second" AS bytes_per_second, make_interval(secs => mount."seconds-to-go") AS eta
	FROM chronos.json_items(chronos.mount_list()) AS item,
		LATERAL jsonb_to_record(item)
			AS mount(path text, stanza text, repo integer, label text, state text, "user" text, pid integer,
				since bigint, fetches bigint, "fetched-bytes" bigint, failures bigint, "last-failure" text,
				"missing-bytes" bigint, "bytes-per-second" bigint, "seconds-to-go" double precision)
	WHERE mount.stanza = current_setting('chronos.stanza');
COMMENT ON VIEW chronos.mounts IS
	'backups of this stanza that are mounted on this machine as directories: where, whether their process lives, how much was fetched, and what an instant restore has still to fetch';
REVOKE ALL ON chronos.mounts FROM PUBLIC;
GRANT SELECT ON chronos.mounts TO chronos_monitor;

DO $$
DECLARE
	returns_rows record;
BEGIN
	FOR returns_rows IN
		SELECT p.oid::pg_catalog.regprocedure AS name FROM pg_catalog.pg_proc AS p
		WHERE p.proretset AND EXISTS (
			SELECT FROM pg_catalog.pg_depend AS d
			WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'
				AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
				AND d.refobjid = (SELECT e.oid FROM pg_catalog.pg_extension AS e WHERE e.extname = 'chronos_backup'))
	LOOP
		EXECUTE pg_catalog.format('ALTER FUNCTION %s SET work_mem = %L', returns_rows.name, '16MB');
	END LOOP;
END
$$;

\pset format unaligned
\pset footer off
-- PUBLIC has nothing, chronos_monitor looks, chronos_operator runs things too. What follows walks the
-- catalog: an object that comes shows here, and fails until somebody has decided whose it is.
CREATE ROLE regress_nobody;
CREATE ROLE regress_monitor IN ROLE pg_monitor;
CREATE ROLE regress_looker IN ROLE chronos_monitor;
CREATE ROLE regress_operator IN ROLE chronos_operator;

SELECT role, has_schema_privilege(role, 'chronos', 'USAGE') AS usage,
	has_schema_privilege(role, 'chronos', 'CREATE') AS "create"
FROM unnest('{regress_nobody,regress_monitor,regress_looker,regress_operator}'::text[]) AS role;

SELECT p.oid::regprocedure AS function,
	has_function_privilege('regress_nobody', p.oid, 'EXECUTE') AS nobody,
	has_function_privilege('regress_monitor', p.oid, 'EXECUTE') AS pg_monitor,
	has_function_privilege('regress_looker', p.oid, 'EXECUTE') AS monitor,
	has_function_privilege('regress_operator', p.oid, 'EXECUTE') AS operator
FROM pg_proc AS p WHERE pronamespace = 'chronos'::regnamespace ORDER BY p.oid::regprocedure::text;

SELECT c.relname,
	has_table_privilege('regress_nobody', c.oid, 'SELECT') AS nobody,
	has_table_privilege('regress_monitor', c.oid, 'SELECT') AS pg_monitor,
	has_table_privilege('regress_looker', c.oid, 'SELECT') AS monitor,
	has_table_privilege('regress_operator', c.oid, 'SELECT') AS operator,
	has_table_privilege('regress_operator', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
		OR has_any_column_privilege('regress_operator', c.oid, 'INSERT, UPDATE, REFERENCES') AS writes
FROM pg_class AS c
WHERE relnamespace = 'chronos'::regnamespace AND relkind IN ('r', 'v', 'm', 'f', 'p') ORDER BY 1;

-- Members of the extension, of any kind, that the two lists do not have: their parts and row types
-- aside there are none, or this test has to learn their kind.
SELECT pg_describe_object(classid, objid, 0) AS not_covered
FROM pg_depend AS d
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'chronos_backup')
	AND classid NOT IN ('pg_proc'::regclass, 'pg_namespace'::regclass)
	AND NOT EXISTS (SELECT FROM pg_class WHERE d.classid = 'pg_class'::regclass AND oid = d.objid
		AND relkind IN ('r', 'v', 'm', 'f', 'p'))
	AND NOT EXISTS (SELECT FROM pg_type AS t LEFT JOIN pg_type AS e ON e.oid = t.typelem
		WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND (t.typrelid <> 0 OR e.typrelid <> 0))
ORDER BY 1;

-- Whose it is says the access list too: nobody but the owner and the two roles is in one.
CREATE TEMP VIEW access AS
	SELECT object, owner, (aclexplode(acl)).*
	FROM (SELECT p.oid::regprocedure::text AS object, proowner AS owner, coalesce(proacl, acldefault('f', proowner)) AS acl
			FROM pg_proc AS p WHERE pronamespace = 'chronos'::regnamespace
		UNION ALL
		SELECT relname, relowner, coalesce(relacl, acldefault('r', relowner))
			FROM pg_class WHERE relnamespace = 'chronos'::regnamespace AND relkind IN ('r', 'v', 'm', 'f', 'p', 'S')
		UNION ALL
		SELECT attrelid::regclass || '.' || attname, relowner, attacl
			FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
			WHERE relnamespace = 'chronos'::regnamespace AND attacl IS NOT NULL
		UNION ALL
		SELECT nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = 'chronos') AS objects;
SELECT object, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee, privilege_type
FROM access
WHERE grantee <> owner AND grantee <> ALL ('{chronos_monitor,chronos_operator}'::regrole[])
ORDER BY 1, 2, 3;
SELECT object, grantee::regrole AS may_grant_it_on FROM access WHERE grantee <> owner AND is_grantable ORDER BY 1, 2;

-- Functions that are neither role's: what only the extension itself or a superuser calls.
SELECT p.oid::regprocedure AS internal
FROM pg_proc AS p
WHERE pronamespace = 'chronos'::regnamespace AND NOT has_function_privilege('regress_operator', p.oid, 'EXECUTE')
ORDER BY 1;

SET ROLE regress_nobody;
SELECT chronos.start_backup();
SELECT * FROM chronos.jobs;
RESET ROLE;

SET ROLE regress_looker;
SELECT chronos.start_backup();
SELECT chronos.start_job('expire');
SELECT chronos.schedule('mine', 'expire', '@daily');
SELECT chronos.unschedule('mine');
SELECT chronos.cancel(1);
SELECT chronos.stanza_create();
SELECT count(*) FROM chronos.progress;
SELECT count(*) FROM chronos.schedules;
SELECT count(*) > 5 AS has_settings FROM chronos.settings;
RESET ROLE;

-- The right to look comes with the right to run.
SET ROLE regress_operator;
SELECT count(*) >= 0 AS looks FROM chronos.jobs;
SELECT chronos.start_backup('sideways');
DELETE FROM chronos.job_history;
INSERT INTO chronos.schedule_entries SELECT * FROM chronos.schedule_entries;
RESET ROLE;

-- Who may ask a restored cluster questions is decided apart: its answers are anybody's data.
CREATE ROLE regress_driller IN ROLE chronos_driller;
SET ROLE regress_operator;
SELECT chronos.drill(assertions => '{SELECT rolpassword IS NULL FROM pg_authid LIMIT 1}');
SELECT chronos.start_job('drill', '{"assert": "SELECT true"}');
SELECT chronos.schedule('curious', 'drill', '@daily', options => '{"assert": ["SELECT true"]}');
SELECT chronos.schedule('plain', 'drill', '@yearly', options => '{"reason": "x"}') IS NOT NULL AS may;
SELECT chronos.unschedule('plain');
SET ROLE regress_driller;
SELECT chronos.schedule('asks', 'drill', '@yearly', options => '{"assert": ["SELECT true"]}') IS NOT NULL AS may;
SELECT chronos.unschedule('asks');
-- What a backup leaves out is gone with the cluster: a superuser decides.
SELECT chronos.start_job('full', '{"exclude": "log/"}');
SELECT chronos.schedule('lacks', 'incr', '@yearly', options => '{"exclude": ["log/"]}');
-- What a job can be told is a list, and nothing that leads elsewhere is in it.
SELECT chronos.start_job(type, jsonb_build_object(option, 'x')) FROM (VALUES ('drill', 'exec')) AS t (type, option);
SELECT chronos.start_job('full', '{"repo1-path": "/tmp"}');
SELECT chronos.start_job('full', '{"config": "/tmp/x"}');
SELECT chronos.start_job('verify', '{"alert-command": "id"}');
SELECT chronos.start_job('drill', '{"drill-path": "/tmp"}');
-- Code that an operator chooses does not run with rights of the past.
SELECT chronos.recover_table('public.t', filter => 'true');
RESET ROLE;
DROP ROLE regress_driller;

DROP VIEW access;
DROP ROLE regress_nobody, regress_monitor, regress_looker, regress_operator;

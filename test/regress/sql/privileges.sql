-- PUBLIC has nothing, chronos_monitor looks, chronos_operator runs things too.
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
	has_table_privilege('regress_operator', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS writes
FROM pg_class AS c
WHERE relnamespace = 'chronos'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1;

SET ROLE regress_nobody;
SELECT chronos.start_backup();
SELECT * FROM chronos.jobs;
RESET ROLE;

SET ROLE regress_looker;
SELECT chronos.start_backup();
SELECT chronos.cancel(1);
SELECT chronos.stanza_create();
SELECT count(*) FROM chronos.progress;
SELECT count(*) > 5 AS has_settings FROM chronos.settings;
RESET ROLE;

-- The right to look comes with the right to run.
SET ROLE regress_operator;
SELECT count(*) >= 0 AS looks FROM chronos.jobs;
SELECT chronos.start_backup('sideways');
RESET ROLE;

DROP ROLE regress_nobody, regress_monitor, regress_looker, regress_operator;

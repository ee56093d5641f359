\pset format unaligned
\pset footer off
-- What the extension consists of. An object that comes, goes or changes shows here.
SET client_min_messages = warning;
CREATE EXTENSION chronos_backup;
SELECT pg_describe_object(classid, objid, 0) AS object
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'chronos_backup')
	AND classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_namespace'::regclass)
ORDER BY 1;

-- Every object says what it is for.
SELECT pg_describe_object(classid, objid, 0) AS without_comment
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'chronos_backup')
	AND classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_namespace'::regclass)
	AND obj_description(objid, classid::regclass::name) IS NULL
ORDER BY 1;

-- Columns of what people look at.
SELECT format('%s.%s %s', table_name, column_name, data_type) AS "column"
FROM information_schema.columns WHERE table_schema = 'chronos' ORDER BY table_name, ordinal_position;

-- A function that runs with its owner's rights is not led astray by the caller's search_path.
SELECT proname FROM pg_proc
WHERE pronamespace = 'chronos'::regnamespace AND prosecdef
	AND NOT coalesce(proconfig @> '{"search_path=pg_catalog, pg_temp"}', false);

-- It can go and come again; the roles stay, because other databases may use them.
DROP EXTENSION chronos_backup;
SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE 'chronos%' ORDER BY 1;
CREATE EXTENSION chronos_backup;

\pset format unaligned
\pset footer off
-- The settings chronos.*: defaults, when they can change, and what they refuse.
SELECT name, regexp_replace(boot_val, '^/.*/', '.../') AS boot_val, context, vartype, unit, min_val, max_val
FROM pg_settings WHERE name LIKE 'chronos.%' ORDER BY name;

-- Not within a session.
SET chronos.stanza = 'other';
SET chronos.executable = '/bin/true';

-- Paths are for whoever can write the configuration file, not for a database superuser.
ALTER SYSTEM SET chronos.config_file = '/etc/passwd';
ALTER SYSTEM SET chronos.executable = '/bin/sh';

-- Values that make no sense.
ALTER SYSTEM SET chronos.stanza = '';
ALTER SYSTEM SET chronos.stanza = '../other';
ALTER SYSTEM SET chronos.stanza = '--config=/tmp/x';
ALTER SYSTEM SET chronos.timezone = 'Middle/Earth';
ALTER SYSTEM SET chronos.log_level = 'loud';
-- Which words a server has for it depends on its version.
\set VERBOSITY sqlstate
ALTER SYSTEM SET chronos.archive_timeout = 0;
\set VERBOSITY default
ALTER SYSTEM SET chronos.max_jobs = 17;
DO $$
BEGIN
	SET chronos.nonsense = 'x';
EXCEPTION WHEN undefined_object OR invalid_name THEN
	RAISE NOTICE 'there is no such setting';
END
$$;

-- A reload is enough.
ALTER SYSTEM SET chronos.archive_timeout = '2min';
SELECT pg_reload_conf();
SELECT pg_sleep(1);
SHOW chronos.archive_timeout;
ALTER SYSTEM RESET chronos.archive_timeout;
SELECT pg_reload_conf();

-- No setting holds a secret: those stay in the configuration file.
SELECT name FROM pg_settings WHERE name LIKE 'chronos.%' AND name ~ '(pass|key|secret|token)';

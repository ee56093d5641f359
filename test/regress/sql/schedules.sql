-- What schedule() takes and refuses, and what the view says about it. Nothing here is due.
SET timezone = 'UTC';
SELECT chronos.schedule('weekly', 'full', '0 2 1 1 *', 'UTC') > now() AS has_next_run;
SELECT chronos.schedule('daily', 'incr', '@yearly', 'America/New_York', '{"repo": 1}', 3, '90 s') > now() AS has_next_run;
SELECT chronos.schedule('off', 'expire', '@yearly', enabled => false) AS next_run;
SELECT name, type, cron, timezone, options, enabled, retries, retry_delay, to_char(next_run, 'MM-DD HH24:MI') AS next_run,
	last_due, last_job, last_state, attempt, created_by = session_user AS by_me
FROM chronos.schedules ORDER BY name;
-- Of the same name: takes the place of the first.
SELECT chronos.schedule('off', 'maintenance', '0 3 1 1 *') IS NULL AS off;
SELECT type, cron, enabled FROM chronos.schedules WHERE name = 'off';
SELECT chronos.unschedule('off'), chronos.unschedule('off');

SELECT chronos.schedule(NULL, 'full', '@daily');
SELECT chronos.schedule('a', NULL, '@daily');
SELECT chronos.schedule('a', 'full', NULL);
SELECT chronos.schedule('a', 'full', '@daily', retries => NULL);
SELECT chronos.schedule('', 'full', '@daily');
SELECT chronos.schedule(E'two\nlines', 'full', '@daily');
SELECT chronos.schedule(repeat('x', 64), 'full', '@daily');
SELECT chronos.schedule('a', 'restore', '@daily');
SELECT chronos.schedule('a', 'full', '0 2 * *');
SELECT chronos.schedule('a', 'full', '0 24 * * *');
SELECT chronos.schedule('a', 'full', '0 0 30 feb *');
SELECT chronos.schedule('a', 'full', '@reboot');
SELECT chronos.schedule('a', 'full', '@daily', 'Mars/Olympus');
SELECT chronos.schedule('a', 'full', '@daily', options => '{"repo1-path": "/"}');
SELECT chronos.schedule('a', 'full', '@daily', options => '[]');
SELECT chronos.schedule('a', 'full', '@daily', retries => -1);
SELECT chronos.schedule('a', 'full', '@daily', retry_delay => '-1 s');
SELECT chronos.schedule('a', 'full', '@daily', retry_delay => '2 years');
SELECT count(*) FROM chronos.schedules;

-- When an expression comes next: in the server's time zones, also where clocks are set.
SELECT chronos.next_run('30 2 * * *', 'Europe/Berlin', '2026-03-28 12:00+01') AS skipped_hour,
	chronos.next_run('30 2 * * *', 'Europe/Berlin', '2026-10-24 12:00+02') AS repeated_hour,
	chronos.next_run('30 2 * * *', 'Europe/Berlin', '2026-10-25 02:30+02') AS and_after_it;
SELECT chronos.next_run('0 6 * * *', 'EST5EDT', '2026-01-15 00:00+00') AS winter,
	chronos.next_run('0 6 * * *', 'EST5EDT', '2026-07-15 00:00+00') AS summer,
	chronos.next_run('0 6 * * *', 'EST', '2026-07-15 00:00+00') AS est_has_no_summer;
SELECT chronos.next_run('0 0 29 2 *', 'UTC', '2026-01-01') AS leap_day, chronos.next_run(NULL) AS nothing;
SELECT chronos.next_run('0 0 * * *', 'UTC', 'infinity');
SELECT chronos.next_run('soon');

-- Only where jobs work.
\c template1
SET client_min_messages = warning;
CREATE EXTENSION chronos_backup;
SELECT chronos.schedule('a', 'full', '@daily');
DROP EXTENSION chronos_backup CASCADE;
\c contrib_regression
SELECT bool_and(chronos.unschedule(name)) AS gone FROM chronos.schedules;

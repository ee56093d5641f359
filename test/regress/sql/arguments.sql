-- What is refused before anything is queued, and how.
SELECT chronos.start_backup('Full');
SELECT chronos.start_backup(NULL);
SELECT chronos.backup_now('full --config=/tmp/x');
SELECT chronos.start_backup('full', '[1, 2]');
SELECT chronos.start_backup('full', '"text"');
SELECT chronos.start_backup('full', '{"a": 1}');
SELECT chronos.start_backup('full', '{"a": {"b": "c"}}');
SELECT chronos.start_backup('full', '{"a=b": "c"}');
SELECT chronos.start_backup('full', '{"": "c"}');
SELECT chronos.start_backup('full', '{"a": "two\nlines"}');
SELECT chronos.start_backup('full', jsonb_build_object('a', repeat('x', 2000)));
SELECT chronos.wait(987654321);
SELECT chronos.wait(NULL) IS NULL AS is_null;
SELECT chronos.cancel(987654321);
SELECT * FROM chronos.backup_info('--repo=2');
SELECT * FROM chronos.backup_info('');
SELECT count(*) AS queued FROM chronos.jobs;
\set VERBOSITY sqlstate
SELECT chronos.start_backup('sideways');
SELECT chronos.cancel(987654321);

-- Retention and what is written about backups, from SQL. The tests before have made backups.
SELECT chronos.backup_now('full') AS first \gset
SELECT chronos.backup_now('full') AS second \gset
SELECT chronos.hold(:'first', 'evidence');
SELECT name = :'first' AS is_first, action, reason
FROM chronos.expire(dry_run => true) WHERE object = 'backup' AND name = :'first';
SET client_min_messages = error;    -- the engine's warning names the label
SELECT set_config('test.label', :'first', false) <> '' AS set;
DO $$
BEGIN
	PERFORM FROM chronos.expire(label => current_setting('test.label'));
EXCEPTION WHEN OTHERS THEN
	RAISE EXCEPTION '%', replace(SQLERRM, current_setting('test.label'), 'LABEL');
END $$;
RESET client_min_messages;
SELECT chronos.unhold(:'first');
SELECT object, name = :'first' AS is_first, action FROM chronos.expire(true, :'first') WHERE object = 'backup' AND action = 'remove';
SELECT count(*) FROM chronos.backups WHERE label = :'first';
SELECT object, name = :'first' AS is_first, action FROM chronos.expire(label => :'first') WHERE object = 'backup' AND action = 'remove';
SELECT count(*) FROM chronos.backups WHERE label = :'first';
SELECT chronos.annotate(:'second', 'ticket', 'A = "B"');
SELECT annotation FROM chronos.backups WHERE label = :'second';
SELECT chronos.annotate(:'second', 'ticket');
SELECT annotation FROM chronos.backups WHERE label = :'second';
SELECT chronos.stanza_upgrade();
SELECT * FROM chronos.maintenance();
SELECT * FROM chronos.rekey(1);
-- Arguments.
SELECT chronos.maintenance(NULL);
SELECT chronos.rekey(NULL);
SELECT chronos.rekey(1, 'sideways');
SELECT chronos.expire(dry_run => NULL);
SELECT chronos.annotate(NULL, 'a', 'b');
SELECT chronos.annotate(:'second', NULL, 'b');
SELECT chronos.hold('bogus; --option', 'x');
SELECT chronos.hold('20200101-000000F', 'x');

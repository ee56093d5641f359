# The clock of schedules, set forward from run to run: weeks of schedules in seconds.
package ScheduleClock;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(install_schedule_clock);

# In the database postgres of a node: set_clock(timestamptz), and the procedure
# simulate(until timestamptz, pause float8) that goes from run to run until that time, each time
# until all that is due is done. It looks every `pause` seconds whether it is.
sub install_schedule_clock
{
	my ($node) = @_;
	$node->safe_psql('postgres', <<'S');
CREATE FUNCTION set_clock(timestamptz) RETURNS void LANGUAGE c
	AS 'chronos_backup', 'chronos_test_set_schedule_clock';
CREATE PROCEDURE simulate(until timestamptz, pause float8 DEFAULT 0.002) LANGUAGE plpgsql AS $$
DECLARE
	now timestamptz;
BEGIN
	LOOP
		SELECT min(next_run) INTO now FROM chronos.schedules;
		EXIT WHEN now IS NULL OR now > until;
		PERFORM set_clock(now);
		LOOP
			COMMIT;
			EXIT WHEN NOT EXISTS (SELECT FROM chronos.schedules WHERE next_run <= now)
				AND NOT EXISTS (SELECT FROM chronos.current_jobs() WHERE finished_at IS NULL);
			PERFORM pg_sleep(pause);
		END LOOP;
	END LOOP;
END $$;
S
	return;
}

1;

\echo Use "ALTER EXTENSION chronos_backup UPDATE" to load this file. \quit

-- What 0.2.0 adds to 0.1.0. CREATE EXTENSION runs both scripts, one after the other, so a new
-- installation and an old one that is updated end with the same objects.

#pragma once

namespace chronos::extension {

/// Connects a background worker to chronos.database, as the cluster's first superuser, with the
/// settings of sessions that nobody may cut short. Raises FATAL if there is no such database.
void connect_worker();

/// For the rest of this transaction: a table that somebody has locked is given up after a while. A
/// record or a schedule must not hold up jobs.
void limit_lock_waits();

}  // namespace chronos::extension

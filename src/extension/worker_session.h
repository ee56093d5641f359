#pragma once

namespace chronos::extension {

/// Connects a background worker to chronos.database, as the cluster's first superuser, with the
/// settings of sessions that nobody may cut short. Raises FATAL if there is no such database.
void connect_worker();

}  // namespace chronos::extension

#pragma once

namespace chronos::extension {

/// chronos.wal_stream: an engine of the launcher's ships WAL that is not archived yet. It is told
/// every chronos.wal_stream_interval how far the server has flushed, unless it is still busy; so
/// however slow the repository is, the server waits for nothing.
///
/// One round: starts, stops or hears the engine as needed; never waits, but shortly for an engine
/// that is stopped. Returns after how many milliseconds it wants to be called again at the latest;
/// it wants to be called, too, when engine_fd() is readable.
long stream_wal();

/// -1 if there is nothing to wait for.
int stream_fd();

}  // namespace chronos::extension

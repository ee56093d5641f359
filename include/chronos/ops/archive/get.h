#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::archive {

class Spool;

struct GetSettings {
    std::vector<repo::Repository> repositories;  ///< ascending key
    std::string stanza;
    std::string pg_path;  ///< data directory
    /// get_wal_patiently() puts a segment that is nowhere together from what was streamed of it.
    bool use_streamed = false;
    /// Of a standby, which asks for the same file again and again: what is noted here was answered
    /// "not there" a moment ago, after all that is known had been looked through. Whether it is
    /// there now the repositories are asked each time; only what that absence means is not looked
    /// into again, which of a standby is no more than warned of. nullptr: it always is.
    const Spool* answered = nullptr;
    /// Nobody waits for the file: one thread for it is enough.
    bool ahead = false;
};

enum class GetOutcome { found, missing };

/// Fetches a file of the archive for recovery; `destination` (absolute) appears whole or not at
/// all. A segment is checked before: size, SHA-1, and that it belongs to the cluster. Source:
/// docs/format/wal-archive.md, archive-get.
///
/// PostgreSQL takes "missing" for the end of history and promotes. So that is the answer only if
/// every repository is there, knows the cluster and does not have the file; where that cannot be
/// established the answer is an error, transient() if a later attempt may establish it.
Result<GetOutcome> get_wal(const GetSettings& settings, const std::string& name,
                           const std::string& destination);

/// get_wal(), repeated with growing pauses after a transient error until `timeout` has passed.
Result<GetOutcome> get_wal_patiently(const GetSettings& settings, const std::string& name,
                                     const std::string& destination,
                                     std::chrono::milliseconds timeout, const Cancellation& cancel);

/// Whether the WAL of a segment that was just put there for a recovery goes on where the one before
/// it in pg_wal ends: else the server would take that for the end of all WAL. The error is that of
/// a hole; of a standby it is a warning, whose primary may have more.
Result<> check_joint(const std::string& pg_path, const std::string& segment,
                     const std::string& file);

/// Kind format if the data directory is a restored one whose backup_label was removed: it would
/// start from the wrong position.
Result<> check_backup_label(const std::string& pg_path);

}  // namespace chronos::ops::archive

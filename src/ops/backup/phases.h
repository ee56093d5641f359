#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/db/connection.h"
#include "chronos/ops/backup/backup.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/info.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/side/outside_config.h"
#include "ops/backup/clock_gate.h"
#include "ops/backup/companions.h"
#include "ops/backup/guard.h"
#include "ops/backup/plan.h"
#include "ops/backup/server_side.h"
#include "ops/backup/stages.h"
#include "ops/backup/throughput.h"

/// A backup as a row of values, each made of the one before:
///
///     open -> choose -> start -> plan -> copy -> seal -> publish
///
/// Each step leaves a valid repository behind it; their order is the proof that a backup which can
/// be seen is whole. It is the compiler that keeps the order: a step takes what the former one
/// made, which nothing else makes, and takes it away (none of it can be copied, for the locks are
/// in it), so that no step can be left out, exchanged or done again. An error ends the row, and
/// with the value go the locks.
namespace chronos::ops::backup {

/// The place of a backup among those that are made at the same time; null: it is alone.
struct Company {
    Companions* companions = nullptr;
    std::size_t member = 0;
};

/// What all steps are lent. Outlives them.
struct Scope {
    db::Connection* connection;  ///< any thread; null: the cluster is stopped
    const ProgressReceiver& progress;
    const Cancellation& cancel;
    Company company;
    Stages& stages;
    Waits& waits;

    bool online() const { return connection != nullptr; }
    /// Shows what is begun, unless the backup is to end.
    Result<> step(const char* phase) const;
};

/// Nobody else makes a backup, and what the repository says of itself has been read.
struct Opened {
    BackupRequest request;
    Guard guard;
    repo::ReconstructedInfo known;
    repo::ArchiveInfo archive;
};
Result<Opened> open(const Scope& scope, const BackupRequest& request);

/// What all later steps work with.
struct Work {
    BackupRequest request;  ///< with what a prior has decided
    Guard guard;
    repo::ReconstructedInfo known;
    repo::ArchiveInfo archive;
    Cluster cluster;
    repo::OutsideConfig outside;  ///< configuration that lies outside of the data directory

    storage::Storage& storage() const { return *request.repository.storage; }
    /// Of the backup, e.g. "backup/main/20261120-075745F".
    std::string directory(const repo::Manifest& manifest) const;
    repo::Encoding encoding(const repo::Manifest& manifest) const;
};

/// The cluster is the stanza's; what the backup is based on, and so its type and its options. An
/// interrupted one that cannot be resumed is gone.
struct Chosen {
    Work work;
    repo::Manifest manifest;
    std::optional<repo::Manifest> prior;
    std::optional<repo::Manifest> resumed;  ///< an interrupted backup that this one goes on with
};
Result<Chosen> choose(const Scope& scope, Opened&& opened);

/// The server is in backup mode, and its WAL reaches the repository; or there is none.
struct Started {
    Work work;
    repo::Manifest manifest;
    std::optional<repo::Manifest> prior;
    std::optional<repo::Manifest> resumed;
    StartedBackup server;
};
Result<Started> start(const Scope& scope, Chosen&& chosen);

/// The backup has a label, a list of files and a directory.
struct Planned {
    Work work;
    repo::Manifest manifest;
    std::optional<repo::Manifest> prior;  ///< what of it is still to be compared with
    StartedBackup server;
    CopyPlan jobs;
    std::unique_ptr<ClockGate> gate;  ///< from the time of the list on
    std::string left_out;             ///< in words; "": nothing
};
Result<Planned> plan(const Scope& scope, Started&& started);

/// All files are in the repository, durably: from here on the manifest may be believed.
struct Copied {
    Work work;
    repo::Manifest manifest;
    StartedBackup server;
    std::string left_out;
    std::uint64_t bytes = 0;  ///< as the progress counts them
};
Result<Copied> copy(const Scope& scope, Planned&& planned);

/// Backup mode is over, its labels and all WAL that the backup needs are in the repository, and the
/// manifest is complete. Where there is no server: there was none all the time.
struct Sealed {
    Work work;
    repo::Manifest manifest;
    std::string left_out;
    std::uint64_t bytes = 0;
};
Result<Sealed> seal(const Scope& scope, Copied&& copied);

/// The backup exists and is listed.
struct Published {
    Work work;
    repo::Manifest manifest;
    std::string left_out;
    std::uint64_t bytes = 0;
};
Result<Published> publish(const Scope& scope, Sealed&& sealed);

/// Writes backup.manifest.copy alone: a backup in the making, which nobody takes for one, and which
/// can be resumed. `mutex` is held while the manifest is read. Kind lock_acquire if somebody else
/// has come meanwhile.
Result<> save_partial(Work& work, const repo::Manifest& manifest, std::mutex& mutex);

}  // namespace chronos::ops::backup

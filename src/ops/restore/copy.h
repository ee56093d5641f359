#pragma once

#include <cstdint>
#include <functional>
#include <set>

#include "chronos/ops/restore/restore.h"
#include "ops/restore/ownership.h"

namespace chronos::ops::restore {

struct CopyRequest {
    const RestoreRequest* request = nullptr;
    const RestorePlan* plan = nullptr;
    const Ownership* ownership = nullptr;
    std::set<std::uint32_t> zeroed_databases;
    bool sync_files = false;
    /// Called with bytes and files done, from any thread, one call at a time.
    std::function<void(const Progress&)> report;
};

struct CopyResult {
    std::uint64_t size_bytes = 0;
    std::uint64_t file_count = 0;
};

/// Where global/pg_control waits until everything else is durable.
inline constexpr const char* kControlFile = "pg_data/global/pg_control";
inline constexpr const char* kControlTemporarySuffix = ".pgbackrest.tmp";

/// Copies every file of the plan's manifest to its place, `process_max` at a time, and compares
/// each with its checksum (kind checksum, naming the file). Work is cut into files and runs of
/// neighbours in a bundle; each run is one read of the storage, which is what counts where a
/// request takes longer than its bytes. What the repository of the plan cannot deliver is taken
/// from another one that has the same backup.
Result<CopyResult> copy_files(const CopyRequest& request, const Cancellation& cancel);

/// Of the same backup in another repository, which may serve files that the one of the plan has
/// lost. Kind backup_set_invalid if it has none, or one of another time.
Result<repo::Manifest> manifest_of_stand_in(const RestoreRequest& request, const RestorePlan& plan,
                                            const repo::Repository& repository);

}  // namespace chronos::ops::restore

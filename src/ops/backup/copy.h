#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/ops/backup/backup.h"
#include "chronos/pgdata/cluster_files.h"
#include "chronos/storage/storage.h"
#include "ops/backup/clock_gate.h"
#include "ops/backup/plan.h"
#include "ops/backup/stages.h"
#include "ops/backup/store_pipeline.h"

namespace chronos::ops::backup {

struct CopySettings {
    const repo::Repository* repository = nullptr;
    std::string stanza;
    std::string directory;  ///< of the backup, e.g. "backup/main/20261120-075745F"
    std::string pgdata;
    /// The backup being made. Files are looked up in it while the receiver of outcomes changes
    /// entries; a file's name stays, and nobody else touches the entry of a file being copied.
    const repo::Manifest* manifest = nullptr;
    const repo::Manifest* prior = nullptr;  ///< null for a full backup
    repo::Encoding encoding;                ///< of files outside of bundles
    const BlockRules* blocks = nullptr;     ///< used if the manifest says `block_incr`
    ClockGate* gate = nullptr;              ///< before jobs that are held
    bool check_pages = false;
    bool page_header_check = true;
    std::uint32_t page_size = 8192;
    Stages* stages = nullptr;     ///< what the threads spend their time on
    std::size_t process_max = 1;  ///< files that are worked on by a processor at once
};

/// What became of a file that was to be copied.
struct CopyOutcome {
    enum class Kind {
        stored,
        unchanged,  ///< the prior's copy has the same content
        resumed,    ///< what the interrupted backup stored is whole
        vanished,   ///< dropped by the server before it was read
    };
    Kind kind = Kind::stored;
    StoredAs stored;  ///< of a file that is stored; of a resumed one what its manifest lacked
};

/// Receives each outcome, one call at a time, on any thread. An error ends the copy.
using OutcomeReceiver =
    std::function<Result<>(const PlannedFile& file, const CopyOutcome& outcome)>;
/// Receives bytes read since the last call; any thread, calls overlap.
using ReadReceiver = std::function<void(std::uint64_t bytes)>;

/// Does the jobs of the plan in their order, on several threads, but those that are held after the
/// gate has opened, and the last one after all others: pg_control must not be older than what it
/// speaks of. The first error ends it. What is stored is
/// durable only after Storage::sync_tree().
Result<> copy_files(const CopySettings& settings, const CopyPlan& plan, const Cancellation& cancel,
                    const ReadReceiver& read, const OutcomeReceiver& outcome);

/// The object a file is stored in: by name and extension in the directory of the backup.
storage::ObjectName stored_name(const std::string& directory, std::string_view manifest_name,
                                compress::CompressType type);

}  // namespace chronos::ops::backup

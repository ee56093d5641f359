#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "chronos/base/given.h"
#include "chronos/ops/archive/dropped.h"
#include "chronos/ops/archive/push.h"

namespace chronos::ops::archive {

struct AheadSettings {
    std::string wal_path;        ///< "<data directory>/pg_wal"
    Given<std::size_t> threads;  ///< files that are pushed at a time, into each repository
};

/// Answers the archiver for all repositories: a file is stored when each of them has it.
///
/// Each repository has a lane: a queue, threads, pauses and a record of what it goes without. While
/// one file is asked for, those that will be are stored ahead of that. So a repository that is
/// away, hangs or is slow does not hold up the others, which run ahead of it, and it catches up by
/// itself. A segment is compressed once as long as they keep pace.
///
/// When more waits than may (DroppedWal), the file is dropped for those repositories that are in
/// its way: they do not have it and, if there are several, failed last or did not get it in 30 s.
/// They are given the record when they take files again.
///
/// Memory: for each repository that of ArchivePusher, and `process_max` + 1 compressed segments for
/// all.
class PushService {
public:
    enum class Acknowledged {
        stored,
        dropped,  ///< it is on record that at least one repository goes without it
    };
    /// Called once for each ask(), from any thread, one call at a time. While the archiver has not
    /// had an answer a further ask() for the file is the same question.
    using Answer =
        std::function<void(const std::string& name, const Result<Acknowledged>& outcome)>;

    PushService(PushSettings settings, const DropSettings& drop, const AheadSettings& ahead,
                Answer answer);
    /// Waits for the files that are being pushed.
    ~PushService();
    PushService(const PushService&) = delete;
    PushService& operator=(const PushService&) = delete;

    /// Any thread. Waits for no repository.
    void ask(const std::string& name);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace chronos::ops::archive

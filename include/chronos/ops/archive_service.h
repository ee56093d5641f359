#pragma once

#include "chronos/ops/archive_ahead.h"
#include "chronos/ops/archive_push.h"

namespace chronos::ops::archive {

/// Answers the archiver for all repositories: a file is stored when each of them has it.
///
/// Each repository has a queue, threads and pauses of its own (PushAhead), so that one that is
/// away, hangs or is slow does not hold up the others, which run ahead of it, and it catches up by
/// itself. A segment is compressed once as long as they keep pace.
///
/// Memory: for each repository that of ArchivePusher, and `process_max` + 1 compressed segments for
/// all.
class PushService {
public:
    /// Called once for each ask(), from any thread, one call at a time. While the archiver has not
    /// had an answer a further ask() for the file is the same question.
    using Answer = PushAhead::Answer;

    PushService(PushSettings settings, const AheadSettings& ahead, Answer answer);
    /// Waits for the files that are being pushed.
    ~PushService();
    PushService(const PushService&) = delete;
    PushService& operator=(const PushService&) = delete;

    /// Any thread. Returns at once.
    void ask(const std::string& name);

    /// Any thread. Whether ask() would be answered at once, because the file is stored.
    bool has_stored(const std::string& name) const;

    /// Any thread. The file is not pushed any more, and ask() gets no answer; but what a repository
    /// is being given at this moment it may still get.
    void withdraw(const std::string& name);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace chronos::ops::archive

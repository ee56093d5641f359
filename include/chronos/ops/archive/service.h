#pragma once

#include <functional>
#include <set>
#include <string>

#include "chronos/ops/archive/ahead.h"
#include "chronos/ops/archive/push.h"

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

    /// Called with the key of a repository that has just taken a file, from the thread that gave
    /// it.
    using Reached = std::function<void(unsigned key)>;

    PushService(PushSettings settings, const AheadSettings& ahead, Answer answer,
                Reached reached = {});
    /// Waits for the files that are being pushed.
    ~PushService();
    PushService(const PushService&) = delete;
    PushService& operator=(const PushService&) = delete;

    /// Any thread. Returns at once. The repositories `without` need not have the file and are not
    /// given it any more, unless that is happening at this moment.
    void ask(const std::string& name, const std::set<unsigned>& without = {});

    /// Any thread. The repositories that are in the way of the file: they do not have it and, if
    /// there are several, failed last or did not get it in 30 s.
    std::set<unsigned> behind(const std::string& name) const;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace chronos::ops::archive

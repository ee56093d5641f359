#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "chronos/ops/archive/dropped.h"
#include "chronos/ops/archive/push.h"
#include "chronos/ops/archive/service.h"
#include "ops/archive/push_queue.h"

namespace chronos::ops::archive {

/// The way of all files into one repository: the queue of what it has yet to get, the threads that
/// store it, how the repository does, and the record of what it goes without. Any thread.
class Lane {
public:
    /// Called once for each ask() that is not withdrawn, from any thread.
    using Answer = std::function<void(const Lane&, const std::string& name, const Result<>&)>;

    /// One of `settings.repositories`; `alone`: there is no other.
    Lane(const PushSettings& settings, const DropSettings& drop, const repo::Repository& repository,
         const AheadSettings& ahead, Answer answer);
    ~Lane() { stop(); }

    unsigned key() const { return key_; }
    /// The last file could not be stored.
    bool failing() const { return failing_; }
    bool has_stored(const std::string& name) const { return queue_.has_stored(name); }

    /// Returns at once.
    void ask(const std::string& name);
    /// See PushQueue::withdraw().
    void withdraw(const std::string& name) { queue_.withdraw(name); }

    /// Records that the repository goes without the file. See DroppedWal::drop().
    Result<> drop(const std::string& name, const std::string& path) {
        return dropped_.drop(name, path);
    }
    ArchivePusher& pusher() { return pusher_; }

    /// Waits for the files that are being stored; what was asked for and not begun gets no answer.
    void stop();

private:
    void work();
    Result<> push(const PushQueue::Item& item);
    void tell(const Result<>& outcome);

    const unsigned key_;
    const bool alone_;
    const Answer answer_;
    ArchivePusher pusher_;
    DroppedWal dropped_;
    std::atomic<bool> away_ = false;  ///< has been said in the log
    std::atomic<bool> failing_ = false;
    PushQueue queue_;
    std::vector<std::jthread> threads_;
};

}  // namespace chronos::ops::archive

#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "chronos/repo/side/wal_notes.h"
#include "ops/archive/targets.h"

namespace chronos::ops::archive {

/// Writes down beside the archives up to which commit each segment goes, several segments in one
/// object, in a thread of its own: pushing does not wait for it. What a killed process had not
/// written yet is missing, and nothing else is lost with it. Any thread.
class CommitLog {
public:
    /// An object is written for each `batch` notes, or when the first of them is `delay` old.
    CommitLog(std::string stanza, std::size_t batch, std::chrono::milliseconds delay);
    /// Writes what waits.
    ~CommitLog();

    void add(const std::vector<Target>& targets, const repo::CommitNote& note);

private:
    /// What waits for one archive of one repository, of one timeline.
    struct Pending {
        const repo::Repository* repository = nullptr;
        std::string archive_id;
        std::string passphrase;
        std::vector<repo::CommitNote> notes;
        std::chrono::steady_clock::time_point due;
        bool is_for(const Target& target, const std::string& segment) const;
    };
    void work();
    void save(Pending pending) const;

    const std::string stanza_;
    const std::size_t batch_;
    const std::chrono::milliseconds delay_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<Pending> pending_;
    bool stopping_ = false;
    std::thread thread_;  ///< started by the first note
};

}  // namespace chronos::ops::archive

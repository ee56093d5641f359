#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::ops::archive {

/// Identity of a file: the same inode, size and time mean the same content, because a segment does
/// not change from its `.ready` mark to its `.done` mark.
struct FileStamp {
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;
    bool operator==(const FileStamp&) const = default;
};

/// A file and the mark under which it is ready.
struct ReadyStamp {
    FileStamp file;
    FileStamp mark;
    bool operator==(const ReadyStamp&) const = default;
};

/// What is to be stored next in one repository: the file that the archiver asks for, and meanwhile
/// those that it is going to ask for, so that its next question costs no more than a look at the
/// file.
///
/// "Stored" is remembered only for the file that was read, known by inode, size and time, and for
/// the `.ready` mark under which it was read. After a failure work ahead pauses (1 s, doubled up to
/// 60 s) so that a repository that is away is not hammered; then it goes on by itself, and the file
/// is tried again at once when it is asked for.
///
/// Work ahead does not wait for the archiver either: what it has not been told of yet, because it
/// waits for another repository, is not in the way of the next files.
///
/// The threads that store are its owner's. Any of them; no method waits but next().
class PushQueue {
public:
    /// `wal_path`: "<data directory>/pg_wal". `workers`: threads that call next().
    PushQueue(std::string wal_path, std::size_t workers)
        : wal_path_(std::move(wal_path)), workers_(workers) {}

    /// A file in the hands of the thread that stores it.
    struct Item {
        std::string name;
        std::string path;
        std::optional<ReadyStamp> before;  ///< as it was when it was begun
    };

    /// Whether the file is stored already. Otherwise complete() says when there is an answer.
    bool ask(const std::string& name);

    /// Whether ask() would find the file stored.
    bool has_stored(const std::string& name) const;

    /// The file is not stored, and nobody waits for it any more, unless a thread has it at this
    /// moment: what comes of that is no answer.
    void withdraw(const std::string& name);

    /// Waits for a file to store; nullopt after stop().
    std::optional<Item> next();

    /// What came of a file that next() has handed out. Whether that is the answer to an ask().
    bool complete(const Item& item, const Result<>& outcome);

    /// Nothing is begun any more.
    void stop();

private:
    using Clock = std::chrono::steady_clock;
    using Lock = std::unique_lock<std::mutex>;
    static constexpr std::chrono::seconds kPauseMin{1};
    enum class State {
        queued,
        running,
        stored,
        failed,  ///< ahead of being asked for; tried again then, or after the pause
    };
    struct Entry {
        State state = State::queued;
        bool asked = false;  ///< somebody waits for the answer
        ReadyStamp stamp;    ///< when it was stored
    };

    std::optional<std::string> pick(Lock& lock);
    void wait(Lock& lock);
    std::string take(std::deque<std::string>& queue);
    void complete_ahead(Entry& entry, const std::string& name, const Result<>& outcome);
    std::size_t count_stored() const;
    void scan(Lock& lock);
    void forget_archived(const std::vector<std::string>& ready);
    std::string path_of(const std::string& name) const { return wal_path_ + "/" + name; }
    std::string mark_of(const std::string& name) const {
        return wal_path_ + "/archive_status/" + name + ".ready";
    }
    std::optional<ReadyStamp> stamp_of(const std::string& name) const;

    const std::string wal_path_;
    const std::size_t workers_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::map<std::string, Entry> entries_;
    std::deque<std::string> asked_;
    std::deque<std::string> ahead_;
    bool scan_wanted_ = false;
    bool stopping_ = false;
    Clock::time_point ahead_not_before_{};
    std::chrono::seconds pause_ = kPauseMin;
};

}  // namespace chronos::ops::archive

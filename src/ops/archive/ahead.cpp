#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "chronos/base/log.h"
#include "chronos/ops/archive/ahead.h"

namespace chronos::ops::archive {
namespace {

using Clock = std::chrono::steady_clock;

/// How far ahead of the archiver: he, too, takes 64 names from one reading of the directory.
constexpr std::size_t kWindow = 64;
constexpr auto kPauseMin = std::chrono::seconds(1);
constexpr auto kPauseMax = std::chrono::seconds(60);
/// While files are not acknowledged the archiver may be waiting for another repository and ask for
/// nothing; what becomes ready meanwhile is found by looking.
constexpr auto kLookInterval = std::chrono::seconds(1);

/// Identity of a file: the same name, inode, size and time mean the same content, because a
/// segment does not change from its `.ready` mark to its `.done` mark.
struct FileStamp {
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;
    bool operator==(const FileStamp&) const = default;
};

std::optional<FileStamp> stamp_of_file(const std::string& path) {
    struct stat info = {};
    if (::stat(path.c_str(), &info) != 0) return std::nullopt;
    return FileStamp{info.st_ino, info.st_size,
                     std::int64_t{info.st_mtim.tv_sec} * 1000000000 + info.st_mtim.tv_nsec};
}

/// A file and the mark under which it is ready.
struct ReadyStamp {
    FileStamp file;
    FileStamp mark;
    bool operator==(const ReadyStamp&) const = default;
};

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

}  // namespace

class PushAhead::Impl {
public:
    Impl(AheadSettings settings, Push push, Answer answer)
        : settings_(std::move(settings)), push_(std::move(push)), answer_(std::move(answer)) {
        for (std::size_t i = 0; i < std::max<std::size_t>(settings_.threads, 1); ++i)
            threads_.emplace_back([this] { work(); });
    }

    ~Impl() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        threads_.clear();
    }

    void ask(const std::string& name);
    bool has_stored(const std::string& name);
    void withdraw(const std::string& name);

private:
    using Lock = std::unique_lock<std::mutex>;

    void work();
    std::optional<std::string> next(Lock& lock);
    void wait(Lock& lock);
    std::string take(std::deque<std::string>& queue);
    void run(const std::string& name);
    void complete(const std::string& name, const std::optional<ReadyStamp>& before,
                  const Result<>& outcome);
    void complete_ahead(Entry& entry, const std::string& name, const Result<>& outcome);
    std::size_t count_stored() const;
    void scan(Lock& lock);
    void forget_archived(const std::vector<std::string>& ready);
    void answer(const std::string& name, const Result<>& outcome);

    std::string path_of(const std::string& name) const { return settings_.wal_path + "/" + name; }
    std::string mark_of(const std::string& name) const {
        return settings_.wal_path + "/archive_status/" + name + ".ready";
    }
    std::optional<ReadyStamp> stamp_of(const std::string& name) const {
        const std::optional<FileStamp> mark = stamp_of_file(mark_of(name));
        const std::optional<FileStamp> file = stamp_of_file(path_of(name));
        if (!mark || !file) return std::nullopt;
        return ReadyStamp{*file, *mark};
    }

    const AheadSettings settings_;
    const Push push_;
    const Answer answer_;
    std::mutex answer_mutex_;

    std::mutex mutex_;
    std::condition_variable wake_;
    std::map<std::string, Entry> entries_;
    std::deque<std::string> asked_;
    std::deque<std::string> ahead_;
    bool scan_wanted_ = false;
    bool stopping_ = false;
    Clock::time_point ahead_not_before_{};
    std::chrono::seconds pause_ = kPauseMin;
    std::vector<std::jthread> threads_;
};

void PushAhead::Impl::ask(const std::string& name) {
    bool stored = false;
    {
        const std::lock_guard lock(mutex_);
        Entry& entry = entries_[name];
        if (entry.state == State::stored && stamp_of(name) == entry.stamp) {
            stored = true;
        } else {
            // A file that is being read ahead has not been answered; its end will be the answer.
            if (entry.state != State::running && !entry.asked) {
                entry.state = State::queued;
                std::erase(ahead_, name);
                asked_.push_back(name);
            }
            entry.asked = true;
        }
        scan_wanted_ = scan_wanted_ || ahead_.size() < settings_.threads;
    }
    wake_.notify_all();
    if (stored) answer(name, {});
}

bool PushAhead::Impl::has_stored(const std::string& name) {
    const std::lock_guard lock(mutex_);
    const auto entry = entries_.find(name);
    return entry != entries_.end() && entry->second.state == State::stored &&
           stamp_of(name) == entry->second.stamp;
}

void PushAhead::Impl::withdraw(const std::string& name) {
    const std::lock_guard lock(mutex_);
    std::erase(asked_, name);
    std::erase(ahead_, name);
    const auto entry = entries_.find(name);
    if (entry == entries_.end()) return;
    entry->second.asked = false;
    if (entry->second.state != State::running) entries_.erase(entry);
}

void PushAhead::Impl::work() {
    Lock lock(mutex_);
    while (const std::optional<std::string> name = next(lock)) {
        lock.unlock();
        run(*name);
        lock.lock();
    }
}

/// What to do next; nullopt when there is nothing left to do but to end.
std::optional<std::string> PushAhead::Impl::next(Lock& lock) {
    for (;;) {
        if (stopping_) return std::nullopt;
        if (!asked_.empty()) return take(asked_);
        if (Clock::now() >= ahead_not_before_) {
            if (!ahead_.empty()) return take(ahead_);
            if (scan_wanted_) {
                scan_wanted_ = false;
                scan(lock);
                continue;
            }
        }
        wait(lock);
    }
}

void PushAhead::Impl::wait(Lock& lock) {
    if (entries_.empty() && !scan_wanted_) {
        wake_.wait(lock);
        return;
    }
    const Clock::time_point until = std::max(Clock::now() + kLookInterval, ahead_not_before_);
    if (wake_.wait_until(lock, until) == std::cv_status::timeout) scan_wanted_ = true;
}

std::string PushAhead::Impl::take(std::deque<std::string>& queue) {
    std::string name = std::move(queue.front());
    queue.pop_front();
    entries_[name].state = State::running;
    return name;
}

void PushAhead::Impl::run(const std::string& name) {
    const std::optional<ReadyStamp> before = stamp_of(name);
    Result<> outcome;
    try {
        outcome = push_(name, path_of(name));
    } catch (const std::bad_alloc&) {
        outcome = Error(ErrorKind::memory, "out of memory");
    } catch (const std::exception& exception) {
        outcome = Error(ErrorKind::internal, exception.what());
    }
    complete(name, before, outcome);
}

void PushAhead::Impl::complete(const std::string& name, const std::optional<ReadyStamp>& before,
                               const Result<>& outcome) {
    bool asked = false;
    {
        const std::lock_guard lock(mutex_);
        Entry& entry = entries_[name];
        asked = entry.asked;
        const std::optional<ReadyStamp> now = stamp_of(name);
        if (outcome) {
            pause_ = kPauseMin;
            ahead_not_before_ = {};
            scan_wanted_ = scan_wanted_ || (!asked && ahead_.empty());
        }
        if (outcome && asked && before && now && now != before) {
            // It is not the file any more that was begun, perhaps before anybody asked.
            entry.state = State::queued;
            asked_.push_back(name);
            asked = false;
        } else if (outcome && before && now == before) {
            entry = {.state = State::stored, .asked = false, .stamp = *before};
        } else if (outcome || asked || !now) {
            entries_.erase(name);  // nothing is known of it, or it has been archived meanwhile
        } else {
            complete_ahead(entry, name, outcome);
        }
    }
    if (asked) answer(name, outcome);
    wake_.notify_all();
}

void PushAhead::Impl::complete_ahead(Entry& entry, const std::string& name,
                                     const Result<>& outcome) {
    entry.state = State::failed;
    ahead_not_before_ = Clock::now() + pause_;
    pause_ = std::min<std::chrono::seconds>(pause_ * 2, kPauseMax);
    log_detail("could not push WAL file '" + name +
               "' ahead of time: " + outcome.error().message());
}

/// Queues what is ready and not known yet. Without the lock while it reads the directory.
void PushAhead::Impl::scan(Lock& lock) {
    // Those that wait for another repository must not hide what this one has yet to get.
    const std::size_t window = kWindow + count_stored();
    lock.unlock();
    const Result<std::vector<std::string>> ready = list_ready_files(settings_.wal_path, window);
    lock.lock();
    if (!ready) {
        log_detail("no pushing ahead of time: " + ready.error().message());
        return;
    }
    forget_archived(*ready);
    for (const std::string& name : *ready) {
        // The list may be older than what was archived and forgotten since.
        const auto known = entries_.find(name);
        if (known != entries_.end() && known->second.state != State::failed) continue;
        if (!stamp_of_file(mark_of(name))) continue;
        entries_[name].state = State::queued;
        ahead_.push_back(name);
    }
    wake_.notify_all();
}

std::size_t PushAhead::Impl::count_stored() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        entries_, [](const auto& item) { return item.second.state == State::stored; }));
}

/// Bounds the memory: what is no longer ready has been archived and is not asked for again.
void PushAhead::Impl::forget_archived(const std::vector<std::string>& ready) {
    std::erase_if(entries_, [&](const auto& item) {
        const auto& [name, entry] = item;
        if (entry.state == State::running || entry.state == State::queued) return false;
        return std::find(ready.begin(), ready.end(), name) == ready.end() &&
               !stamp_of_file(mark_of(name));
    });
}

void PushAhead::Impl::answer(const std::string& name, const Result<>& outcome) {
    const std::lock_guard lock(answer_mutex_);
    answer_(name, outcome);
}

PushAhead::PushAhead(AheadSettings settings, Push push, Answer answer)
    : impl_(std::make_unique<Impl>(std::move(settings), std::move(push), std::move(answer))) {}
PushAhead::~PushAhead() = default;

void PushAhead::ask(const std::string& name) {
    impl_->ask(name);
}

void PushAhead::withdraw(const std::string& name) {
    impl_->withdraw(name);
}

bool PushAhead::has_stored(const std::string& name) const {
    return impl_->has_stored(name);
}

}  // namespace chronos::ops::archive

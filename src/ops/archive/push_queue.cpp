// Idea: the archiver asks for one segment and waits; the next one is ready by then, and it will ask
// for it. So threads store what has a `.ready` mark before it is asked for, and most questions are
// answered by a look at the file.
//
//     ask() --> asked_ --+
//                        +--> next() --> [a thread of the lane stores it] --> complete()
//     scan() -> ahead_ --+      asked_ first; scan() when both are empty, 64 names a time
//
// A file is queued -> running -> stored or failed; of each name there is one entry, and it is in
// one of asked_, ahead_, a thread. An answer that is wrong would lose WAL, so "stored" is never
// said of a name, but of a file and the mark under which it was read (ReadyStamp): a server that
// was restored beside us, or a segment that was recycled, has the name and not the stamp. What has
// changed while it was read is stored again, if somebody has asked; else it is as if it had not
// been seen.
//
// A failure of a file that was asked for is its answer. One of work ahead is nobody's answer: it
// pauses all work ahead, longer each time, and is tried again at once when it is asked for. What
// archiving has acknowledged is known by its mark having gone, and forgotten at the next scan: the
// map is bounded by what is ready.
#include "ops/archive/push_queue.h"

#include <sys/stat.h>

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/ops/archive/ready.h"

namespace chronos::ops::archive {
namespace {

/// How far ahead of the archiver: it, too, takes 64 names from one reading of the directory.
constexpr std::size_t kWindow = 64;
constexpr auto kPauseMax = std::chrono::seconds(60);
/// While files are not acknowledged the archiver may be waiting for another repository and ask for
/// nothing; what becomes ready meanwhile is found by looking.
constexpr auto kLookInterval = std::chrono::seconds(1);

std::optional<FileStamp> stamp_of_file(const std::string& path) {
    struct stat info = {};
    if (::stat(path.c_str(), &info) != 0) return std::nullopt;
    return FileStamp{info.st_ino, info.st_size,
                     std::int64_t{info.st_mtim.tv_sec} * 1000000000 + info.st_mtim.tv_nsec};
}

}  // namespace

std::optional<ReadyStamp> PushQueue::stamp_of(const std::string& name) const {
    const std::optional<FileStamp> mark = stamp_of_file(mark_of(name));
    const std::optional<FileStamp> file = stamp_of_file(path_of(name));
    if (!mark || !file) return std::nullopt;
    return ReadyStamp{*file, *mark};
}

bool PushQueue::ask(const std::string& name) {
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
        scan_wanted_ = scan_wanted_ || ahead_.size() < workers_;
    }
    wake_.notify_all();
    return stored;
}

bool PushQueue::has_stored(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto entry = entries_.find(name);
    return entry != entries_.end() && entry->second.state == State::stored &&
           stamp_of(name) == entry->second.stamp;
}

void PushQueue::withdraw(const std::string& name) {
    const std::lock_guard lock(mutex_);
    std::erase(asked_, name);
    std::erase(ahead_, name);
    const auto entry = entries_.find(name);
    if (entry == entries_.end()) return;
    entry->second.asked = false;
    if (entry->second.state != State::running) entries_.erase(entry);
}

std::optional<PushQueue::Item> PushQueue::next() {
    std::optional<std::string> name;
    {
        Lock lock(mutex_);
        name = pick(lock);
    }
    if (!name) return std::nullopt;
    return Item{*name, path_of(*name), stamp_of(*name)};
}

/// What to do next; nullopt when there is nothing left to do but to end.
std::optional<std::string> PushQueue::pick(Lock& lock) {
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

void PushQueue::wait(Lock& lock) {
    if (entries_.empty() && !scan_wanted_) {
        wake_.wait(lock);
        return;
    }
    const Clock::time_point until = std::max(Clock::now() + kLookInterval, ahead_not_before_);
    if (wake_.wait_until(lock, until) == std::cv_status::timeout) scan_wanted_ = true;
}

std::string PushQueue::take(std::deque<std::string>& queue) {
    std::string name = std::move(queue.front());
    queue.pop_front();
    entries_[name].state = State::running;
    return name;
}

bool PushQueue::complete(const Item& item, const Result<>& outcome) {
    const auto& [name, path, before] = item;
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
    wake_.notify_all();
    return asked;
}

void PushQueue::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
}

void PushQueue::complete_ahead(Entry& entry, const std::string& name, const Result<>& outcome) {
    entry.state = State::failed;
    ahead_not_before_ = Clock::now() + pause_;
    pause_ = std::min<std::chrono::seconds>(pause_ * 2, kPauseMax);
    log_detail("could not push WAL file '" + name +
               "' ahead of time: " + outcome.error().message());
}

/// Queues what is ready and not known yet. Without the lock while it reads the directory.
void PushQueue::scan(Lock& lock) {
    // Those that wait for another repository must not hide what this one has yet to get.
    const std::size_t window = kWindow + count_stored();
    lock.unlock();
    const Result<std::vector<std::string>> ready = list_ready_files(wal_path_, window);
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

std::size_t PushQueue::count_stored() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        entries_, [](const auto& item) { return item.second.state == State::stored; }));
}

/// Bounds the memory: what is no longer ready has been archived and is not asked for again.
void PushQueue::forget_archived(const std::vector<std::string>& ready) {
    std::erase_if(entries_, [&](const auto& item) {
        const auto& [name, entry] = item;
        if (entry.state == State::running || entry.state == State::queued) return false;
        return std::find(ready.begin(), ready.end(), name) == ready.end() &&
               !stamp_of_file(mark_of(name));
    });
}

}  // namespace chronos::ops::archive

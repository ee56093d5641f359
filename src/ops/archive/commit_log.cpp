#include "ops/archive/commit_log.h"

#include <algorithm>
#include <exception>

#include "chronos/base/log.h"
#include "chronos/pgdata/wal.h"

namespace chronos::ops::archive {

using Clock = std::chrono::steady_clock;

CommitLog::CommitLog(std::string stanza, std::size_t batch, std::chrono::milliseconds delay)
    : stanza_(std::move(stanza)), batch_(batch), delay_(delay) {}

CommitLog::~CommitLog() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

bool CommitLog::Pending::is_for(const Target& target, const std::string& segment) const {
    return repository == target.repository && archive_id == target.cluster.archive_id() &&
           pgdata::timeline_of_segment(notes.front().segment) ==
               pgdata::timeline_of_segment(segment);
}

void CommitLog::add(const std::vector<Target>& targets, const repo::CommitNote& note) {
    {
        const std::lock_guard lock(mutex_);
        for (const Target& target : targets) {
            const auto found = std::ranges::find_if(
                pending_, [&](const Pending& one) { return one.is_for(target, note.segment); });
            if (found != pending_.end()) {
                found->notes.push_back(note);
                if (found->notes.size() >= batch_) found->due = Clock::now();
                continue;
            }
            pending_.push_back({.repository = target.repository,
                                .archive_id = target.cluster.archive_id(),
                                .passphrase = target.passphrase,
                                .notes = {note},
                                .due = Clock::now() + (batch_ > 1 ? delay_ : Clock::duration{})});
        }
        if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
    }
    wake_.notify_all();
}

void CommitLog::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        const auto next = std::ranges::min_element(pending_, {}, &Pending::due);
        if (next == pending_.end()) {
            if (stopping_) return;
            wake_.wait(lock);
            continue;
        }
        if (!stopping_ && Clock::now() < next->due) {
            wake_.wait_until(lock, next->due);
            continue;
        }
        Pending pending = std::move(*next);
        pending_.erase(next);
        lock.unlock();
        save(std::move(pending));
        lock.lock();
    }
}

void CommitLog::save(Pending pending) const {
    std::ranges::sort(pending.notes, {}, &repo::CommitNote::segment);
    try {
        const Result<> saved = repo::save_commit_notes(
            *pending.repository, stanza_, pending.archive_id, pending.notes, pending.passphrase);
        if (!saved) log_detail("commit times are not noted: " + saved.error().message());
    } catch (const std::exception& exception) {
        log_detail(std::string("commit times are not noted: ") + exception.what());
    }
}

}  // namespace chronos::ops::archive

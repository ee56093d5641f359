#include "ops/backup/companions.h"

#include <algorithm>

#include "chronos/io/cpu_tokens.h"

namespace chronos::ops::backup {
namespace {

/// Far less than a machine that backs up has of page cache.
constexpr std::uint64_t kLeadMax = std::uint64_t{256} << 20;
/// One that has not moved for so long waits for its repository, which may take minutes to fail.
constexpr auto kStandstill = std::chrono::seconds(10);
constexpr auto kSlice = std::chrono::milliseconds(100);

}  // namespace

Result<StartedBackup> Companions::start(const std::function<Result<StartedBackup>()>& enter) {
    const std::lock_guard lock(server_mutex_);
    if (!started_) started_.emplace(enter());
    return *started_;
}

bool Companions::all_stopping() const {
    return std::ranges::all_of(members_,
                               [](const Member& one) { return one.left || one.stopping; });
}

Result<EndedBackup> Companions::stop(std::size_t member,
                                     const std::function<Result<EndedBackup>()>& leave,
                                     const Cancellation& cancel) {
    {
        std::unique_lock lock(mutex_);
        members_[member].stopping = true;
        changed_.notify_all();
        while (!all_stopping()) {
            CHRONOS_TRY(cancel.check());
            changed_.wait_for(lock, kSlice);
        }
    }
    const std::lock_guard lock(server_mutex_);
    if (!ended_) ended_.emplace(leave());
    return *ended_;
}

bool Companions::holds_up(const Member& ahead, const Member& other) const {
    if (other.left || other.copied || ahead.bytes <= other.bytes + kLeadMax) return false;
    return Clock::now() - other.moved < kStandstill;
}

void Companions::pace(std::size_t member, std::uint64_t bytes, const Cancellation& cancel) {
    std::unique_lock lock(mutex_);
    Member& own = members_[member];
    own.bytes += bytes;
    own.moved = Clock::now();
    const auto held_up = [&] {
        return std::ranges::any_of(members_,
                                   [&](const Member& other) { return holds_up(own, other); });
    };
    if (!held_up()) return;
    lock.unlock();
    const io::WaitScope waiting;
    lock.lock();
    while (held_up() && cancel.check()) changed_.wait_for(lock, kSlice);
    // Waiting is no standing still.
    own.moved = Clock::now();
}

void Companions::copied(std::size_t member) {
    const std::lock_guard lock(mutex_);
    members_[member].copied = true;
    changed_.notify_all();
}

void Companions::leave(std::size_t member) {
    const std::lock_guard lock(mutex_);
    members_[member].left = true;
    changed_.notify_all();
}

bool Companions::leads(std::size_t member) {
    const std::lock_guard lock(mutex_);
    const auto first = std::ranges::find(members_, false, &Member::left);
    return first != members_.end() &&
           first - members_.begin() == static_cast<std::ptrdiff_t>(member);
}

}  // namespace chronos::ops::backup

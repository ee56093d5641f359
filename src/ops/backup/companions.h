#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/db/connection.h"
#include "chronos/db/server.h"
#include "ops/backup/server_side.h"

namespace chronos::ops::backup {

/// How backup mode ended.
struct EndedBackup {
    db::StoppedBackup stopped;
    std::vector<db::Database> databases;
    UnixTime timestamp = 0;  ///< of the server's clock
};

/// What backups of one cluster into several repositories share, each in a thread of its own: the
/// server enters backup mode once and leaves it when all have copied, and they stay close enough
/// together while copying that the cluster's files come from its disks once and for the others from
/// memory. One that fails leaves; the others are none the worse. Any thread.
class Companions {
public:
    explicit Companions(std::size_t count) : members_(count) {}

    /// The first one to come enters backup mode; the others get what it got.
    Result<StartedBackup> start(const std::function<Result<StartedBackup>()>& enter);
    /// Returns when every member has come or left, and backup mode has been left, once.
    Result<EndedBackup> stop(std::size_t member, const std::function<Result<EndedBackup>()>& leave,
                             const Cancellation& cancel);
    /// Takes note of bytes read and waits while the member is too far ahead of another one, unless
    /// that one stands still.
    void pace(std::size_t member, std::uint64_t bytes, const Cancellation& cancel);
    /// The member has read what it needs.
    void copied(std::size_t member);
    /// The member has ended, well or not.
    void leave(std::size_t member);
    /// One of those that are left: for what is to be shown once.
    bool leads(std::size_t member);

private:
    using Clock = std::chrono::steady_clock;
    struct Member {
        bool left = false;
        bool copied = false;
        bool stopping = false;
        std::uint64_t bytes = 0;
        Clock::time_point moved = Clock::now();
    };
    bool holds_up(const Member& ahead, const Member& other) const;
    bool all_stopping() const;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Member> members_;
    std::mutex server_mutex_;  ///< held while the server enters or leaves backup mode
    std::optional<Result<StartedBackup>> started_;
    std::optional<Result<EndedBackup>> ended_;
};

/// A session that several threads use.
class SharedConnection final : public db::Connection {
public:
    explicit SharedConnection(db::Connection& session) : session_(session) {}
    Result<db::Rows> query(std::string_view sql,
                           const std::vector<std::string>& parameters) override {
        const std::lock_guard lock(mutex_);
        return session_.query(sql, parameters);
    }

private:
    std::mutex mutex_;
    db::Connection& session_;
};

}  // namespace chronos::ops::backup

#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "chronos/ops/archive/push.h"
#include "chronos/repo/info.h"
#include "chronos/repo/local/stanza_memory.h"
#include "chronos/repo/side/owner.h"
#include "chronos/repo/stanza.h"

namespace chronos::ops::archive {

/// A repository that can take WAL of the cluster, and where in it.
struct Target {
    const repo::Repository* repository = nullptr;
    repo::HistoryEntry cluster;  ///< the stanza's current one
    std::string passphrase;      ///< of the archive; "" when not encrypted
    /// The name has another content there: this one is kept beside the archive.
    bool aside = false;
};

/// What went wrong with one of several repositories.
struct RepositoryError {
    unsigned key = 1;
    Error error;
};

/// Marks what says nothing about the content of a repository and may be over in a moment: a file
/// system that is not mounted yet, a service that restarts.
Error mark_transient(Error error);

/// One line a repository behind `summary`: "repo1: [FileOpenError] ...". Hints of all of them. Kind
/// crypto if the passphrase is what is wrong in each.
Error combine(ErrorKind kind, const std::string& summary,
              const std::vector<RepositoryError>& errors);

/// The stanza in one repository, loaded once and again when its archive.info has changed. Any
/// thread.
class StanzaWatch {
public:
    StanzaWatch(const PushSettings& settings, const repo::Repository& repository);

    /// `cluster` nullopt: whatever cluster the stanza says. Kind archive_mismatch if it is another.
    Result<Target> target(const std::optional<repo::ClusterIdentity>& cluster);

    /// Whether the stanza is still the one that the target is of, by a question that is asked after
    /// the call has begun; many that wait share one. The error is transient if it is another one.
    Result<> confirm(const Target& target);

    unsigned key() const { return repository_.key; }

private:
    /// What tells a changed archive.info from an unchanged one.
    struct Stamp {
        std::uint64_t size = 0;
        UnixTime modified = 0;
        bool operator==(const Stamp&) const = default;
    };
    Result<> refresh(const std::optional<repo::ClusterIdentity>& cluster);
    Result<std::optional<Stamp>> stamp() const;
    Result<> check_owner();
    Result<> look_again();
    Result<> compare(const Target& target) const;
    Result<bool> may_create(const std::optional<repo::ClusterIdentity>& cluster) const;
    Result<> create(const repo::ClusterIdentity& cluster);

    const PushSettings& settings_;
    const repo::Repository& repository_;
    const repo::StanzaMemory memory_;
    mutable std::mutex mutex_;
    std::optional<repo::ArchiveInfo> info_;
    std::optional<Stamp> stamp_;
    /// Loaded so soon after it was written that a later content may have the same stamp.
    bool stamp_is_young_ = false;
    std::chrono::steady_clock::time_point looked_at_{};
    std::optional<std::chrono::steady_clock::time_point> owner_asked_at_;
    bool seen_ = false;  ///< it existed once: if it is gone now, something is wrong

    std::mutex confirm_mutex_;
    std::condition_variable confirmed_;
    std::uint64_t asked_ = 0;     ///< calls of confirm()
    std::uint64_t answered_ = 0;  ///< of them, those that have begun before the last question
    bool asking_ = false;
};

}  // namespace chronos::ops::archive

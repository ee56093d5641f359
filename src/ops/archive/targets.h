#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "chronos/ops/archive_push.h"
#include "chronos/repo/info.h"
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

/// One line a repository behind `summary`: "repo1: [FileOpenError] ...". Hints of all of them.
Error combine(ErrorKind kind, const std::string& summary,
              const std::vector<RepositoryError>& errors);

/// The stanza in one repository, loaded once and again when its archive.info has changed. Any
/// thread.
class StanzaWatch {
public:
    StanzaWatch(const PushSettings& settings, const repo::Repository& repository);

    /// `cluster` nullopt: whatever cluster the stanza says. Kind archive_mismatch if it is another.
    Result<Target> target(const std::optional<repo::ClusterIdentity>& cluster);

private:
    /// What tells a changed archive.info from an unchanged one.
    struct Stamp {
        std::uint64_t size = 0;
        UnixTime modified = 0;
        bool operator==(const Stamp&) const = default;
    };
    Result<> refresh(const std::optional<repo::ClusterIdentity>& cluster);
    Result<std::optional<Stamp>> stamp() const;
    Result<bool> may_create(const std::optional<repo::ClusterIdentity>& cluster) const;
    Result<> create(const repo::ClusterIdentity& cluster);
    std::string memory_path(std::uint64_t system_id) const;
    void remember() const;
    bool remembered(std::uint64_t system_id) const;

    const PushSettings& settings_;
    const repo::Repository& repository_;
    mutable std::mutex mutex_;
    std::optional<repo::ArchiveInfo> info_;
    std::optional<Stamp> stamp_;
    std::chrono::steady_clock::time_point looked_at_{};
    bool seen_ = false;  ///< it existed once: if it is gone now, something is wrong
};

}  // namespace chronos::ops::archive

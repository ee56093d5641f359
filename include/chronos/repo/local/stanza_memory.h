#pragma once

#include <cstdint>
#include <string>

#include "chronos/base/result.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// What a cluster and its machine know of stanzas that they have seen: a directory without the
/// stanza is no new repository then, but one whose file system is not mounted. Kept in the spool,
/// or in the lock path where the spool cannot be written to; and in pg_stat_tmp of the data
/// directory, since the others may be gone after a reboot, with the mount: no backup has what lies
/// there. Without a place it is as if every time were the first. Buckets are not remembered: they
/// are not mounted.
class StanzaMemory {
public:
    struct Settings {
        std::string spool_path;
        std::string lock_path;
        std::string stanza;
        std::string pg_path = "";  ///< data directory; "": nothing is kept there
    };
    explicit StanzaMemory(Settings settings) : settings_(std::move(settings)) {}

    /// Whether the stanza of the cluster was in this repository, at the place that is configured.
    bool remembers(const Repository& repository, std::uint64_t system_id) const;
    void remember(const Repository& repository, std::uint64_t system_id) const;

    /// Nothing if the stanza may be created by its first use. Kind path_missing if the root of the
    /// repository is not there, or the stanza is remembered.
    Result<> check_first_use(const Repository& repository, std::uint64_t system_id) const;

private:
    std::string name(const Repository& repository, std::uint64_t system_id) const;
    std::string spool_file(const Repository& repository, std::uint64_t system_id) const;
    std::string lock_file(const Repository& repository, std::uint64_t system_id) const;
    std::string cluster_file(const Repository& repository, std::uint64_t system_id) const;

    Settings settings_;
};

}  // namespace chronos::repo

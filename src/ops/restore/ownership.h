#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "chronos/repo/manifest.h"

namespace chronos::ops::restore {

/// Takes away what no file of a cluster needs and what would give away more than it contains:
/// setuid, setgid and sticky bits.
void bound_modes(repo::Manifest& manifest);

struct Owner {
    uid_t user = 0;
    gid_t group = 0;
};

/// Who files belong to (docs/format/restore.md, Owners and modes): root gives them to the users of
/// the manifest, everybody else keeps them. Immutable after the constructor, so that threads may
/// share it.
class Ownership {
public:
    /// Root gives what belongs to nobody that is known here, or to root, to the owner of `pg_path`;
    /// to the user who owns most of the backup if root owns that too.
    Ownership(const repo::Manifest& manifest, const std::string& pg_path);

    /// nullopt: leave it to the system.
    std::optional<Owner> owner_of(const repo::OwnerName& user, const repo::OwnerName& group) const;
    /// What somebody should know about owners that cannot be kept.
    const std::vector<std::string>& warnings() const { return warnings_; }

private:
    void adopt_owner(const repo::Manifest& manifest);
    void collect_warnings(const repo::Manifest& manifest);
    bool root_ = false;
    Owner fallback_;
    std::map<std::string, uid_t> users_;
    std::map<std::string, gid_t> groups_;
    std::vector<std::string> warnings_;
};

}  // namespace chronos::ops::restore

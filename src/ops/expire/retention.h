#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "chronos/ops/expire/expire.h"
#include "chronos/repo/info.h"

namespace chronos::ops::expire {

/// Which backups go. Pure: the rules on a list, without a repository.
struct BackupPlan {
    std::map<std::string, std::string> expired;  ///< label => reason
    std::map<std::string, std::string> kept;     ///< label => reason
    /// What a rule removes at a time: "full backup" and the backup with what depends on it.
    std::vector<std::pair<std::string, std::vector<std::string>>> sets;
    /// Retention::archive or, if that is not set, what it is by default; nullopt: no WAL goes.
    std::optional<std::uint64_t> archive;
};

/// `backups` ascending by label; `held` are labels that must stay, with what they depend on.
BackupPlan plan_backups(const std::vector<repo::BackupEntry>& backups, const Retention& retention,
                        const std::set<std::string>& held, UnixTime now);

/// The backup and everything that depends on it, ascending.
std::vector<std::string> with_dependents(const std::vector<repo::BackupEntry>& backups,
                                         const std::string& label);

/// Held backups and what they depend on: label => why it must stay.
std::map<std::string, std::string> protected_backups(const std::vector<repo::BackupEntry>& backups,
                                                     const std::set<std::string>& held);

}  // namespace chronos::ops::expire

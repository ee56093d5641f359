#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "chronos/ops/expire.h"
#include "chronos/repo/info.h"

namespace chronos::ops::expire {

/// Which backups go. Pure: the rules on a list, without a repository.
struct BackupPlan {
    std::map<std::string, std::string> expired;  ///< label => reason
    std::map<std::string, std::string> kept;     ///< label => reason
    /// Backups that were asked to go by name: each with what depends on it, in the order of the
    /// rules, for the log.
    std::vector<std::pair<std::string, std::vector<std::string>>> sets;  ///< kind => labels
    /// How many fulls remain by a rule of days that found its limit; WAL retention follows it.
    std::optional<std::uint64_t> fulls_within_days;
};

/// `backups` ascending by label; `held` are labels that must stay, with what they depend on.
BackupPlan plan_backups(const std::vector<repo::BackupEntry>& backups, const Retention& retention,
                        const std::set<std::string>& held, UnixTime now);

/// The backup and everything that depends on it, ascending.
std::vector<std::string> with_dependents(const std::vector<repo::BackupEntry>& backups,
                                         const std::string& label);

}  // namespace chronos::ops::expire

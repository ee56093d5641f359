#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/ops/expire/expire.h"
#include "chronos/repo/info.h"
#include "chronos/repo/side/lease.h"
#include "chronos/repo/side/mount_hold.h"

/// What is done in one repository, as a row of values, each made of the one before:
///
///     load -> decide -> unlist -> remove_data -> finish
///
/// Killed between any two steps the repository stays valid; their order is why. It is the compiler
/// that keeps it: a step takes what the former one made, and takes it away (none of it can be
/// copied, for the lease is in it), so that no step can be left out, exchanged or done again.
namespace chronos::ops::expire {

using What = Decision::What;

/// What all steps are lent. Outlives them.
struct Scope {
    const ExpireRequest& request;
    const ExpireRepository& target;
    std::vector<Decision>& decisions;
    const Cancellation& cancel;

    const repo::Repository& repository() const { return target.repository; }
    storage::Storage& storage() const { return *target.repository.storage; }
    std::string repo_name() const { return "repo" + std::to_string(repository().key); }
    std::string backup_dir() const { return repo::backup_path(request.stanza); }
    std::string archive_dir(const std::string& id) const {
        return repo::archive_path(request.stanza) + "/" + id;
    }
    std::string manifest_name(const std::string& label) const {
        return repo::manifest_name(request.stanza, label);
    }
    void say(const std::string& text) const;
    void decided(What what, bool removed, std::string name, std::string reason) const;
};

/// What all later steps work with.
struct Stanza {
    std::unique_ptr<repo::Lease> lease;    ///< null in a dry run
    std::vector<std::string> directories;  ///< of backups, at the beginning; ascending
    std::set<std::string> complete;        ///< those with a manifest, but not in backup.info
    repo::BackupInfo info;                 ///< what stays listed
    bool info_changed = false;
    std::string former_latest;
    repo::ArchiveInfo archive_info;
    std::set<std::string> held;
    std::map<std::string, repo::MountedBackup> mounted;  ///< by label; also in `held`
    std::string in_use;  ///< also in `held`: a backup that is being made is based on it

    /// Asked before each step that cannot be undone: a host that was at a standstill has been
    /// replaced.
    Result<> go_on(const Cancellation& cancel) const;
    std::string latest() const { return info.backups.empty() ? "" : info.backups.back().label; }
};

/// Nobody else removes anything, and what is there has been read.
struct Loaded {
    Stanza stanza;
};
Result<Loaded> load(const Scope& scope);

/// What is to go.
struct Verdict {
    Retention retention;                   ///< as it holds in this run
    std::optional<std::uint64_t> archive;  ///< as in BackupPlan
    std::vector<std::string> expired;      ///< labels, ascending
    bool found = false;                    ///< the backup asked for by name is in this repository
};

/// It has been decided; backups and WAL are as they were. What goes is not in stanza.info any more.
struct Decided {
    Stanza stanza;
    Verdict verdict;
};
Result<Decided> decide(const Scope& scope, Loaded&& loaded);

/// What goes is no backup any more: its manifests are gone and, if there was space to write that,
/// it is not listed; durably.
struct Unlisted {
    Stanza stanza;
    Verdict verdict;
    bool info_due = false;  ///< there was no space to write what has changed
};
Result<Unlisted> unlist(const Scope& scope, Decided&& decided);

/// Its data is gone, and WAL that nothing needs.
struct Removed {
    Stanza stanza;
    Verdict verdict;
    bool info_due = false;
};
Result<Removed> remove_data(const Scope& scope, Unlisted&& unlisted);

/// Writes what there was no space for, and removes old manifests in backup.history. Whether the
/// backup asked for by name was found.
Result<bool> finish(const Scope& scope, Removed&& removed);

/// Of all clusters the WAL that no backup needs and no retention wants. Part of remove_data().
Result<> remove_wal(const Scope& scope, const Stanza& stanza, const Verdict& verdict);

}  // namespace chronos::ops::expire

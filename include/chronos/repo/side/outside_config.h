#pragma once

#include <optional>
#include <string>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/base/server_files.h"
#include "chronos/pgdata/server_config.h"
#include "chronos/repo/repository.h"

/// Configuration files that a cluster has outside of its data directory (as pg_createcluster makes
/// them), where no backup looks. They are kept beside it, under chronos/<stanza>/config/<label>,
/// encrypted as backup.info says; without them no backup is the worse.
namespace chronos::repo {

struct OutsideFile {
    std::string path;  ///< absolute, on the machine of the cluster
    std::string content;
    bool operator==(const OutsideFile&) const = default;
};

/// The files of one backup, and which of them the server was started with; "" for what lies in the
/// data directory.
struct OutsideConfig {
    ServerFiles server;
    std::vector<OutsideFile> files;
    /// Absolute paths of what include_dir names. A server starts with an empty one (conf.d of
    /// pg_createcluster), and without it it does not.
    std::vector<std::string> directories;

    bool empty() const { return files.empty() && directories.empty(); }
    const OutsideFile* find(const std::string& path) const;
    bool operator==(const OutsideConfig&) const = default;
};

/// What of the files and directories that the server reads lies outside of `pgdata`, as this
/// machine has it now. `unread` gets what cannot be read, and those of `server` that are not there.
OutsideConfig find_outside_config(const ServerFiles& server, const std::string& pgdata,
                                  std::vector<std::string>& unread);

/// The kept files as if they lay where they were; `config` must outlive it.
pgdata::ConfigSource kept_config_source(const OutsideConfig& config);

/// Keeps it for the backup. `pass` is BackupInfo::cipher_pass.
Result<> save_outside_config(const Repository& repository, const std::string& stanza,
                             const std::string& label, const OutsideConfig& config,
                             const std::string& pass);
/// The object that it is kept in.
std::string outside_config_name(const std::string& stanza, const std::string& label);
/// Empty if nothing is kept for the backup. Records of before 0.2.0 name no directories: they are
/// those that the kept files include.
Result<OutsideConfig> load_outside_config(const Repository& repository, const std::string& stanza,
                                          const std::string& label, const std::string& pass);
/// Removes what is kept for backups other than `labels`.
Result<> remove_outside_configs(const Repository& repository, const std::string& stanza,
                                const std::vector<std::string>& labels);

std::string format_outside_config(const OutsideConfig& config);
/// Kind format for what format_outside_config() did not write.
Result<OutsideConfig> parse_outside_config(std::string_view text);

}  // namespace chronos::repo

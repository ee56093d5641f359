#include "requests/local_paths.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "chronos/pgdata/data_directory.h"
#include "chronos/repo/places.h"

namespace chronos::requests {
namespace {

namespace fs = std::filesystem;
using ops::check::CheckFinding;
using ops::check::CheckStatus;

constexpr mode_t kSearch = 1;
constexpr mode_t kWriteAndSearch = 3;

struct Account {
    uid_t user = 0;
    gid_t group = 0;
};

bool may(const struct stat& status, const Account& who, mode_t wanted) {
    if (who.user == 0) return true;
    const unsigned shift = status.st_uid == who.user ? 6 : status.st_gid == who.group ? 3 : 0;
    return (status.st_mode >> shift & wanted) == wanted;
}

/// Why the account cannot make files in the directory, or make that; "" if it can.
std::string obstacle(fs::path path, const Account& who) {
    const bool self = ::geteuid() == who.user;
    struct stat status = {};
    while (::stat(path.c_str(), &status) != 0 && path != path.parent_path())
        path = path.parent_path();
    if (!S_ISDIR(status.st_mode)) return "'" + path.string() + "' is not a directory";
    const bool allowed =
        self ? ::access(path.c_str(), W_OK | X_OK) == 0 : may(status, who, kWriteAndSearch);
    if (!allowed)
        return "user " + std::to_string(who.user) + " may not write to '" + path.string() +
               "', which belongs to user " + std::to_string(status.st_uid);
    for (fs::path above = path.parent_path(); !self; above = above.parent_path()) {
        if (::stat(above.c_str(), &status) == 0 && !may(status, who, kSearch))
            return "user " + std::to_string(who.user) + " may not enter '" + above.string() + "'";
        if (above == above.parent_path()) break;
    }
    return "";
}

/// The repository that is a directory and has the path in it; "" if none has.
std::string repository_around(const config::Config& config, const std::string& path) {
    for (const unsigned key : config.repo_keys()) {
        if (config.is_directory(key) && repo::lies_in(path, config.get_string({"repo-path", key})))
            return "repo" + std::to_string(key);
    }
    return "";
}

/// What backups, restores and commands take for a part of what they work on; "" if it is in
/// nothing of that kind.
std::string misplaced(const config::Config& config, const std::string& path,
                      const std::string& pg_path) {
    if (repo::lies_in(path, pg_path))
        return "lies in the data directory: it is backed up with it, and a restore removes it";
    if (const std::string other = pgdata::data_directory_around(path); !other.empty())
        return "lies in the data directory '" + other +
               "': it is backed up with it, and a restore removes it";
    if (const std::string repository = repository_around(config, path); !repository.empty())
        return "lies in the repository " + repository +
               ": it may be taken for a part of it, and is removed with it";
    return "";
}

}  // namespace

std::vector<CheckFinding> check_local_paths(const config::Config& config,
                                            const std::string& pg_path) {
    std::vector<CheckFinding> findings;
    struct stat owner = {};
    if (::stat(pg_path.c_str(), &owner) != 0) return findings;
    std::vector<config::TextName> options{"lock-path"};
    if (config.has("spool-path")) options.push_back("spool-path");
    if (config.has("log-path") && config.get_string("log-level-file") != "off")
        options.push_back("log-path");
    if (config.has("drill-path")) options.push_back("drill-path");
    for (const config::TextName name : options) {
        const std::string option = written(name);
        const std::string path = config.get_string(name);
        // No drill may ever run here: that it could not is no failure of this server.
        const std::string why =
            option == "drill-path" ? "" : obstacle(path, {owner.st_uid, owner.st_gid});
        if (!why.empty())
            findings.push_back({option, CheckStatus::failure,
                                option + " '" + path + "' cannot be used by the server: " + why,
                                "Give it to the owner of the data directory: chown " +
                                    std::to_string(owner.st_uid) + ":" +
                                    std::to_string(owner.st_gid) + " " + path + ".",
                                ErrorKind::file_open});
        else if (const std::string how = misplaced(config, path, pg_path); !how.empty())
            findings.push_back({option,
                                CheckStatus::note,
                                option + " '" + path + "' " + how,
                                "Set " + option + " to a directory outside of it.",
                                {}});
    }
    return findings;
}

}  // namespace chronos::requests

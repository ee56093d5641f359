#include "chronos/pgdata/exclude.h"

#include <algorithm>
#include <array>

#include "chronos/base/text.h"
#include "chronos/pgdata/cluster_files.h"
#include "pgdata/cluster_rules.h"

namespace chronos::pgdata {
namespace {

constexpr std::string_view kDataPrefix = "pg_data/";
constexpr std::string_view kTablespaces = "pg_tblspc/";

struct Vital {
    std::string_view name;
    std::string_view what;  ///< is gone without it
};

constexpr std::string_view kBothLocks = "the row locks of several transactions";

/// Of these no part that the server made can be spared.
constexpr std::array kVital = {
    Vital{"PG_VERSION", "the version of the cluster"},
    Vital{"base", "all databases"},
    Vital{"global", "pg_control and what all databases share"},
    Vital{"pg_commit_ts", "the commit times of transactions"},
    Vital{"pg_logical", "the progress of replication origins"},
    Vital{"pg_logical/replorigin_checkpoint", "the progress of replication origins"},
    Vital{"pg_multixact", kBothLocks},
    Vital{"pg_multixact/members", kBothLocks},
    Vital{"pg_multixact/offsets", kBothLocks},
    Vital{"pg_tblspc", "all tablespaces"},
    Vital{"pg_twophase", "prepared transactions"},
    Vital{"pg_xact", "the commit status of transactions"},
};

/// Directories that the server does not make again; what is in them is another matter.
constexpr std::array<std::string_view, 11> kEmptyDirectories = {"pg_dynshmem",
                                                                "pg_logical/mappings",
                                                                "pg_logical/snapshots",
                                                                "pg_notify",
                                                                "pg_replslot",
                                                                "pg_serial",
                                                                "pg_snapshots",
                                                                "pg_stat",
                                                                "pg_stat_tmp",
                                                                "pg_subtrans",
                                                                "pg_wal"};

constexpr std::array<std::string_view, 3> kConfiguration = {"pg_hba.conf", "pg_ident.conf",
                                                            "postgresql.conf"};

std::string_view vital(std::string_view path) {
    const auto found = std::ranges::find(kVital, path, &Vital::name);
    return found == kVital.end() ? std::string_view() : found->what;
}

/// "0000" and longer: a segment of a status log, or the state of a prepared transaction.
bool is_hex_name(std::string_view name) {
    constexpr std::size_t kShortest = 4;
    return name.size() >= kShortest &&
           name.find_first_not_of("0123456789ABCDEF") == std::string_view::npos;
}

std::string lost_in_database(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    const std::string_view file_name = path.substr(slash + 1);
    const std::string directory = "'" + std::string(path.substr(0, slash)) + "'";
    if (is_relation_name(file_name))
        return "relation " + std::string(relation_number(file_name)) + " in " + directory;
    if (!is_needed_by_server(std::string(kDataPrefix) + std::string(path))) return "";
    return "a file without which nothing in " + directory + " can be used";
}

/// Those in place lie in the data directory themselves.
std::string lost_of_tablespace(std::string_view path) {
    std::string_view rest = path.substr(kTablespaces.size());
    const std::string_view oid = rest.substr(0, rest.find('/'));
    const auto number = parse_uint(oid);
    if (!number || *number == 0) return "";
    rest.remove_prefix(oid.size());
    const bool version_directory =
        rest.starts_with("/PG_") && rest.find('/', 1) == std::string_view::npos;
    return rest.empty() || version_directory ? "tablespace " + std::string(oid) : "";
}

/// "" if the server can do without.
std::string lost_with(std::string_view exclude) {
    if (exclude.empty()) return "the whole data directory";
    const bool contents_only = exclude.ends_with('/');
    const std::string_view path = exclude.substr(0, exclude.size() - (contents_only ? 1 : 0));
    const std::string name = std::string(kDataPrefix) + std::string(path);
    if (const std::string_view what = vital(path); !what.empty()) return std::string(what);
    if (std::ranges::find(kEmptyDirectories, path) != kEmptyDirectories.end())
        return contents_only ? "" : "a directory that the server needs to be there";
    if (is_database_directory(name)) return "a database";
    if (in_database_directory(name)) return lost_in_database(path);
    if (path.starts_with(kTablespaces)) return lost_of_tablespace(path);
    const std::size_t slash = path.rfind('/');
    if (slash == std::string_view::npos || !is_hex_name(path.substr(slash + 1))) return "";
    const std::string_view directory = path.substr(0, slash);
    return directory == "base" ? "" : std::string(vital(directory));
}

}  // namespace

Result<> check_exclude(std::string_view exclude) {
    const std::string lost = lost_with(exclude);
    if (lost.empty()) return {};
    std::string hint =
        "Take it out of the option: it is for log directories, core files, copies and what else is"
        " not PostgreSQL's.";
    if (std::ranges::find(kEmptyDirectories, exclude) != kEmptyDirectories.end())
        hint = "'" + std::string(exclude) + "/' leaves out what is in it, and no more.";
    else if (in_database_directory(std::string(kDataPrefix) + std::string(exclude)) ||
             exclude.starts_with("base"))
        hint += " A restore leaves out databases with --db-exclude.";
    return Error(ErrorKind::option_invalid_value,
                 "exclude '" + printable(exclude) + "' would take away " + lost +
                     ": what is restored from such a backup would be no server, or not whole")
        .with_hint(hint);
}

Result<> check_excludes(const std::vector<std::string>& excludes) {
    for (const std::string& exclude : excludes) CHRONOS_TRY(check_exclude(exclude));
    return {};
}

bool excludes_configuration(std::string_view exclude) {
    return std::ranges::find(kConfiguration, exclude) != kConfiguration.end();
}

}  // namespace chronos::pgdata

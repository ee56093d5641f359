#include "pgdata/cluster_rules.h"

#include <algorithm>
#include <array>

#include "chronos/base/text.h"
#include "chronos/pgdata/cluster_files.h"

namespace chronos::pgdata {
namespace {

constexpr std::string_view kPgData = "pg_data/";
constexpr std::string_view kInPlaceTablespaces = "pg_data/pg_tblspc/";
constexpr std::string_view kPgInternalInit = "pg_internal.init";
constexpr std::string_view kInitFork = "_init";
constexpr std::uint64_t kSegmentFileSize = std::uint64_t{1} << 30;  ///< of a relation

constexpr std::array<std::string_view, 7> kSkippedContents = {
    "pg_dynshmem",  "pg_notify",   "pg_replslot", "pg_serial",
    "pg_snapshots", "pg_stat_tmp", "pg_subtrans"};

/// Of the running server, or of another backup: a map of that would lead a restored server astray.
constexpr std::array<std::string_view, 7> kSkippedRootFiles = {
    "backup_label",         "backup_label.old",         "tablespace_map",
    "current_logfiles.tmp", "postgresql.auto.conf.tmp", "postmaster.opts",
    "postmaster.pid"};

/// Of the WAL directory, which a running server's base backup keeps without what is in them.
constexpr std::array<std::string_view, 2> kSkippedWalContents = {"pg_data/pg_wal/archive_status",
                                                                 "pg_data/pg_wal/summaries"};

/// What every cluster has in its directory.
constexpr std::array<std::string_view, 22> kServersOwn = {
    "PG_VERSION",           "base",           "global",       "pg_commit_ts", "pg_dynshmem",
    "pg_hba.conf",          "pg_ident.conf",  "pg_logical",   "pg_multixact", "pg_notify",
    "pg_replslot",          "pg_serial",      "pg_snapshots", "pg_stat",      "pg_stat_tmp",
    "pg_subtrans",          "pg_tblspc",      "pg_twophase",  "pg_wal",       "pg_xact",
    "postgresql.auto.conf", "postgresql.conf"};

/// What an instant restore notes for as long as it is not whole (src/ops/mount): the directory, and
/// the name of pg_control until then.
constexpr std::string_view kInstantState = ".chronos-lazy",
                           kInstantGuard = "pg_control.chronos-lazy";

constexpr std::array<std::string_view, 4> kFileSystemDirectories = {"lost+found", ".snapshot",
                                                                    ".snapshots", ".zfs"};

template <class List>
bool contains(const List& list, std::string_view name) {
    return std::ranges::find(list, name) != std::end(list);
}

/// Removes leading digits from `text`; false if there are none.
bool take_digits(std::string_view& text) {
    const auto end = std::ranges::find_if_not(text, is_digit);
    const bool taken = end != text.begin();
    text.remove_prefix(static_cast<std::size_t>(end - text.begin()));
    return taken;
}

bool take(std::string_view& text, std::string_view prefix) {
    if (!text.starts_with(prefix)) return false;
    text.remove_prefix(prefix.size());
    return true;
}

/// `(_fsm|_vm)? (.digits)?` to the end.
bool is_fork_and_segment(std::string_view text) {
    if (!take(text, "_fsm")) take(text, "_vm");
    return text.empty() || (take(text, ".") && take_digits(text) && text.empty());
}

/// "t3_16384...": a temporary relation of one session.
bool is_temporary_relation(std::string_view name) {
    return take(name, "t") && take_digits(name) && take(name, "_") && take_digits(name) &&
           is_fork_and_segment(name);
}

/// The relation cache, and its temporary files "pg_internal.init.<pid>".
bool is_relation_cache(std::string_view name) {
    if (!take(name, kPgInternalInit)) return false;
    if (name.empty()) return true;
    for (std::size_t dot = name.find('.'); dot != std::string_view::npos;
         dot = name.find('.', dot + 1))
        if (dot + 1 < name.size() && is_digit(name[dot + 1])) return true;
    return false;
}

std::string_view base_name(std::string_view name) {
    return name.substr(name.rfind('/') + 1);
}

}  // namespace

bool is_database_directory(std::string_view name) {
    if (name == "pg_data/global") return true;
    if (take(name, "pg_data/base/")) return take_digits(name) && name.empty();
    if (name.starts_with(kInPlaceTablespaces)) name.remove_prefix(kPgData.size());
    if (!take(name, "pg_tblspc/") || !take_digits(name) || !take(name, "/PG_")) return false;
    const std::size_t slash = name.find('/');
    if (slash == std::string_view::npos) return false;
    name.remove_prefix(slash + 1);
    return take_digits(name) && name.empty();
}

bool is_temporary_name(std::string_view file_name) {
    return file_name.starts_with("pgsql_tmp");
}

bool has_skipped_contents(std::string_view manifest_name, bool online) {
    if (online && contains(kSkippedWalContents, manifest_name)) return true;
    return take(manifest_name, kPgData) && contains(kSkippedContents, manifest_name);
}

bool is_skipped_root_file(std::string_view file_name, unsigned major) {
    if (contains(kSkippedRootFiles, file_name)) return true;
    if (file_name == "recovery.signal" || file_name == "standby.signal") return major >= 12;
    if (file_name == "recovery.conf" || file_name == "recovery.done") return major < 12;
    if (file_name == "backup_manifest" || file_name == "backup_manifest.tmp") return major >= 13;
    return false;
}

bool is_skipped_database_file(std::string_view file_name) {
    return is_relation_cache(file_name) || is_temporary_relation(file_name) ||
           file_name == kInstantGuard;
}

bool is_init_fork(std::string_view file_name) {
    return take_digits(file_name) && file_name == kInitFork;
}

bool is_relation_file(std::string_view file_name) {
    return take_digits(file_name) && is_fork_and_segment(file_name);
}

bool is_relation_name(std::string_view file_name) {
    if (is_relation_file(file_name)) return true;
    return take_digits(file_name) && take(file_name, kInitFork) && is_fork_and_segment(file_name);
}

std::string_view relation_number(std::string_view file_name) {
    std::string_view rest = file_name;
    take_digits(rest);
    return file_name.substr(0, file_name.size() - rest.size());
}

bool is_instant_state(std::string_view manifest_name) {
    return take(manifest_name, kPgData) && manifest_name == kInstantState;
}

bool belongs_to_file_system(std::string_view file_name) {
    return contains(kFileSystemDirectories, file_name);
}

bool in_database_directory(std::string_view manifest_name) {
    const std::size_t slash = manifest_name.rfind('/');
    return slash != std::string_view::npos && is_database_directory(manifest_name.substr(0, slash));
}

bool is_needed_by_server(std::string_view manifest_name) {
    if (in_database_directory(manifest_name)) {
        const std::string_view name = base_name(manifest_name);
        return name == "PG_VERSION" || name == "pg_filenode.map" || name == "pg_control" ||
               is_relation_name(name);
    }
    if (is_database_directory(manifest_name)) return true;
    if (!take(manifest_name, kPgData)) return true;
    const std::string_view top = manifest_name.substr(0, manifest_name.find('/'));
    if (top == manifest_name) return contains(kServersOwn, top);
    return top != "base" && top != "pg_wal" && top != "pg_tblspc" && contains(kServersOwn, top);
}

bool has_page_checksums(std::string_view manifest_name) {
    return in_database_directory(manifest_name) && is_relation_name(base_name(manifest_name));
}

bool reads_to_listed_size(std::string_view manifest_name) {
    // What the server changes under WAL protection: growth after the backup began is replayed.
    constexpr std::array<std::string_view, 6> kPrefixes = {
        "pg_data/base/",    "pg_data/global/", "pg_data/pg_multixact/",
        "pg_data/pg_xact/", "pg_tblspc/",      kInPlaceTablespaces};
    return std::ranges::any_of(
        kPrefixes, [&](std::string_view prefix) { return manifest_name.starts_with(prefix); });
}

std::uint64_t first_block_of(std::string_view manifest_name, std::uint32_t page_size) {
    const std::string_view file_name = base_name(manifest_name);
    const std::size_t dot = file_name.rfind('.');
    if (dot == std::string_view::npos) return 0;
    const auto segment = parse_uint(file_name.substr(dot + 1));
    return segment.value_or(0) * (kSegmentFileSize / page_size);
}

}  // namespace chronos::pgdata

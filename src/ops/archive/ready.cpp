#include <dirent.h>

#include <algorithm>
#include <cerrno>

#include "chronos/ops/archive/ready.h"
#include "chronos/pgdata/wal.h"

namespace chronos::ops::archive {
namespace {

constexpr std::string_view kReady = ".ready";

/// The archiver's order: history first, because it is needed to choose a timeline at all.
bool comes_before(const std::string& a, const std::string& b) {
    const bool a_history = pgdata::is_timeline_history(a);
    const bool b_history = pgdata::is_timeline_history(b);
    return a_history != b_history ? a_history : a < b;
}

}  // namespace

bool is_archivable_name(std::string_view name) {
    return pgdata::is_wal_segment(name) || pgdata::is_wal_partial(name) ||
           pgdata::is_backup_history(name) || pgdata::is_timeline_history(name);
}

Result<std::vector<std::string>> list_ready_files(const std::string& wal_path,
                                                  std::size_t count_max) {
    const std::string path = wal_path + "/archive_status";
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
    if (!directory) return system_error(ErrorKind::path_open, "open '" + path + "'", errno);
    std::vector<std::string> names;  // a heap: the name that comes last is in front
    errno = 0;
    while (const dirent* entry = readdir(directory.get())) {
        std::string_view name = entry->d_name;
        if (!name.ends_with(kReady)) continue;
        name.remove_suffix(kReady.size());
        if (!is_archivable_name(name)) continue;
        names.emplace_back(name);
        std::push_heap(names.begin(), names.end(), comes_before);
        if (names.size() <= count_max) continue;
        std::pop_heap(names.begin(), names.end(), comes_before);
        names.pop_back();
    }
    if (errno != 0) return system_error(ErrorKind::path_open, "read '" + path + "'", errno);
    std::sort_heap(names.begin(), names.end(), comes_before);
    return names;
}

}  // namespace chronos::ops::archive

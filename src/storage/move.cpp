#include "chronos/storage/move.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

#include "chronos/os/durable.h"

namespace chronos::storage {
namespace {

std::string parent_of(const std::string& path) {
    return path.substr(0, path.rfind('/'));
}

/// Where there is a rename, what a person would call an object is its path.
Result<> rename(Storage& storage, const ObjectName& from, const ObjectName& to) {
    const std::string old_path = storage.describe(from);
    const std::string new_path = storage.describe(to);
    const auto fail = [&](int error_number) {
        return system_error(ErrorKind::file_move,
                            "unable to move '" + old_path + "' to '" + new_path + "'",
                            error_number);
    };
    CHRONOS_TRY(storage.make_path(parent_of(to)));
    struct stat status {};
    if (::lstat(new_path.c_str(), &status) == 0) return fail(EEXIST);
    if (::rename(old_path.c_str(), new_path.c_str()) != 0) return fail(errno);
    // The new directories first: nothing may be in none of the two places.
    std::string parent = to;
    while (parent.find('/') != std::string::npos) {
        parent = parent_of(parent);
        CHRONOS_TRY(os::sync_directory(storage.describe(parent)));
    }
    return os::sync_directory(parent_of(old_path));
}

}  // namespace

Result<> copy_object(Storage& storage, const ObjectName& from, const ObjectName& to) {
    const auto source = CHRONOS_TRY(storage.open(from));
    const auto sink = CHRONOS_TRY(storage.create(to, WriteMode::atomic));
    CHRONOS_TRY_DOING(io::copy(*source, *sink),
                      "copy '" + storage.describe(from) + "' to '" + storage.describe(to) + "'");
    return {};
}

Result<> move_tree(Storage& storage, const ObjectName& from, const ObjectName& to) {
    const auto entry = CHRONOS_TRY(storage.info(from));
    const bool file = entry && entry->type == EntryType::file;
    std::vector<Entry> below;
    if (!file) below = CHRONOS_TRY(storage.list_tree(from));
    if (!entry && below.empty()) {
        const bool moved =
            CHRONOS_TRY(exists(storage, to)) || !CHRONOS_TRY(storage.list_tree(to)).empty();
        if (moved) return {};
        return Error(ErrorKind::not_found, "'" + storage.describe(from) + "' is missing");
    }
    if (storage.features().atomic_rename) return rename(storage, from, to);
    const auto move = [&](const ObjectName& one, const ObjectName& target) -> Result<> {
        CHRONOS_TRY(copy_object(storage, one, target));
        return storage.remove(one);
    };
    if (file) return move(from, to);
    for (const Entry& one : below) CHRONOS_TRY(move(from + "/" + one.name, to + "/" + one.name));
    return storage.remove_tree(from);
}

}  // namespace chronos::storage

#pragma once

#include <dirent.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "chronos/base/result.h"
#include "chronos/os/file.h"
#include "chronos/storage/posix/posix_storage.h"
#include "chronos/storage/storage.h"

namespace chronos::storage {

struct CloseDirectory {
    void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

/// Readers of the format ignore such names. Source: docs/format/repository.md, Atomic and plain
/// writing.
inline constexpr std::string_view kTemporarySuffix = ".pgbackrest.tmp";

/// Makes a directory and its missing parents with exactly `options.path_mode`. When `durable`, the
/// directories that got a new entry are synced. `existing`, unless it is "", is not made itself,
/// nor anything above it. Kinds: path_create, path_sync, path_missing (transient: `existing` is).
Result<> make_path_and_parents(const std::string& path, const PosixOptions& options, bool durable,
                               const std::string& existing = "");

/// A directory that was there already may have been made by somebody who was killed, or is still at
/// it, before its name was durable. Nothing is finished in it before that: only while it holds
/// nothing its name has to be synced by whoever finds it. Not that of `existing`, nor where that is
/// "". Kinds: path_open, path_sync.
Result<> sync_name_of_unused(const std::string& path, const std::string& existing);

/// `path` and every directory below it; links are not followed. A directory that vanishes
/// meanwhile is skipped.
Result<> sync_directories(const std::string& path);

/// Removes a directory and all below it; links are removed, not followed. Success if it is gone.
/// Kinds: path_open, path_remove, file_remove.
Result<> remove_directory_tree(const std::string& path);

}  // namespace chronos::storage

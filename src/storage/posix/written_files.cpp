#include "storage/posix/written_files.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "chronos/os/durable.h"
#include "storage/posix/posix_paths.h"

namespace chronos::storage {
namespace {

namespace fs = std::filesystem;

/// Directories count too: a tree of more would take longer to walk than it saves.
constexpr std::size_t kEntriesMax = 4 * WrittenFiles::kCountMax;

bool is_below(const std::string& path, const std::string& directory) {
    return path.starts_with(directory + "/");
}

}  // namespace

void WrittenFiles::add(const std::string& path, os::FileDescriptor file) {
    const std::lock_guard lock(mutex_);
    if (too_many_) return;
    files_[path] = std::move(file);
    if (files_.size() <= kCountMax) return;
    files_.clear();
    too_many_ = true;
}

void WrittenFiles::clear() {
    const std::lock_guard lock(mutex_);
    files_.clear();
    too_many_ = false;
}

void WrittenFiles::forget(const std::string& path) {
    const std::lock_guard lock(mutex_);
    std::erase_if(files_,
                  [&](const auto& one) { return one.first == path || is_below(one.first, path); });
}

bool WrittenFiles::knows_all_below(const std::string& directory) const {
    if (too_many_) return false;
    std::size_t count = 0;
    std::error_code error;
    for (auto entry = fs::recursive_directory_iterator(directory, error);
         !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
        if (++count > kEntriesMax) return false;
        const std::string path = entry->path();
        std::error_code gone;
        if (entry->symlink_status(gone).type() != fs::file_type::regular) continue;
        // Nobody reads it.
        if (path.ends_with(kTemporarySuffix)) continue;
        if (!files_.contains(path)) return false;
    }
    return !error;
}

Result<bool> WrittenFiles::sync_below(const std::string& directory) {
    const std::lock_guard lock(mutex_);
    if (failed_) return *failed_;
    if (!knows_all_below(directory)) return false;
    for (auto& [path, file] : files_) {
        if (!is_below(path, directory) || !file.valid()) continue;
        if (auto synced = os::sync_file(file.get(), path); !synced) {
            failed_ = std::move(synced).error();
            return *failed_;
        }
    }
    std::erase_if(files_, [&](const auto& one) { return is_below(one.first, directory); });
    return true;
}

}  // namespace chronos::storage

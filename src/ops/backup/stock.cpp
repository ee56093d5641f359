#include "ops/backup/stock.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "chronos/base/log.h"
#include "chronos/base/memory.h"
#include "chronos/repo/stored_file.h"

namespace chronos::ops::backup {
namespace {

constexpr std::size_t kLostNamedMax = 10;

/// Whether the stored copy is among `objects`, which are named relative to `directory`. Of empty
/// files there may be none; nobody needs them.
bool is_whole(const std::vector<storage::Entry>& objects, std::string_view directory,
              const std::string& object, const repo::ManifestFile& file) {
    if (file.size == 0) return true;
    const std::string_view name = std::string_view(object).substr(directory.size() + 1);
    const auto at = std::ranges::lower_bound(objects, name, {}, [](const storage::Entry& entry) {
        return std::string_view(entry.name);
    });
    return at != objects.end() && at->name == name &&
           at->size >= file.bundle_offset + file.repo_size;
}

using Lost = std::map<std::string, std::size_t>;  ///< files by object

void warn(const repo::Repository& repository, const Lost& lost) {
    std::size_t shown = 0;
    for (const auto& [object, files] : lost) {
        if (++shown > kLostNamedMax) break;
        log_warn("'" + repository.storage->describe(object) +
                 "' is missing or cut short, storing again what it held: " + std::to_string(files) +
                 (files == 1 ? " file" : " files"));
    }
    if (lost.size() > kLostNamedMax)
        log_warn("and " + std::to_string(lost.size() - kLostNamedMax) + " more like it");
}

}  // namespace

Result<> drop_lost_files(const repo::Repository& repository, const std::string& stanza,
                         repo::Manifest& prior) {
    const SharedText own(prior.label);
    const auto owner_of = [&](const repo::ManifestFile& file) {
        return file.reference.empty() ? own : file.reference;
    };
    std::set<SharedText> owners;
    for (const repo::ManifestFile& file : prior.files) owners.insert(owner_of(file));
    Lost lost;
    for (const SharedText& owner : owners) {
        const std::string directory = repo::backup_path(stanza, owner);
        const auto objects = CHRONOS_TRY(repository.storage->list_tree(directory));
        std::erase_if(prior.files, [&](const repo::ManifestFile& file) {
            if (owner_of(file) != owner) return false;
            const std::string object = repo::locate(stanza, prior, file).object;
            if (is_whole(objects, directory, object, file)) return false;
            ++lost[object];
            return true;
        });
    }
    release_free_memory();
    warn(repository, lost);
    return {};
}

}  // namespace chronos::ops::backup

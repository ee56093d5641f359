#include "ops/backup/publish.h"

#include <algorithm>
#include <utility>

#include "chronos/base/text.h"
#include "chronos/repo/manifest_store.h"

namespace chronos::ops::backup {
namespace {

// What a restore could not do without.
Result<> check_whole(const repo::Manifest& manifest) {
    CHRONOS_TRY(repo::validate_manifest(manifest));
    for (const repo::ManifestFile& file : manifest.files)
        if (file.size > 0 && file.repo_size == 0)
            return Error(ErrorKind::format,
                         "manifest validation failed: repo size must be > 0 for file '" +
                             printable(file.name) + "'");
    return {};
}

}  // namespace

Result<> save_partial_manifest(const Publication& to, const repo::Manifest& manifest,
                               std::mutex& mutex) {
    return repo::save_partial_manifest(to.repository, to.stanza, manifest, to.backup_pass, mutex);
}

Result<> save_manifest(const Publication& to, const repo::Manifest& manifest) {
    CHRONOS_TRY(check_whole(manifest));
    return repo::save_manifest(to.repository, to.stanza, manifest, to.backup_pass);
}

Result<> save_history(const Publication& to, const repo::Manifest& manifest) {
    return repo::save_history_manifest(to.repository, to.stanza, manifest, to.backup_pass);
}

Result<> link_latest(const Publication& to, const std::string& label) {
    if (!to.symlink) return {};
    return to.repository.storage->make_link(repo::backup_path(to.stanza) + "/latest", label);
}

Result<> list_backup(const Publication& to, repo::BackupInfo info, const repo::BackupEntry& entry) {
    const auto at =
        std::ranges::lower_bound(info.backups, entry.label, {}, &repo::BackupEntry::label);
    info.backups.insert(at, entry);
    return repo::save_backup_info(to.repository, to.stanza, info);
}

}  // namespace chronos::ops::backup

#include "ops/backup/publish.h"

#include <algorithm>

#include "chronos/compress/compress.h"

namespace chronos::ops::backup {
namespace {

constexpr int kHistoryLevel = 9;  // gz, whatever the options of the backup say

std::string manifest_name(const Publication& to, const std::string& label) {
    return repo::backup_path(to.stanza, label) + "/backup.manifest";
}

// What a restore could not do without.
Result<> check_whole(const repo::Manifest& manifest) {
    CHRONOS_TRY(repo::validate_manifest(manifest));
    for (const repo::ManifestFile& file : manifest.files)
        if (file.size > 0 && file.repo_size == 0)
            return Error(
                ErrorKind::format,
                "manifest validation failed: repo size must be > 0 for file '" + file.name + "'");
    return {};
}

}  // namespace

Result<> save_partial_manifest(const Publication& to, const std::string& label,
                               std::string_view text) {
    return repo::write_text(to.repository, manifest_name(to, label) + ".copy", text,
                            to.backup_pass);
}

Result<> save_manifest(const Publication& to, const repo::Manifest& manifest) {
    CHRONOS_TRY(check_whole(manifest));
    const std::string name = manifest_name(to, manifest.label);
    const std::string text = repo::format_manifest(manifest);
    CHRONOS_TRY(repo::write_text(to.repository, name + ".copy", text, to.backup_pass));
    return repo::write_text(to.repository, name, text, to.backup_pass);
}

Result<> save_history(const Publication& to, const repo::Manifest& manifest) {
    io::MemorySink packed;
    const auto compressor = compress::make_compressor(compress::CompressType::gz, kHistoryLevel,
                                                      compress::Form::normal, packed);
    CHRONOS_TRY(compressor->write(io::bytes(repo::format_manifest(manifest))));
    CHRONOS_TRY(compressor->finish());
    const std::string name = repo::backup_path(to.stanza) + "/backup.history/" +
                             manifest.label.substr(0, 4) + "/" + manifest.label + ".manifest.gz";
    return repo::write_text(to.repository, name, packed.content, to.backup_pass);
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

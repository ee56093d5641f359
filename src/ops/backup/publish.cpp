#include "ops/backup/publish.h"

#include <algorithm>
#include <memory>
#include <utility>

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

/// Stores text, encrypted as manifests are, without ever having it as a whole.
class TextObject {
public:
    static Result<std::unique_ptr<TextObject>> create(const Publication& to,
                                                      const std::string& name) {
        return std::unique_ptr<TextObject>(new TextObject(
            to, CHRONOS_TRY(to.repository.storage->create(name, storage::WriteMode::atomic))));
    }
    io::Sink& front() { return encryptor_ ? *encryptor_ : *object_; }

private:
    TextObject(const Publication& to, std::unique_ptr<io::Sink> object)
        : object_(std::move(object)) {
        if (to.repository.encrypted() && !to.backup_pass.empty())
            encryptor_ =
                crypto::make_encryptor(to.backup_pass, crypto::CipherForm::normal, *object_);
    }
    std::unique_ptr<io::Sink> object_;
    std::unique_ptr<io::Sink> encryptor_;
};

Result<> store_manifest(const Publication& to, const std::string& name,
                        const repo::Manifest& manifest) {
    const auto object = CHRONOS_TRY(TextObject::create(to, name));
    CHRONOS_TRY(repo::write_manifest(manifest, object->front()));
    return object->front().finish();
}

}  // namespace

Result<> save_partial_manifest(const Publication& to, const repo::Manifest& manifest,
                               std::mutex& mutex) {
    const std::string name = manifest_name(to, manifest.label) + ".copy";
    if (to.repository.storage->features().remote) {
        // Whoever copies must not wait for a network.
        std::unique_lock lock(mutex);
        const std::string text = repo::format_manifest(manifest);
        lock.unlock();
        return repo::write_text(to.repository, name, text, to.backup_pass);
    }
    const auto object = CHRONOS_TRY(TextObject::create(to, name));
    std::unique_lock lock(mutex);
    CHRONOS_TRY(repo::write_manifest(manifest, object->front()));
    lock.unlock();
    return object->front().finish();
}

Result<> save_manifest(const Publication& to, const repo::Manifest& manifest) {
    CHRONOS_TRY(check_whole(manifest));
    const std::string name = manifest_name(to, manifest.label);
    CHRONOS_TRY(store_manifest(to, name + ".copy", manifest));
    return store_manifest(to, name, manifest);
}

Result<> save_history(const Publication& to, const repo::Manifest& manifest) {
    const std::string name = repo::backup_path(to.stanza) + "/backup.history/" +
                             manifest.label.substr(0, 4) + "/" + manifest.label + ".manifest.gz";
    const auto object = CHRONOS_TRY(TextObject::create(to, name));
    const auto compressor = compress::make_compressor(compress::CompressType::gz, kHistoryLevel,
                                                      compress::Form::normal, object->front());
    CHRONOS_TRY(repo::write_manifest(manifest, *compressor));
    return compressor->finish();
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

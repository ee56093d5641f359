#include <algorithm>
#include <utility>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/storage/parallel.h"
#include "ops/backup/phases.h"

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

/// What others have listed or removed since the beginning is not undone.
Result<> reload_info(Sealed& sealed) {
    Work& work = sealed.work;
    const repo::Manifest& manifest = sealed.manifest;
    const repo::BackupInfo& info = work.known.info;
    repo::ReconstructedInfo now = CHRONOS_TRY(
        repo::load_backup_info_reconstructed(work.request.repository, work.request.stanza));
    if (now.info.current_id != info.current_id || now.info.cipher_pass != info.cipher_pass)
        return Error(ErrorKind::lock_acquire, "stanza '" + work.request.stanza +
                                                  "' was upgraded or created anew while the backup"
                                                  " was made")
            .with_hint("Take the backup again.");
    if (now.info.find(manifest.label) != nullptr)
        return Error(ErrorKind::lock_acquire,
                     "somebody else has completed backup '" + manifest.label + "'")
            .with_hint("Is another backup of this stanza running, perhaps on another host?");
    if (!manifest.prior.empty() && now.info.find(manifest.prior) == nullptr)
        return Error(ErrorKind::backup_set_invalid, "backup '" + manifest.prior +
                                                        "', which this one is based on, was"
                                                        " removed while it was made")
            .with_hint("Take the backup again: it will be based on another one, or be full.");
    work.known = std::move(now);
    return {};
}

/// Locks may fail, and others may not know them: what is published was made by this run alone.
Result<> prove_ours(const Scope& scope, Sealed& sealed) {
    // A session that is gone proves nothing either way, and the backup does not need it any more.
    if (scope.online()) {
        const auto locked = db::has_backup_lock(*scope.connection);
        if (locked && !*locked)
            return Error(ErrorKind::lock_acquire, "the session has lost pgBackRest's advisory lock")
                .with_hint("Does a connection pooler stand between this command and the server?");
    }
    CHRONOS_TRY(sealed.work.guard.prove_lease());
    CHRONOS_TRY(sealed.work.guard.witness.check(sealed.work.storage()));
    return reload_info(sealed);
}

/// The last look at the backup's directory before anybody takes it for a backup. Whatever must
/// still be true of it belongs here: nothing is published if it is not.
Result<> prove_directory(const Sealed& sealed) {
    return repo::prove_stored(sealed.work.request.repository, sealed.work.request.stanza,
                              sealed.manifest);
}

/// Writes backup.manifest.copy and then backup.manifest, the moment at which the backup exists;
/// all that it mentions must be durable. Kind format if the manifest is not whole.
Result<> save_manifest(const Work& work, const repo::Manifest& manifest) {
    CHRONOS_TRY(check_whole(manifest));
    return repo::save_manifest(work.request.repository, work.request.stanza, manifest,
                               work.known.info.cipher_pass);
}

/// backup.history/<year>/<label>.manifest.gz
Result<> save_history(const Work& work, const repo::Manifest& manifest) {
    return repo::save_history_manifest(work.request.repository, work.request.stanza, manifest,
                                       work.known.info.cipher_pass);
}

// Rules of object stores that remove what is old go by the time of the last write.
Result<> touch_archive_info(Work& work) {
    const BackupRequest& request = work.request;
    work.archive = CHRONOS_TRY(repo::load_archive_info(request.repository, request.stanza));
    return repo::save_archive_info(request.repository, request.stanza, work.archive);
}

Result<> save_manifests(Sealed& sealed) {
    const auto manifest = [&]() -> Result<> {
        CHRONOS_TRY_DOING(save_manifest(sealed.work, sealed.manifest), "save the manifest");
        return {};
    };
    const auto history = [&]() -> Result<> {
        CHRONOS_TRY_DOING(save_history(sealed.work, sealed.manifest), "save the history manifest");
        return {};
    };
    return storage::at_once(sealed.work.storage(),
                            {manifest, history, [&] { return touch_archive_info(sealed.work); }});
}

/// Points `latest` to the backup, where the storage has links.
Result<> link_latest(const Work& work, const std::string& label) {
    if (!work.request.symlink) return {};
    return work.storage().make_link(repo::backup_path(work.request.stanza) + "/latest", label);
}

void keep_configuration(const Work& work, const repo::Manifest& manifest) {
    const repo::Repository& repository = work.request.repository;
    const std::string& stanza = work.request.stanza;
    const repo::BackupInfo& info = work.known.info;
    Result<> kept;
    if (!work.outside.empty())
        kept = repo::save_outside_config(repository, stanza, manifest.label, work.outside,
                                         info.cipher_pass);
    std::vector<std::string> labels{manifest.label};
    for (const repo::BackupEntry& entry : info.backups) labels.push_back(entry.label);
    if (kept) kept = repo::remove_outside_configs(repository, stanza, labels);
    if (!kept)
        log_warn("unable to keep the configuration beside the backup: " + kept.error().message());
}

/// Adds the backup to backup.info and writes both files of it.
Result<> list_backup(const Work& work, const repo::Manifest& manifest) {
    repo::BackupInfo info = work.known.info;
    const auto at =
        std::ranges::lower_bound(info.backups, manifest.label, {}, &repo::BackupEntry::label);
    info.backups.insert(at, repo::backup_entry_of(manifest));
    return repo::save_backup_info(work.request.repository, work.request.stanza, info);
}

}  // namespace

Result<> save_partial(Work& work, const repo::Manifest& manifest, std::mutex& mutex) {
    Guard& guard = work.guard;
    // What somebody else wrote meanwhile would be lost with the proof of it.
    CHRONOS_TRY(guard.witness.check(work.storage()));
    // Whoever was taken for dead offers nobody to go on with his backup.
    CHRONOS_TRY(guard.prove_lease());
    CHRONOS_TRY(repo::save_partial_manifest(work.request.repository, work.request.stanza, manifest,
                                            work.known.info.cipher_pass, mutex));
    return guard.witness.note(work.storage(), work.directory(manifest) + "/backup.manifest.copy");
}

Result<Published> publish(const Scope& scope, Sealed&& sealed) {
    Work& work = sealed.work;
    const std::string& label = sealed.manifest.label;
    CHRONOS_TRY(scope.cancel.check());
    CHRONOS_TRY_DOING(prove_ours(scope, sealed), "publish backup '" + label + "'");
    log_info("new backup label = " + label);
    CHRONOS_TRY(prove_directory(sealed));
    CHRONOS_TRY(save_manifests(sealed));
    CHRONOS_TRY(link_latest(work, label));
    keep_configuration(work, sealed.manifest);
    // On a slow repository this was a while ago.
    CHRONOS_TRY_DOING(work.guard.prove_lease(), "list backup '" + label + "'");
    CHRONOS_TRY(list_backup(work, sealed.manifest));
    return Published{std::move(work), std::move(sealed.manifest), std::move(sealed.left_out),
                     sealed.bytes};
}

}  // namespace chronos::ops::backup

#include "chronos/repo/stanza.h"

#include <algorithm>
#include <optional>

#include "chronos/crypto/cipher.h"
#include "chronos/repo/manifest_store.h"

namespace chronos::repo {
namespace {

constexpr std::string_view kCorruptionHint = "This may be a symptom of repository corruption.";

/// Which of a main file and its copy exist.
struct Pair {
    bool main = false;
    bool copy = false;
    bool any() const { return main || copy; }
    bool both() const { return main && copy; }
};

std::string repo_name(const Repository& repository) {
    return "repo" + std::to_string(repository.key);
}

Result<Pair> look_for(const Repository& repository, const std::string& name) {
    Pair pair;
    pair.main = CHRONOS_TRY(storage::exists(*repository.storage, name));
    pair.copy = CHRONOS_TRY(storage::exists(*repository.storage, name + ".copy"));
    return pair;
}

std::string describe(const HistoryEntry& entry) {
    return "id = " + std::to_string(entry.id) + ", version = " + entry.version +
           ", system-id = " + std::to_string(entry.system_id);
}

Result<> check_cluster(const HistoryEntry& current, const ClusterIdentity& cluster) {
    if (cluster.is(current)) return {};
    return Error(ErrorKind::file_invalid,
                 "backup and archive info files exist but do not match the database\nstanza: "
                 "version = " +
                     current.version + ", system-id = " + std::to_string(current.system_id) +
                     "\ncluster: version = " + cluster.version +
                     ", system-id = " + std::to_string(cluster.system_id))
        .with_hint("Is this the correct stanza?")
        .with_hint("Did an error occur during stanza-upgrade?");
}

HistoryEntry first_entry(const ClusterIdentity& cluster) {
    return {.id = 1,
            .system_id = cluster.system_id,
            .version = cluster.version,
            .catalog_version = cluster.catalog_version,
            .control_version = cluster.control_version};
}

std::string new_cipher_pass(const Repository& repository) {
    return repository.encrypted() ? crypto::generate_passphrase() : "";
}

Result<> write_backup_info(const Repository& repository, const std::string& stanza,
                           const ClusterIdentity& cluster) {
    BackupInfo info;
    info.backrest_version = kFormatVersion;
    info.current_id = 1;
    info.history = {first_entry(cluster)};
    info.cipher_pass = new_cipher_pass(repository);
    return save_backup_info(repository, stanza, info);
}

Result<bool> is_empty(const Repository& repository, const std::string& path) {
    return CHRONOS_TRY(repository.storage->list(path)).empty();
}

Result<StanzaOutcome> create_new(const Repository& repository, const std::string& stanza,
                                 const ClusterIdentity& cluster) {
    const bool archive_empty = CHRONOS_TRY(is_empty(repository, archive_path(stanza)));
    const bool backup_empty = CHRONOS_TRY(is_empty(repository, backup_path(stanza)));
    if (!archive_empty || !backup_empty) {
        const char* what = backup_empty    ? "archive directory not empty"
                           : archive_empty ? "backup directory not empty"
                                           : "backup directory and/or archive directory not empty";
        Error error(ErrorKind::path_not_empty, what);
        error = std::move(error)
                    .with_hint("The info files of stanza '" + stanza + "' are missing on " +
                               repo_name(repository) + " but other files are there.")
                    .with_hint(repair_hint(stanza));
        if (!backup_empty) return error;
        return std::move(error).with_hint(
            "There is no backup. A server that archives while its stanza is deleted leaves such "
            "WAL; the stop command, 'stanza-delete --force' and the start command remove it.");
    }
    // Nothing else makes the directory of a repository.
    CHRONOS_TRY(repository.storage->make_path(""));
    ArchiveInfo archive;
    archive.backrest_version = kFormatVersion;
    archive.current_id = 1;
    HistoryEntry entry = first_entry(cluster);
    entry.catalog_version = entry.control_version = 0;  // backup.info only
    archive.history = {entry};
    archive.cipher_pass = new_cipher_pass(repository);
    CHRONOS_TRY(save_archive_info(repository, stanza, archive));
    CHRONOS_TRY(write_backup_info(repository, stanza, cluster));
    return StanzaOutcome::created;
}

/// The next id after the newest, as a history may go back and forth between clusters.
void append(ArchiveInfo& info, const ClusterIdentity& cluster) {
    HistoryEntry entry = first_entry(cluster);
    entry.catalog_version = entry.control_version = 0;  // backup.info only
    entry.id = info.history.back().id + 1;
    info.history.push_back(entry);
    info.current_id = entry.id;
}

void append(BackupInfo& info, const ClusterIdentity& cluster) {
    HistoryEntry entry = first_entry(cluster);
    entry.id = info.history.back().id + 1;
    info.history.push_back(entry);
    info.current_id = entry.id;
}

Error missing_kind(const Repository& repository, const std::string& stanza, const char* present,
                   const char* missing) {
    return Error(ErrorKind::not_found, std::string(present) + " exists but " + missing +
                                           " is missing on " + repo_name(repository))
        .with_hint(kCorruptionHint)
        .with_hint(repair_hint(stanza));
}

/// archive.info is written first: without backup.info it is either what a creation left that was
/// cut off, or damage. Only the former has one history entry, this cluster, and no backup.
Result<StanzaOutcome> complete_creation(const Repository& repository, const std::string& stanza,
                                        const ClusterIdentity& cluster) {
    const ArchiveInfo archive = CHRONOS_TRY(load_archive_info(repository, stanza));
    const bool no_backup = CHRONOS_TRY(is_empty(repository, backup_path(stanza)));
    if (archive.history.size() != 1 || archive.current_id != 1 || !no_backup)
        return missing_kind(repository, stanza, "archive.info", "backup.info");
    CHRONOS_TRY(check_cluster(archive.current(), cluster));
    CHRONOS_TRY(save_archive_info(repository, stanza, archive));
    CHRONOS_TRY(write_backup_info(repository, stanza, cluster));
    return StanzaOutcome::repaired;
}

}  // namespace

Result<> check_agreement(const ArchiveInfo& archive, const BackupInfo& backup,
                         const std::string& stanza) {
    const HistoryEntry& left = archive.current();
    const HistoryEntry& right = backup.current();
    if (left.id == right.id && left.same_cluster(right)) return {};
    return Error(ErrorKind::file_invalid,
                 "backup info file and archive info file do not match\narchive: " + describe(left) +
                     "\nbackup : " + describe(right))
        .with_hint(kCorruptionHint)
        .with_hint(repair_hint(stanza));
}

Result<> check_archive_ids(const ArchiveInfo& archive, const BackupInfo& backup) {
    for (const HistoryEntry& entry : backup.history) {
        const bool known = std::ranges::any_of(archive.history, [&](const HistoryEntry& other) {
            return other.id == entry.id && other.same_cluster(entry);
        });
        if (!known)
            return Error(ErrorKind::archive_mismatch,
                         "unable to retrieve the archive id for database version '" +
                             entry.version + "' and system-id '" + std::to_string(entry.system_id) +
                             "'");
    }
    return {};
}

ClusterIdentity ClusterIdentity::of(const pgdata::ControlFile& control) {
    return {.system_id = control.system_id,
            .version = control.version,
            .control_version = control.control_version,
            .catalog_version = control.catalog_version};
}

Result<std::vector<std::unique_ptr<Lock>>> lock_stanza(LockRequest request) {
    std::vector<std::unique_ptr<Lock>> locks;
    for (const LockType type : {LockType::archive, LockType::backup, LockType::restore}) {
        request.type = type;
        locks.push_back(CHRONOS_TRY(Lock::acquire(request)));
    }
    return locks;
}

Result<StanzaOutcome> create_stanza(const Repository& repository, const std::string& stanza,
                                    const ClusterIdentity& cluster) {
    const Pair archive_files = CHRONOS_TRY(look_for(repository, archive_info_name(stanza)));
    const Pair backup_files = CHRONOS_TRY(look_for(repository, backup_info_name(stanza)));
    if (!archive_files.any() && !backup_files.any()) return create_new(repository, stanza, cluster);
    if (!archive_files.any())
        return missing_kind(repository, stanza, "backup.info", "archive.info");
    if (!backup_files.any()) return complete_creation(repository, stanza, cluster);

    const ArchiveInfo archive = CHRONOS_TRY(load_archive_info(repository, stanza));
    const BackupInfo backup = CHRONOS_TRY(load_backup_info(repository, stanza));
    CHRONOS_TRY(check_agreement(archive, backup, stanza));
    CHRONOS_TRY(check_cluster(backup.current(), cluster));
    if (archive_files.both() && backup_files.both()) return StanzaOutcome::already_valid;
    if (!archive_files.both()) CHRONOS_TRY(save_archive_info(repository, stanza, archive));
    if (!backup_files.both()) CHRONOS_TRY(save_backup_info(repository, stanza, backup));
    return StanzaOutcome::repaired;
}

Result<StanzaOutcome> upgrade_stanza(const Repository& repository, const std::string& stanza,
                                     const ClusterIdentity& cluster) {
    ArchiveInfo archive = CHRONOS_TRY(load_archive_info(repository, stanza));
    BackupInfo backup = CHRONOS_TRY(load_backup_info(repository, stanza));
    const bool archive_behind = !cluster.is(archive.current());
    const bool backup_behind = !cluster.is(backup.current());
    if (archive_behind) append(archive, cluster);
    if (backup_behind) append(backup, cluster);
    // Before anything is written: files that went apart must not get further apart.
    CHRONOS_TRY(check_agreement(archive, backup, stanza));
    if (archive_behind) CHRONOS_TRY(save_archive_info(repository, stanza, archive));
    if (backup_behind) CHRONOS_TRY(save_backup_info(repository, stanza, backup));
    return archive_behind || backup_behind ? StanzaOutcome::upgraded : StanzaOutcome::already_valid;
}

Result<> delete_stanza(const Repository& repository, const std::string& stanza) {
    storage::Storage& storage = *repository.storage;
    for (const std::string& info : {archive_info_name(stanza), backup_info_name(stanza)}) {
        CHRONOS_TRY(storage.remove(info));
        CHRONOS_TRY(storage.remove(info + ".copy"));
    }
    CHRONOS_TRY(storage.remove_tree(archive_path(stanza)));
    CHRONOS_TRY(storage.remove_tree(backup_path(stanza)));
    return storage.remove_tree("chronos/" + stanza);
}

Result<bool> has_stanza(const Repository& repository, const std::string& stanza) {
    for (const std::string& path : {archive_path(stanza), backup_path(stanza)})
        if (!CHRONOS_TRY(repository.storage->list(path)).empty()) return true;
    return false;
}

Result<> validate_stanza(const Repository& repository, const std::string& stanza,
                         const ClusterIdentity& cluster) {
    const ArchiveInfo archive = CHRONOS_TRY(load_archive_info(repository, stanza));
    const BackupInfo backup = CHRONOS_TRY(load_backup_info(repository, stanza));
    CHRONOS_TRY(check_agreement(archive, backup, stanza));
    return check_cluster(backup.current(), cluster);
}

}  // namespace chronos::repo

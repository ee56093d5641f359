#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/cipher.h"
#include "chronos/db/config_places.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/places.h"
#include "chronos/repo/side/owner.h"
#include "ops/backup/phases.h"
#include "ops/backup/resume.h"
#include "ops/backup/stock.h"

namespace chronos::ops::backup {
namespace {

/// What is archived and what is backed up is of one cluster, and that may change the stanza.
Result<> check_stanza_of(const Opened& opened, const Cluster& cluster) {
    const repo::BackupInfo& info = opened.known.info;
    const repo::HistoryEntry& archive = opened.archive.current();
    const BackupRequest& request = opened.request;
    if (archive.id == info.current_id && archive.same_cluster(info.current()))
        return repo::StanzaOwner(request.repository, request.stanza)
            .use(CHRONOS_TRY(repo::identify_server(cluster.pgdata)), repo::StanzaUse::change);
    return Error(ErrorKind::file_invalid, "backup info file and archive info file do not match")
        .with_hint("This may be a symptom of repository corruption.")
        .with_hint(repo::repair_hint(request.stanza));
}

// Debian's pg_createcluster puts it elsewhere. No backup depends on it: what goes wrong is a
// warning.
repo::OutsideConfig find_configuration(db::Connection& connection, const std::string& pgdata) {
    const auto places = db::config_places(connection);
    if (!places) return {};
    std::vector<std::string> unread;
    repo::OutsideConfig outside = repo::find_outside_config(*places, pgdata, unread);
    for (const std::string& path : unread)
        log_warn("configuration file '" + printable(path) +
                 "' lies outside of the data directory and cannot be read: it is in no backup");
    return outside;
}

/// The manifest a diff or incr is based on; nullopt for a full backup, and - with a warning - if
/// there is none to be based on. Source: docs/format/backup.md, Choosing the prior.
Result<std::optional<repo::Manifest>> choose_prior(const BackupRequest& request,
                                                   const repo::BackupInfo& info) {
    if (request.type == repo::BackupType::full) return std::optional<repo::Manifest>{};
    const repo::BackupEntry* prior = nullptr;  // entries ascend: the last one that fits is newest
    for (const repo::BackupEntry& entry : info.backups) {
        const bool fits =
            request.type == repo::BackupType::incr || entry.type == repo::BackupType::full;
        if (fits && entry.history_id == info.current_id) prior = &entry;
    }
    const std::string type(repo::backup_type_name(request.type));
    if (prior == nullptr) {
        log_warn("no prior backup exists, " + type + " backup has been changed to full");
        return std::optional<repo::Manifest>{};
    }
    log_info("last backup label = " + prior->label + ", version = " + prior->backrest_version);
    return std::optional(CHRONOS_TRY(
        repo::load_manifest(request.repository, request.stanza, prior->label, info.cipher_pass)));
}

/// What every backup of a set has in common with its prior overrides the request; each difference
/// is a warning. Page checksums that are checked stay so; that they were not does not.
void inherit_options(const repo::Manifest& prior, BackupRequest& request) {
    const std::string type(repo::backup_type_name(request.type));
    if (request.compress_type != prior.options.compress_type) {
        log_warn(type + " backup cannot alter compress-type option to '" +
                 std::string(compress::compress_type_name(request.compress_type)) +
                 "', reset to value in " + prior.label);
        request.compress_type = prior.options.compress_type;
        request.compress_level.reset();
    }
    // A prior without it says nothing about pages that are read now: else a cluster whose checksums
    // were turned on would go unchecked until the next full backup.
    if (!prior.options.checksum_page.value_or(false)) return;
    if (!request.checksum_page.value_or(true))
        log_warn(type +
                 " backup cannot alter 'checksum-page' option to 'false', reset to 'true' from " +
                 prior.label);
    request.checksum_page = true;
}

// A checksum-page of "yes" for a cluster without checksums would find every page bad.
repo::ManifestOptions options_of(const BackupRequest& request, const Cluster& cluster,
                                 bool online) {
    const bool has_checksums = cluster.control.pages_have_checksums();
    // After a crash of the machine a page may be torn, which the recovery from WAL will mend.
    const bool pages_are_whole = online || cluster.control.shut_down || cluster.control.in_recovery;
    bool checksum_page = request.checksum_page.value_or(has_checksums && pages_are_whole);
    if (checksum_page && !has_checksums) {
        log_warn(
            "checksum-page option set to true but checksums are not enabled on the cluster,"
            " resetting to false");
        checksum_page = false;
    }
    repo::ManifestOptions options;
    options.archive_check = online && request.archive_check;
    options.archive_copy = online && request.archive_copy;
    options.checksum_page = checksum_page;
    options.compress_type = request.compress_type;
    options.delta = request.delta;
    options.online = online;
    return options;
}

Result<> decide_type(Chosen& chosen) {
    BackupRequest& request = chosen.work.request;
    repo::Manifest& manifest = chosen.manifest;
    chosen.prior = CHRONOS_TRY(choose_prior(request, chosen.work.known.info));
    manifest.backrest_version = repo::kFormatVersion;
    if (chosen.prior) {
        CHRONOS_TRY(drop_lost_files(request.repository, request.stanza, *chosen.prior));
        inherit_options(*chosen.prior, request);
        manifest.prior = chosen.prior->label;
        manifest.references = chosen.prior->references;
        manifest.bundle_raw = chosen.prior->bundle_raw;
        manifest.cipher_pass = chosen.prior->cipher_pass;
    } else {
        request.type = repo::BackupType::full;
        if (request.repository.encrypted()) manifest.cipher_pass = crypto::generate_passphrase();
    }
    manifest.type = request.type;
    manifest.bundle = request.bundle;
    manifest.block_incr = request.bundle && request.block;
    // What a full backup decides holds for all that refer to it.
    if (!chosen.prior) manifest.bundle_raw = manifest.block_incr;
    return {};
}

Result<> look_for_interrupted(Chosen& chosen) {
    const Work& work = chosen.work;
    const BackupRequest& request = work.request;
    chosen.resumed = CHRONOS_TRY(find_resumable(
        request.repository, request.stanza, work.known,
        {request.resume, request.type, request.compress_type,
         repo::timeline_history_object(request.stanza, work.archive.current().archive_id(),
                                       work.cluster.control.current_timeline())}));
    if (chosen.resumed) chosen.manifest.cipher_pass = chosen.resumed->cipher_pass;
    return {};
}

}  // namespace

Result<Chosen> choose(const Scope& scope, Opened&& opened) {
    Cluster cluster =
        CHRONOS_TRY(look_at_cluster(opened.request, scope.connection, opened.known.info.current()));
    repo::OutsideConfig outside;
    if (scope.online()) outside = find_configuration(*scope.connection, cluster.pgdata);
    CHRONOS_TRY(check_stanza_of(opened, cluster));
    Chosen chosen;
    // Whoever goes on with it may be another server, and sizes and times are all that it would
    // compare.
    if (cluster.standby()) opened.request.resume = false;
    chosen.work = {std::move(opened.request), std::move(opened.guard), std::move(opened.known),
                   std::move(opened.archive), std::move(cluster),      std::move(outside)};
    CHRONOS_TRY(decide_type(chosen));
    CHRONOS_TRY(look_for_interrupted(chosen));
    chosen.manifest.options = options_of(chosen.work.request, chosen.work.cluster, scope.online());
    return chosen;
}

}  // namespace chronos::ops::backup

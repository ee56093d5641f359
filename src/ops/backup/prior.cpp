#include "ops/backup/prior.h"

#include "chronos/base/log.h"

namespace chronos::ops::backup {

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

}  // namespace chronos::ops::backup

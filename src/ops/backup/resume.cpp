#include "ops/backup/resume.h"

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/pgdata/cluster_files.h"
#include "chronos/repo/info.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/stored_file.h"
#include "ops/backup/block_rules.h"

namespace chronos::ops::backup {
namespace {

constexpr std::string_view kPartialManifest = "backup.manifest.copy";
/// Longer than one file of a cluster takes, a gigabyte.
constexpr UnixTime kQuietOfTheDead_s = 600;

std::string in_quotes(std::string_view text) {
    return "'" + std::string(text) + "'";
}

/// Why the backup cannot be resumed; "" if it can. The version that wrote it is no reason, as it is
/// for pgBackRest: what is kept of it is compared with its checksums.
std::string obstacle(const repo::Manifest& resumed, const ResumeTerms& terms) {
    if (resumed.type != terms.type)
        return "new backup type " + in_quotes(repo::backup_type_name(terms.type)) +
               " does not match resumable backup type " +
               in_quotes(repo::backup_type_name(resumed.type));
    if (!resumed.prior.empty())
        return "new prior backup label '<undef>' does not match resumable prior backup label " +
               in_quotes(resumed.prior);
    if (resumed.options.compress_type != terms.compress_type)
        return "new compression " + in_quotes(compress::compress_type_name(terms.compress_type)) +
               " does not match resumable compression " +
               in_quotes(compress::compress_type_name(resumed.options.compress_type));
    return "";
}

struct Found {
    std::optional<repo::Manifest> manifest;
    std::string obstacle;
};

Found look_into(const repo::Repository& repository, const std::string& stanza,
                const std::string& label, const std::string& backup_pass,
                const ResumeTerms& terms) {
    if (terms.type != repo::BackupType::full) return {{}, "resume only valid for full backup"};
    if (!terms.enabled) return {{}, "resume is disabled"};
    auto manifest = repo::load_manifest_copy(repository, stanza, label, backup_pass);
    if (!manifest && manifest.error().kind() == ErrorKind::not_found)
        return {{}, "partially deleted by prior resume or invalid"};
    if (!manifest)
        return {
            {},
            "unable to read " + repository.storage->describe(repo::backup_path(stanza, label) +
                                                             "/" + std::string(kPartialManifest))};
    std::string reason = obstacle(*manifest, terms);
    return {*std::move(manifest), std::move(reason)};
}

/// Why a stored file is of no use; "" if it is.
std::string reason_to_remove(const std::string& object, const std::string& stanza,
                             const repo::Manifest& resumed, const repo::ManifestFile* before,
                             const repo::ManifestFile& file, bool delta) {
    if (before == nullptr) return "missing in resumed manifest";
    if (before->checksum.empty()) return "no checksum in resumed manifest";
    if (before->bundled()) return "mismatched bundle";
    if (repo::locate(stanza, resumed, *before).object != object)
        return "mismatched compression type";
    if (before->size != file.size) return "mismatched size";
    if (!delta && before->timestamp != file.timestamp) return "mismatched timestamp";
    if (file.size == 0) return "zero size";
    // It would be older than what it speaks of.
    return file.name == kControlFile ? "copied anew by every backup" : "";
}

void take_over(const repo::ManifestFile& before, repo::ManifestFile& file) {
    file.checksum = before.checksum;
    file.repo_checksum = before.repo_checksum;
    file.repo_size = before.repo_size;
    file.block_size = before.block_size;
    file.block_checksum_size = before.block_checksum_size;
    file.block_map_size = before.block_map_size;
    if (!pgdata::has_page_checksums(file.name)) return;
    file.page_checked = before.page_checked;
    file.page_error = before.page_error;
    file.page_error_ranges = before.page_error_ranges;
}

/// The manifest's name of an object in the directory of a backup: without the extension.
std::string_view without_extension(std::string_view object, compress::CompressType type) {
    constexpr std::string_view kBlocks = ".pgbi";
    const std::string_view extension = compress::compress_extension(type);
    if (object.ends_with(kBlocks))
        object.remove_suffix(kBlocks.size());
    else if (object.ends_with(extension))
        object.remove_suffix(extension.size());
    return object;
}

Result<> check_not_of_former_primary(storage::Storage& storage, const std::string& label,
                                     const std::string& directory, const std::string& history) {
    if (history.empty()) return {};
    const auto promoted = CHRONOS_TRY(storage.info(history));
    if (!promoted) return {};
    const std::vector<storage::Entry> files = CHRONOS_TRY(storage.list_tree(directory));
    if (files.empty()) return {};
    const auto [oldest, newest] = std::ranges::minmax(files, {}, &storage::Entry::modified);
    const UnixTime quiet = unix_now() - newest.modified;
    if (oldest.modified > promoted->modified || quiet > kQuietOfTheDead_s) return {};
    return Error(ErrorKind::lock_acquire,
                 "unfinished backup '" + label +
                     "' was begun before this server was promoted, and was written to " +
                     std::to_string(quiet) +
                     " seconds ago: the former primary may still be backed up")
        .with_hint("End that backup, or wait until nothing was written for " +
                   std::to_string(kQuietOfTheDead_s) + " seconds.");
}

}  // namespace

Result<std::optional<repo::Manifest>> find_resumable(const repo::Repository& repository,
                                                     const std::string& stanza,
                                                     const repo::ReconstructedInfo& known,
                                                     const ResumeTerms& terms) {
    if (known.labels.empty() || known.complete.contains(known.labels.back()))
        return std::optional<repo::Manifest>{};
    const std::string& label = known.labels.back();
    const std::string directory = repo::backup_path(stanza, label);
    CHRONOS_TRY(
        check_not_of_former_primary(*repository.storage, label, directory, terms.timeline_history));
    Found found = look_into(repository, stanza, label, known.info.cipher_pass, terms);
    if (found.obstacle.empty()) {
        log_warn("resumable backup " + label +
                 " of same type exists -- invalid files will be removed then the backup will"
                 " resume");
        return std::move(found.manifest);
    }
    const std::string message = "backup '" + label + "' cannot be resumed: " + found.obstacle;
    if (terms.enabled && terms.type == repo::BackupType::full)
        log_warn(message);
    else
        log_info(message);
    CHRONOS_TRY(repository.storage->remove_tree(directory));
    return std::optional<repo::Manifest>{};
}

Result<> keep_stored_files(const repo::Repository& repository, const std::string& stanza,
                           const repo::Manifest& resumed, const BlockRules& rules,
                           repo::Manifest& manifest, std::vector<PlannedFile>& files) {
    storage::Storage& storage = *repository.storage;
    const std::string directory = repo::backup_path(stanza, resumed.label);
    // Members of bundles cannot be told apart from what a cut left; links are made again.
    for (const char* path : {"/bundle", "/pg_data/pg_tblspc"})
        CHRONOS_TRY(storage.remove_tree(directory + path));
    for (const storage::Entry& entry : CHRONOS_TRY(storage.list_tree(directory))) {
        if (entry.name == kPartialManifest) continue;
        const std::string object = directory + "/" + entry.name;
        const std::string_view name = without_extension(entry.name, resumed.options.compress_type);
        const auto planned =
            std::ranges::lower_bound(files, name, {}, [&](const PlannedFile& file) {
                return std::string_view(manifest.files[file.index].name);
            });
        std::string reason = "missing in manifest";
        if (planned != files.end() && manifest.files[planned->index].name == name) {
            repo::ManifestFile& file = manifest.files[planned->index];
            const repo::ManifestFile* before = resumed.find_file(name);
            reason =
                reason_to_remove(object, stanza, resumed, before, file, manifest.options.delta);
            if (reason.empty() && rules.always && manifest.block_incr &&
                !before->block_incremental() &&
                choose_blocks(rules, file, nullptr, manifest.timestamp_start).block_size != 0)
                reason = "mismatched block size";
            if (reason.empty()) {
                take_over(*before, file);
                planned->action = Action::resume;
                continue;
            }
        }
        log_detail("remove file '" + storage.describe(object) + "' from resumed backup (" + reason +
                   ")");
        CHRONOS_TRY(storage.remove(object));
    }
    return {};
}

}  // namespace chronos::ops::backup

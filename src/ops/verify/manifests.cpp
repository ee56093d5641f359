#include "ops/verify/manifests.h"
#include "chronos/repo/manifest_store.h"

#include <algorithm>

namespace chronos::ops::verify {
namespace {

/// One of the two files: the checksum of its text and what it says, or why there is none. The text
/// itself may be too large to be kept.
struct ManifestText {
    std::optional<std::string> checksum;
    std::optional<repo::Manifest> manifest;
    std::optional<Error> error;
};

Result<ManifestText> read_manifest(const Scope& scope, const std::string& label,
                                   const std::string& name, const std::string& pass) {
    ManifestText result;
    std::string checksum;
    auto manifest = repo::read_manifest_file(
        scope.repository, repo::backup_path(scope.stanza(), label) + "/" + name, pass, &checksum);
    if (!checksum.empty()) result.checksum = std::move(checksum);
    if (!manifest && !result.checksum && !is_about_content(manifest.error()))
        return std::move(manifest).error();
    if (manifest)
        result.manifest = std::move(manifest).value();
    else
        result.error = std::move(manifest).error();
    return result;
}

std::string only_main(const std::string& label) {
    return "backup " + label + " cannot be restored any more when backup.manifest is damaged too";
}

void report_copy(const Scope& scope, const std::string& label, const ManifestText& copy) {
    const Findings::Place place{label, "backup.manifest.copy"};
    if (!copy.error)
        scope.findings.fail(place, Problem::checksum, "stale: does not match backup.manifest",
                            only_main(label));
    else
        scope.findings.fail(place, problem_of(*copy.error), copy.error->message(),
                            only_main(label));
}

}  // namespace

Result<LoadedManifest> load_manifest_pair(const Scope& scope, const Listing& listing,
                                          const repo::BackupInfo& info, const std::string& label,
                                          Ledger& ledger) {
    LoadedManifest result;
    ManifestText main =
        CHRONOS_TRY(read_manifest(scope, label, "backup.manifest", info.cipher_pass));
    if (main.checksum) ledger.expect(*main.checksum);
    const storage::Entry* copy_entry = listing.find(label + "/backup.manifest.copy");
    // Compared before, and unchanged since.
    if (main.manifest && copy_entry != nullptr && ledger.knows(*copy_entry)) {
        result.manifest = std::move(main.manifest);
        return result;
    }
    ManifestText copy =
        CHRONOS_TRY(read_manifest(scope, label, "backup.manifest.copy", info.cipher_pass));
    if (!main.error && !copy.error && main.checksum == copy.checksum) {
        if (copy_entry != nullptr) ledger.add(*copy_entry);
        result.manifest = std::move(main.manifest);
        return result;
    }
    if (!main.error) {
        report_copy(scope, label, copy);
        result.manifest = std::move(main.manifest);
        return result;
    }
    result.finding = scope.findings.fail({label, "backup.manifest"}, problem_of(*main.error),
                                         main.error->message());
    if (copy.error) {
        scope.findings.affect(result.finding, label);
        return result;
    }
    scope.findings.explain(result.finding, "backup " + label + " hangs on backup.manifest.copy");
    ledger.expect(*copy.checksum);
    result.manifest = std::move(copy.manifest);
    return result;
}

bool check_manifest(const Scope& scope, const repo::BackupInfo& info, const std::string& label,
                    const repo::Manifest& manifest) {
    const auto fail = [&](const std::string& message) {
        const FindingId id =
            scope.findings.fail({label, "backup.manifest"}, Problem::other, message);
        scope.findings.affect(id, label);
        return false;
    };
    if (manifest.label != label) return fail("is the manifest of backup " + manifest.label);
    if (const Result<> valid = repo::validate_manifest(manifest); !valid)
        return fail(valid.error().message());
    if (const std::string file(repo::missing_vital_file(manifest)); !file.empty())
        return fail("has no file '" + file + "': no server would start on it");
    const bool known = std::ranges::any_of(info.history, [&](const repo::HistoryEntry& entry) {
        return entry.id == manifest.history_id && entry.system_id == manifest.system_id &&
               entry.version == manifest.pg_version;
    });
    if (!known)
        return fail("PG data (id " + std::to_string(manifest.history_id) + ", version " +
                    manifest.pg_version + ", system-id " + std::to_string(manifest.system_id) +
                    ") is not in the backup.info history");
    const repo::BackupEntry* listed = info.find(label);
    if (listed == nullptr) return true;
    const std::string keys = repo::entry_difference(*listed, repo::backup_entry_of(manifest));
    return keys.empty() ? true : fail("does not agree with backup.info on " + keys);
}

}  // namespace chronos::ops::verify

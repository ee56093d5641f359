#include "ops/verify/manifests.h"

#include <algorithm>

#include "chronos/crypto/hash.h"

namespace chronos::ops::verify {
namespace {

/// One of the two files: its text, or why there is none.
struct ManifestText {
    std::optional<std::string> text;
    std::optional<repo::Manifest> manifest;
    std::optional<Error> error;
};

Result<ManifestText> read_manifest(const Scope& scope, const std::string& label,
                                   const std::string& name, const std::string& pass) {
    ManifestText result;
    auto text = repo::read_text(scope.repository,
                                repo::backup_path(scope.stanza(), label) + "/" + name, pass);
    if (!text && !is_about_content(text.error())) return std::move(text).error();
    if (!text) {
        result.error = std::move(text).error();
        return result;
    }
    auto manifest = repo::parse_manifest(*text);
    result.text = std::move(text).value();
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

/// What restore and the next backup read in backup.info instead of the manifest.
std::string difference(const repo::BackupEntry& listed, const repo::BackupEntry& actual) {
    if (listed.type != actual.type) return "type";
    if (listed.archive_start != actual.archive_start) return "backup-archive-start";
    if (listed.archive_stop != actual.archive_stop) return "backup-archive-stop";
    if (listed.lsn_start != actual.lsn_start) return "backup-lsn-start";
    if (listed.lsn_stop != actual.lsn_stop) return "backup-lsn-stop";
    if (listed.prior != actual.prior) return "backup-prior";
    if (listed.timestamp_stop != actual.timestamp_stop) return "backup-timestamp-stop";
    if (listed.history_id != actual.history_id) return "db-id";
    // Of a manifest whose sizes somebody changed, these are what is left of the old ones.
    if (listed.size != actual.size) return "backup-info-size";
    if (listed.size_delta != actual.size_delta) return "backup-info-size-delta";
    if (listed.repo_size != actual.repo_size) return "backup-info-repo-size";
    if (listed.repo_size_delta != actual.repo_size_delta) return "backup-info-repo-size-delta";
    return "";
}

}  // namespace

Result<LoadedManifest> load_manifest_pair(const Scope& scope, const Listing& listing,
                                          const repo::BackupInfo& info, const std::string& label,
                                          Ledger& ledger) {
    LoadedManifest result;
    ManifestText main =
        CHRONOS_TRY(read_manifest(scope, label, "backup.manifest", info.cipher_pass));
    if (main.text) ledger.expect(crypto::sha1_hex(*main.text));
    const storage::Entry* copy_entry = listing.find(label + "/backup.manifest.copy");
    // Compared before, and unchanged since.
    if (main.manifest && copy_entry != nullptr && ledger.knows(*copy_entry)) {
        result.manifest = std::move(main.manifest);
        return result;
    }
    ManifestText copy =
        CHRONOS_TRY(read_manifest(scope, label, "backup.manifest.copy", info.cipher_pass));
    if (!main.error && !copy.error && main.text == copy.text) {
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
    ledger.expect(crypto::sha1_hex(*copy.text));
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
    const std::string key = difference(*listed, repo::backup_entry_of(manifest));
    return key.empty() ? true : fail("does not agree with backup.info on " + key);
}

}  // namespace chronos::ops::verify

#include "ops/verify/backups.h"

#include <algorithm>

#include "chronos/pgdata/cluster_files.h"
#include "chronos/pgdata/wal.h"
#include "ops/verify/manifests.h"
#include "ops/verify/stored_files.h"
#include "ops/verify/stored_table.h"

namespace chronos::ops::verify {
namespace {

std::string label_of(const std::string& name) {
    return name.substr(0, name.find('/'));
}

/// Segments that the backup carries itself.
std::vector<std::string> own_segments(const repo::Manifest& manifest) {
    constexpr std::string_view kWalPath = "pg_data/pg_wal/";
    std::vector<std::string> segments;
    for (const repo::ManifestFile& file : manifest.files)
        if (file.name.view().starts_with(kWalPath) &&
            pgdata::is_wal_segment(file.name.view().substr(kWalPath.size())))
            segments.emplace_back(file.name.view().substr(kWalPath.size()));
    return segments;
}

class BackupWalk {
public:
    BackupWalk(const Scope& scope, const repo::BackupInfo& info,
               const std::set<std::string>* wanted, Listing listing)
        : scope_(scope), info_(info), wanted_(wanted), listing_(std::move(listing)) {}

    Result<VerifiedBackups> run() {
        const std::set<std::string> labels = all_labels();
        for (const std::string& label : labels) {
            CHRONOS_TRY(scope_.cancel.check());
            // Nothing of another set of backups is referred to from here on.
            if (label.ends_with('F')) tables_.clear();
            if (wanted_ == nullptr || wanted_->contains(label))
                CHRONOS_TRY(visit(label, label == *labels.rbegin()));
            else
                add_need_of_entry(label);
        }
        return std::move(result_);
    }

private:
    struct Stored {
        StoredTable table;
        bool block_damage = false;
    };

    std::set<std::string> all_labels() const {
        std::set<std::string> labels;
        for (const repo::BackupEntry& entry : info_.backups) labels.insert(entry.label);
        for (const storage::Entry& entry : listing_.entries())
            if (const std::string label = label_of(entry.name); repo::is_backup_label(label))
                labels.insert(label);
        return labels;
    }

    void add_need_of_entry(const std::string& label) {
        const repo::BackupEntry* entry = info_.find(label);
        if (entry == nullptr) return;
        result_.needs.push_back({label,
                                 entry->history_id,
                                 entry->archive_start,
                                 entry->archive_stop,
                                 entry->lsn_stop.value_or(Lsn{}),
                                 {},
                                 /*wanted=*/false});
    }

    Result<> visit(const std::string& label, bool newest) {
        const bool complete = listing_.find(label + "/backup.manifest") != nullptr;
        if (info_.find(label) == nullptr) {
            if (!complete) return report_unfinished(label, newest);
            if (!CHRONOS_TRY(report_unlisted(label))) return {};
        }
        scope_.meter.enter("backup " + label);
        Ledger ledger =
            Ledger::load({&scope_.direct, ledger_path(scope_.stanza()) + "/backup/" + label,
                          info_.cipher_pass, repo::backup_path(scope_.stanza())});
        if (scope_.request.full) ledger.forget();
        LoadedManifest loaded =
            CHRONOS_TRY(load_manifest_pair(scope_, listing_, info_, label, ledger));
        if (!loaded.manifest) return give_up(label, loaded.finding);
        const bool usable = check_manifest(scope_, info_, label, *loaded.manifest);
        return verify(*loaded.manifest, ledger, usable);
    }

    /// A directory without a manifest: a backup that runs, or one that did not get to its end.
    Result<> report_unfinished(const std::string& label, bool newest) {
        scope_.findings.note({label, ""}, newest ? "the backup is running, or was interrupted"
                                                 : "left over of a backup that was interrupted");
        if (newest) result_.backups.push_back({label, BackupVerdict::in_progress, {}});
        return {};
    }

    /// False: it was completed since backup.info was read.
    Result<bool> report_unlisted(const std::string& label) {
        const auto now = repo::load_backup_info(scope_.repository, scope_.stanza());
        if (now && now->find(label) != nullptr) return false;
        scope_.findings.fail(
            {label, ""}, Problem::other, "the backup is complete but not in backup.info",
            "info and restore do not know it until the next backup or expire adds it");
        return true;
    }

    Result<> give_up(const std::string& label, FindingId finding) {
        const bool missing = scope_.findings.problem_of(finding) == Problem::missing;
        gone_.insert(label);
        missing_[label] = finding;
        add_need_of_entry(label);
        result_.backups.push_back(
            {label, missing ? BackupVerdict::manifest_missing : BackupVerdict::invalid, {}});
        return {};
    }

    Result<> verify(const repo::Manifest& manifest, Ledger& ledger, bool sound) {
        VerifiedBackup backup{manifest.label, BackupVerdict::valid, {}, false};
        if (!check_references(manifest)) sound = false;
        // Blocks may be those of a damaged file: what an earlier run found no longer holds, and
        // that these bytes are what was written does not say that the file can be put together.
        const bool doubtful = rests_on_damaged_blocks(manifest);
        if (doubtful) ledger.forget();
        const std::vector<FindingId> damage = CHRONOS_TRY(verify_stored_files(
            scope_, {manifest, listing_, gone_, ledger, scope_.request.full || doubtful}));
        ledger.save();
        Stored& stored = tables_[manifest.label];
        for (std::size_t i = 0; i < manifest.files.size(); ++i) {
            const repo::ManifestFile& file = manifest.files[i];
            const FindingId id = file.reference.empty() ? damage[i] : referenced(manifest, file);
            if (file.reference.empty()) stored.table.add(file, id);
            if (file.block_incremental() && id != kNoFinding) stored.block_damage = true;
            count(backup, id);
            note_page_errors(backup, file);
        }
        stored.table.finish();
        if (!sound || backup.files.valid < backup.files.total)
            backup.verdict = BackupVerdict::invalid;
        result_.backups.push_back(std::move(backup));
        result_.needs.push_back({manifest.label, manifest.history_id, manifest.archive_start,
                                 manifest.archive_stop, manifest.lsn_stop.value_or(Lsn{}),
                                 own_segments(manifest), true});
        return {};
    }

    void count(VerifiedBackup& backup, FindingId id) {
        if (id == kNoFinding) return backup.files.add_valid();
        backup.files.add(scope_.findings.problem_of(id));
        scope_.findings.affect(id, backup.label);
    }

    bool check_references(const repo::Manifest& manifest) {
        bool sound = true;
        for (const std::string& label : manifest.references) {
            if (label == manifest.label || tables_.contains(label)) continue;
            sound = false;
            gone_.insert(label);
            scope_.findings.affect(missing_finding(label), manifest.label);
        }
        return sound;
    }

    /// Of a backup that others refer to and that cannot be read.
    FindingId missing_finding(const std::string& label) {
        const auto [at, is_new] = missing_.try_emplace(label, kNoFinding);
        if (is_new)
            at->second = scope_.findings.fail({label, ""}, Problem::missing,
                                              "the backup is missing, and others refer to it");
        return at->second;
    }

    bool rests_on_damaged_blocks(const repo::Manifest& manifest) const {
        return std::ranges::any_of(manifest.references, [&](const std::string& label) {
            const auto at = tables_.find(label);
            return label != manifest.label && (at == tables_.end() || at->second.block_damage);
        });
    }

    FindingId referenced(const repo::Manifest& manifest, const repo::ManifestFile& file) {
        const auto at = tables_.find(file.reference.str());
        if (at == tables_.end()) return missing_finding(file.reference.str());
        const StoredTable::Row* row = at->second.table.find(file.name);
        if (row != nullptr && row->place == StoredTable::place_of(file)) return row->finding;
        return scope_.findings.fail(
            {manifest.label, file.name.str()}, row == nullptr ? Problem::missing : Problem::other,
            "refers to backup " + file.reference +
                (row == nullptr ? ", which does not store it" : ", which stores another one"));
    }

    // The pages were damaged in the cluster when it was backed up: the backup is as good as that.
    void note_page_errors(VerifiedBackup& backup, const repo::ManifestFile& file) {
        if (!file.page_error || !pgdata::has_page_checksums(file.name)) return;
        backup.page_errors = true;
        if (!file.reference.empty()) return;
        scope_.findings.note({backup.label, file.name.str()},
                             "has pages whose checksums were wrong in the cluster already");
    }

    const Scope& scope_;
    const repo::BackupInfo& info_;
    const std::set<std::string>* wanted_;
    const Listing listing_;
    std::map<std::string, Stored> tables_;  ///< of the set of backups at hand
    std::set<std::string> gone_;
    std::map<std::string, FindingId> missing_;
    VerifiedBackups result_;
};

/// All of them in one listing, or those of some backups in a listing each.
Result<Listing> list_backups(const Scope& scope, const std::set<std::string>* wanted) {
    storage::Storage& storage = *scope.repository.storage;
    if (wanted == nullptr)
        return Listing(CHRONOS_TRY(storage.list_tree(repo::backup_path(scope.stanza()))));
    std::vector<storage::Entry> entries;
    for (const std::string& label : *wanted)
        for (storage::Entry& entry :
             CHRONOS_TRY(storage.list_tree(repo::backup_path(scope.stanza(), label)))) {
            entry.name = label + "/" + entry.name;
            entries.push_back(std::move(entry));
        }
    std::ranges::sort(entries, {}, &storage::Entry::name);
    return Listing(std::move(entries));
}

}  // namespace

Result<VerifiedBackups> verify_backups(const Scope& scope, const repo::BackupInfo& info,
                                       const std::set<std::string>* wanted) {
    Listing listing = CHRONOS_TRY(list_backups(scope, wanted));
    return BackupWalk(scope, info, wanted, std::move(listing)).run();
}

}  // namespace chronos::ops::verify

#include "chronos/ops/expire.h"

#include <algorithm>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/hold.h"
#include "chronos/repo/lock.h"
#include "ops/expire/retention.h"
#include "ops/expire/wal.h"

namespace chronos::ops::expire {
namespace {

using repo::BackupEntry;
using What = Decision::What;

constexpr std::size_t kWalDirectorySize = 16;
constexpr std::string_view kHistoryManifest = ".manifest.gz";

/// One run of expire: the steps in the order that keeps the repository valid when it is killed
/// between any two of them.
class Run {
public:
    Run(const ExpireRequest& request, const Cancellation& cancel)
        : request_(request),
          repository_(request.repository),
          storage_(*request.repository.storage),
          cancel_(cancel) {}

    Result<std::vector<Decision>> go() {
        CHRONOS_TRY(load());
        CHRONOS_TRY(decide_backups());
        CHRONOS_TRY(remove_manifests());
        CHRONOS_TRY(save_info());
        CHRONOS_TRY(remove_directories());
        CHRONOS_TRY(expire_wal());
        CHRONOS_TRY(expire_history());
        return std::move(decisions_);
    }

private:
    Result<> load();
    Result<> decide_backups();
    Result<> decide_set();
    void decide_by_rules();
    void drop(const std::map<std::string, std::string>& expired);
    Result<> remove_manifests();
    Result<> save_info();
    Result<> remove_directories();
    Result<bool> is_unfinished(const std::string& label);
    Result<> expire_wal();
    Result<> expire_archive_id(const repo::HistoryEntry& entry, const WalPlan& plan);
    Result<std::size_t> expire_wal_directory(const std::string& archive_id, const WalPlan& plan,
                                             const std::string& directory);
    Result<> expire_timeline_history(const std::string& archive_id, const WalPlan& plan,
                                     const std::vector<storage::Entry>& entries);
    Result<> expire_history();

    void say(const std::string& text) const {
        log_info((request_.dry_run ? "[DRY-RUN] repo" : "repo") + std::to_string(repository_.key) +
                 ": " + text);
    }
    void decided(What what, bool removed, std::string name, std::string reason) {
        decisions_.push_back({what, removed, std::move(name), std::move(reason)});
    }
    std::string backup_dir() const { return repo::backup_path(request_.stanza); }

    const ExpireRequest& request_;
    const repo::Repository& repository_;
    storage::Storage& storage_;
    const Cancellation& cancel_;
    repo::BackupInfo info_;
    repo::ArchiveInfo archive_info_;
    bool info_changed_ = false;
    std::set<std::string> held_;
    std::vector<std::string> expired_;  // ascending
    std::string adhoc_prior_;           // prior of what was expired by name
    Retention retention_;
    std::vector<Decision> decisions_;
};

Result<> Run::load() {
    auto reconstructed =
        CHRONOS_TRY(repo::load_backup_info_reconstructed(repository_, request_.stanza));
    info_ = std::move(reconstructed.info);
    info_changed_ = reconstructed.changed;
    archive_info_ = CHRONOS_TRY(repo::load_archive_info(repository_, request_.stanza));
    for (const repo::HistoryEntry& entry : archive_info_.history) {
        const bool known = std::any_of(info_.history.begin(), info_.history.end(),
                                       [&](const repo::HistoryEntry& other) {
                                           return other.id == entry.id && other.same_cluster(entry);
                                       });
        if (!known)
            return Error(ErrorKind::format,
                         "archive expiration cannot continue - archive and backup history lists do "
                         "not match");
    }
    for (const repo::Hold& hold :
         CHRONOS_TRY(repo::list_holds(repository_, request_.stanza, info_.cipher_pass)))
        held_.insert(hold.label);
    retention_ = request_.retention;
    return {};
}

Result<> Run::decide_backups() {
    if (!request_.set.empty()) return decide_set();
    decide_by_rules();
    return {};
}

/// Expires one backup by name, with what depends on it; the newest full only when an older one of
/// the same cluster could take its place. Source: section 8.5.
Result<> Run::decide_set() {
    const std::string& label = request_.set;
    const BackupEntry* entry = info_.find(label);
    if (entry == nullptr) {
        log_warn("backup " + label +
                 " does not exist\nHINT: run the info command and confirm the "
                 "backup is listed");
        return {};
    }
    std::vector<const BackupEntry*> fulls;
    for (const BackupEntry& backup : info_.backups)
        if (backup.type == repo::BackupType::full) fulls.push_back(&backup);
    const bool newest_full = entry->type == repo::BackupType::full && fulls.back() == entry;
    const bool alone = fulls.size() <= std::max<std::uint64_t>(1, retention_.full_floor) ||
                       (newest_full && fulls[fulls.size() - 2]->history_id != entry->history_id);
    if (entry->type == repo::BackupType::full &&
        (fulls.size() <= retention_.full_floor || (newest_full && alone)))
        return Error(
            ErrorKind::backup_set_invalid,
            "full backup " + label +
                " cannot be expired until another full backup has been created on this repo");
    std::map<std::string, std::string> expired;
    for (const std::string& each : with_dependents(info_.backups, label)) {
        if (held_.contains(each))
            return Error(ErrorKind::backup_set_invalid,
                         "backup " + label + " cannot be expired: " +
                             (each == label ? "it is held"
                                            : "held backup " + each + " depends on it"))
                .with_hint("Release it with: chronos unhold --set=" + each);
        expired[each] = each == label ? "expired by name" : "depends on expired backup " + label;
    }
    std::vector<std::string> names;
    for (const auto& [name, reason] : expired) names.push_back(name);
    say("expire adhoc backup " + std::string(names.size() > 1 ? "set " : "") + join(names, ", "));
    adhoc_prior_ = label;
    const bool latest_goes = expired.contains(info_.backups.back().label);
    drop(expired);
    if (latest_goes) {
        log_warn("repo" + std::to_string(repository_.key) + ": expiring latest backup " + label +
                 " - the ability to perform point-in-time-recovery (PITR) may be affected\nHINT: "
                 "non-default settings for 'repo" +
                 std::to_string(repository_.key) + "-retention-archive'/'repo" +
                 std::to_string(repository_.key) +
                 "-retention-archive-type' (even in prior expires) can cause gaps in the WAL.");
        if (!request_.dry_run && !info_.backups.empty())
            CHRONOS_TRY(storage_.make_link(backup_dir() + "/latest", info_.backups.back().label));
    }
    return {};
}

void Run::decide_by_rules() {
    std::uint64_t fulls = 0;
    for (const BackupEntry& backup : info_.backups)
        fulls += backup.type == repo::BackupType::full ? 1 : 0;
    if (request_.oldest) {
        if (fulls <= std::max<std::uint64_t>(1, retention_.full_floor)) {
            log_warn("repo" + std::to_string(repository_.key) +
                     ": expire oldest requested but no eligible full backup to expire");
            return;
        }
        retention_.full_unit = Unit::count;
        retention_.full = fulls - 1;
        retention_.archive_type = repo::BackupType::full;
        retention_.archive = fulls - 1;
    }
    const BackupPlan plan = plan_backups(info_.backups, retention_, held_, unix_now());
    for (const auto& [kind, labels] : plan.sets)
        say("expire " + kind + " " + (labels.size() > 1 ? "set " : "") + join(labels, ", "));
    if (!retention_.archive && retention_.archive_type == repo::BackupType::full) {
        retention_.archive =
            retention_.full_unit == Unit::count ? retention_.full : plan.fulls_within_days;
        if (retention_.full && retention_.full_unit == Unit::days && !plan.fulls_within_days)
            say("time-based archive retention not met - archive logs will not be expired");
    }
    if (!retention_.archive && retention_.archive_type == repo::BackupType::diff)
        retention_.archive = retention_.diff;
    for (const auto& [label, reason] : plan.kept) decided(What::backup, false, label, reason);
    drop(plan.expired);
}

void Run::drop(const std::map<std::string, std::string>& expired) {
    for (const auto& [label, reason] : expired) {
        decided(What::backup, true, label, reason);
        expired_.push_back(label);
    }
    std::erase_if(info_.backups,
                  [&](const BackupEntry& backup) { return expired.contains(backup.label); });
    if (!expired.empty()) info_changed_ = true;
}

/// Newest first: a backup never stands complete on one that is gone.
Result<> Run::remove_manifests() {
    if (request_.dry_run) return {};
    for (auto label = expired_.rbegin(); label != expired_.rend(); ++label) {
        CHRONOS_TRY(cancel_.check());
        const std::string manifest =
            repo::backup_path(request_.stanza, *label) + "/backup.manifest";
        CHRONOS_TRY(storage_.remove(manifest));
        CHRONOS_TRY(storage_.remove(manifest + ".copy"));
    }
    return {};
}

Result<> Run::save_info() {
    if (request_.dry_run || !info_changed_) return {};
    return repo::save_backup_info(repository_, request_.stanza, info_);
}

Result<bool> Run::is_unfinished(const std::string& label) {
    const std::string manifest = repo::backup_path(request_.stanza, label) + "/backup.manifest";
    if (CHRONOS_TRY(storage::exists(storage_, manifest))) return false;
    return storage::exists(storage_, manifest + ".copy");
}

/// Every directory with the name of a backup that is not listed goes, so that what an earlier run
/// or a failed backup left behind goes too - except the newest if it is one that is being made, or
/// can be resumed, and its base still stands.
Result<> Run::remove_directories() {
    const std::vector<std::string> labels =
        CHRONOS_TRY(repo::list_backup_labels(repository_, request_.stanza));
    for (std::size_t i = labels.size(); i > 0; --i) {
        const std::string& label = labels[i - 1];
        if (info_.find(label) != nullptr) continue;
        const bool expired = std::binary_search(expired_.begin(), expired_.end(), label);
        const bool based_on_expired =
            !adhoc_prior_.empty() && label.starts_with(adhoc_prior_.substr(0, 16));
        if (i == labels.size() && !expired && !based_on_expired &&
            CHRONOS_TRY(is_unfinished(label))) {
            decided(What::directory, false, label, "unfinished: being made, or to be resumed");
            continue;
        }
        CHRONOS_TRY(cancel_.check());
        say("remove expired backup " + label);
        if (!expired) decided(What::directory, true, label, "left behind: not a listed backup");
        if (!request_.dry_run)
            CHRONOS_TRY(storage_.remove_tree(repo::backup_path(request_.stanza, label)));
    }
    return {};
}

Result<> Run::expire_wal() {
    if (!retention_.archive) {
        say("option 'repo" + std::to_string(repository_.key) +
            "-retention-archive' is not set - archive logs will not be expired");
        return {};
    }
    for (const repo::HistoryEntry& entry : archive_info_.history) {
        CHRONOS_TRY(cancel_.check());
        const bool current = entry.id == archive_info_.current_id;
        CHRONOS_TRY(expire_archive_id(entry, plan_wal(info_.backups, entry, current, retention_,
                                                      held_, request_.archive_expire_before)));
    }
    return {};
}

Result<> Run::expire_archive_id(const repo::HistoryEntry& entry, const WalPlan& plan) {
    const std::string id = entry.archive_id();
    const std::string path = repo::archive_path(request_.stanza) + "/" + id;
    if (plan.action == WalPlan::Action::nothing) return {};
    const std::vector<storage::Entry> entries = CHRONOS_TRY(storage_.list(path));
    if (entries.empty()) return {};
    if (plan.action == WalPlan::Action::remove_whole) {
        say("remove archive path " + storage_.describe(path));
        decided(What::wal, true, id, plan.reason);
        return request_.dry_run ? Result<>() : storage_.remove_tree(path);
    }
    for (const KeepRange& range : plan.keep)
        log_detail("repo" + std::to_string(repository_.key) + ": " + id +
                   " archive retention on backup " + range.backup + ", start = " + range.first +
                   (range.last ? ", stop = " + *range.last : ""));
    std::size_t removed = 0;
    for (const storage::Entry& each : entries) {
        if (each.type != storage::EntryType::path || each.name.size() != kWalDirectorySize ||
            !is_hex_upper(each.name))
            continue;
        CHRONOS_TRY(cancel_.check());
        removed += CHRONOS_TRY(expire_wal_directory(id, plan, each.name));
    }
    if (removed == 0) say(id + " no archive to remove");
    return expire_timeline_history(id, plan, entries);
}

Result<std::size_t> Run::expire_wal_directory(const std::string& archive_id, const WalPlan& plan,
                                              const std::string& directory) {
    const std::string path =
        repo::archive_path(request_.stanza) + "/" + archive_id + "/" + directory;
    if (directory_outside(plan, directory)) {
        say(archive_id + " remove archive, path = " + directory);
        decided(What::wal, true, archive_id + "/" + directory, plan.reason);
        if (!request_.dry_run) CHRONOS_TRY(storage_.remove_tree(path));
        return std::size_t{1};
    }
    if (directory > plan.retention_start.substr(0, kWalDirectorySize)) return std::size_t{0};
    std::size_t removed = 0;
    std::string first;
    std::string last;
    const auto report = [&] {
        if (first.empty()) return;
        say(archive_id + " remove archive, start = " + first + ", stop = " + last);
        decided(What::wal, true, archive_id + "/" + first + (first == last ? "" : ".." + last),
                plan.reason);
        first.clear();
    };
    for (const storage::Entry& file : CHRONOS_TRY(storage_.list(path))) {
        if (!file_outside(plan, file.name)) {
            if (file.name.size() >= 24) report();
            continue;
        }
        last = file.name.substr(0, 24);
        if (first.empty()) first = last;
        ++removed;
        if (!request_.dry_run) CHRONOS_TRY(storage_.remove(path + "/" + file.name));
    }
    report();
    return removed;
}

Result<> Run::expire_timeline_history(const std::string& archive_id, const WalPlan& plan,
                                      const std::vector<storage::Entry>& entries) {
    for (const storage::Entry& file : entries) {
        if (!pgdata::is_timeline_history(file.name) ||
            file.name.substr(0, 8) >= plan.retention_start.substr(0, 8))
            continue;
        say(archive_id + " remove history file " + file.name);
        decided(What::timeline_history, true, archive_id + "/" + file.name,
                "no backup on that timeline or before is left");
        if (!request_.dry_run)
            CHRONOS_TRY(storage_.remove(repo::archive_path(request_.stanza) + "/" + archive_id +
                                        "/" + file.name));
    }
    return {};
}

/// Manifests of backups long gone. Source: section 8.6.
Result<> Run::expire_history() {
    if (!retention_.history_days) return {};
    const std::string cutoff =
        format_label_time(unix_now() - static_cast<UnixTime>(*retention_.history_days) * 86400) +
        "F";
    const std::string path = backup_dir() + "/backup.history";
    for (const storage::Entry& year : CHRONOS_TRY(storage_.list(path))) {
        if (year.name.size() != 4 || !parse_uint(year.name)) continue;
        if (year.name > cutoff.substr(0, 4)) continue;
        for (const storage::Entry& file : CHRONOS_TRY(storage_.list(path + "/" + year.name))) {
            if (!file.name.ends_with(kHistoryManifest)) continue;
            const std::string label =
                file.name.substr(0, file.name.size() - kHistoryManifest.size());
            if (label >= cutoff || info_.find(label) != nullptr) continue;
            say("remove expired backup history manifest " + file.name);
            decided(What::history_manifest, true, file.name, "older than history retention");
            if (!request_.dry_run)
                CHRONOS_TRY(storage_.remove(path + "/" + year.name + "/" + file.name));
        }
    }
    return {};
}

void warn_of_unset_retention(const ExpireRequest& request) {
    if (request.retention.full || !request.set.empty() || request.oldest) return;
    const std::string option = "repo" + std::to_string(request.repository.key) + "-retention-full";
    log_warn("option '" + option + "' is not set for '" + option +
             "-type=count', the repository may run out of space\nHINT: to retain full backups "
             "indefinitely (without warning), set option '" +
             option + "' to the maximum.");
}

}  // namespace

Result<std::vector<Decision>> run_expire(const ExpireRequest& request, const Cancellation& cancel) {
    CHRONOS_TRY(repo::check_stop_file(request.lock_path, request.stanza));
    std::vector<std::unique_ptr<repo::Lock>> locks;
    // A dry run changes nothing and may look while another command works.
    if (!request.dry_run)
        for (const unsigned key : request.lock_keys)
            locks.push_back(
                CHRONOS_TRY(repo::Lock::acquire({request.lock_path, request.stanza,
                                                 repo::LockType::backup, key, request.exec_id})));
    warn_of_unset_retention(request);
    return Run(request, cancel).go();
}

}  // namespace chronos::ops::expire

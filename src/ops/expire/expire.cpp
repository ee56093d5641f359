#include "chronos/ops/expire/expire.h"

#include <algorithm>
#include <optional>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/side/hold.h"
#include "chronos/repo/side/lease.h"
#include "chronos/repo/side/owner.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/wal_archive.h"
#include "chronos/storage/parallel.h"
#include "ops/expire/retention.h"
#include "ops/expire/wal.h"

namespace chronos::ops::expire {
namespace {

using repo::BackupEntry;
using What = Decision::What;

constexpr std::size_t kYearSize = 4;
constexpr std::string_view kHistoryManifest = ".manifest.gz";

/// Of one repository: the steps, in the order that keeps it valid when it is killed between any two
/// of them.
class Run {
public:
    Run(const ExpireRequest& request, const ExpireRepository& expired,
        std::vector<Decision>& decisions, const Cancellation& cancel)
        : request_(request),
          retention_(expired.retention),
          symlink_(expired.symlink),
          repository_(expired.repository),
          storage_(*expired.repository.storage),
          decisions_(decisions),
          cancel_(cancel) {}

    Result<> go() {
        warn_of_unset_retention();
        CHRONOS_TRY(take_lease());
        CHRONOS_TRY(load());
        CHRONOS_TRY(decide());
        CHRONOS_TRY(check_owner());
        CHRONOS_TRY(remove_manifests());
        CHRONOS_TRY(save_info());
        CHRONOS_TRY(remove_directories());
        CHRONOS_TRY(expire_wal());
        if (info_due_) CHRONOS_TRY(write_info());
        CHRONOS_TRY(expire_history());
        return {};
    }
    /// Whether the backup asked for by name is in this repository.
    bool found() const { return found_; }

private:
    void warn_of_unset_retention() const;
    Result<> take_lease();
    Result<> go_on() const;
    Result<> check_owner() const;
    Result<> load();
    Result<> protect_prior_in_use();
    Result<std::optional<std::string>> read_if_there(const std::string& name);
    Result<bool> copies_agree();
    Result<> load_holds();
    Result<> decide();
    Result<> decide_set(const std::string& label);
    Result<> check_may_go(const BackupEntry& entry) const;
    void decide_oldest();
    void decide_by_rules();
    void drop(const std::map<std::string, std::string>& expired);
    Result<> remove_manifests();
    Result<> save_info();
    Result<> write_info();
    void warn_of_expired_latest() const;
    Result<> remove_directories();
    Result<bool> is_underway(const std::string& label, bool newest);
    Result<> expire_wal();
    void say_why_wal_stays() const;
    Result<> expire_archive_id(const repo::HistoryEntry& entry, const WalPlan& plan);
    /// What is noted beside the archive about WAL that is gone.
    Result<> remove_notes(const std::string& archive_id, const std::string& before);
    Result<> expire_wal_directory(const std::string& archive_id, const WalPlan& plan,
                                  const std::string& directory);
    void gone(std::string_view name);
    void report_run(const std::string& archive_id, const WalPlan& plan);
    Result<> expire_timeline_history(const std::string& archive_id, const WalPlan& plan,
                                     const std::vector<storage::Entry>& entries);
    Result<> expire_history();
    Result<> expire_history_year(const std::string& year, const std::string& cutoff);

    std::string repo_name() const { return "repo" + std::to_string(repository_.key); }
    void say(const std::string& text) const { log_info(repo_name() + ": " + text); }
    void decided(What what, bool removed, std::string name, std::string reason) {
        decisions_.push_back({repository_.key, what, removed, std::move(name), std::move(reason)});
    }
    std::string backup_dir() const { return repo::backup_path(request_.stanza); }
    std::string archive_dir(const std::string& id) const {
        return repo::archive_path(request_.stanza) + "/" + id;
    }
    std::string manifest_name(const std::string& label) const {
        return repo::manifest_name(request_.stanza, label);
    }

    const ExpireRequest& request_;
    Retention retention_;
    const bool symlink_;
    const repo::Repository& repository_;
    storage::Storage& storage_;
    std::vector<Decision>& decisions_;
    const Cancellation& cancel_;
    std::vector<std::string> directories_;  // of backups, at the beginning
    std::set<std::string> complete_;        // those with a manifest, but not in backup.info
    repo::BackupInfo info_;
    repo::ArchiveInfo archive_info_;
    bool info_changed_ = false;
    bool info_due_ = false;  ///< there was no space to write what has changed
    std::unique_ptr<repo::Lease> lease_;
    std::set<std::string> held_;
    std::string in_use_;  ///< also in held_: a backup that is being made is based on it
    std::vector<std::string> expired_;  // ascending
    std::string former_latest_;
    bool found_ = false;
    std::optional<std::uint64_t> archive_;
    std::size_t wal_removed_ = 0;  // of one archive id
    std::string first_gone_;       // of a run not reported yet
    std::string last_gone_;
};

void Run::warn_of_unset_retention() const {
    const auto warn_unset = [&](const std::string& option, const std::string& of,
                                const std::string& what, const std::string& consequence) {
        log_warn("option '" + option + "' is not set for '" + of + "'" + consequence +
                 "\nHINT: to retain " + what +
                 " backups indefinitely (without warning), set option '" + option +
                 "' to the maximum.");
    };
    const std::string begin = repo_name() + "-retention-";
    const std::string type =
        "archive-type=" + std::string(repo::backup_type_name(retention_.archive_type));
    const bool by_count = retention_.full_unit == Unit::count;
    if (!retention_.full)
        warn_unset(begin + "full", begin + "full-type=" + (by_count ? "count" : "time"), "full",
                   ", the repository may run out of space");
    if (retention_.archive_type == repo::BackupType::full) return;
    const std::string no_wal =
        "WAL segments will not be expired: option '" + begin + type + "' but ";
    const bool by_diff = retention_.archive_type == repo::BackupType::diff;
    if (retention_.archive && by_diff && !retention_.diff)
        warn_unset(begin + "diff", begin + type, "differential", "");
    else if (!retention_.archive && by_diff && !retention_.diff)
        log_warn(no_wal + "neither option '" + begin + "archive' nor option '" + begin +
                 "diff' is set");
    else if (!retention_.archive && !by_diff)
        log_warn(no_wal + "option '" + begin + "archive' is not set");
}

/// Of a host that does not share our lock files. Whoever only looks takes none.
Result<> Run::take_lease() {
    if (request_.dry_run) return {};
    lease_ = CHRONOS_TRY(repo::Lease::take(
        repository_, {request_.stanza, "expire", request_.exec_id, "", /*only_removes=*/true}));
    return {};
}

/// Asked before each step that cannot be undone: a host that was at a standstill has been replaced.
Result<> Run::go_on() const {
    CHRONOS_TRY(cancel_.check());
    return lease_ ? lease_->prove() : Result<>();
}

/// What a copy of the data directory thinks to be its own is the original's.
Result<> Run::check_owner() const {
    if (request_.dry_run || request_.pg_path.empty()) return {};
    const auto self = repo::identify_server(request_.pg_path);
    if (!self || self->system_id != archive_info_.current().system_id) return {};
    auto used = repo::StanzaOwner(repository_, request_.stanza).use(*self, repo::StanzaUse::change);
    // Nobody has refused it: the record is only not renewed.
    if (!used && used.error().no_space()) return {};
    return used;
}

Result<> Run::load() {
    repo::ReconstructedInfo known;
    bool agree = false;
    std::vector<std::string> held;
    CHRONOS_TRY(storage::at_once(
        storage_,
        {storage::answer_into(
             known,
             [&] { return repo::load_backup_info_reconstructed(repository_, request_.stanza); }),
         storage::answer_into(held,
                              [&] { return repo::list_held_labels(repository_, request_.stanza); }),
         storage::answer_into(agree, [&] { return copies_agree(); }),
         storage::answer_into(archive_info_, [&] {
             return repo::load_archive_info(repository_, request_.stanza);
         })}));
    info_ = std::move(known.info);
    info_changed_ = known.changed || !agree;
    if (!info_.backups.empty()) former_latest_ = info_.backups.back().label;
    directories_ = std::move(known.labels);
    complete_ = std::move(known.complete);
    std::erase_if(complete_,
                  [&](const std::string& label) { return info_.find(label) != nullptr; });
    for (const repo::HistoryEntry& entry : archive_info_.history) {
        const bool in_both = std::any_of(
            info_.history.begin(), info_.history.end(), [&](const repo::HistoryEntry& other) {
                return other.id == entry.id && other.same_cluster(entry);
            });
        if (!in_both)
            return Error(ErrorKind::format,
                         "archive expiration cannot continue - archive and backup history lists do "
                         "not match")
                .with_hint(repo::repair_hint(request_.stanza));
    }
    CHRONOS_TRY(protect_prior_in_use());
    return held.empty() ? Result<>() : load_holds();
}

/// pgBackRest on another host may be making a backup, of which only its directory is seen from
/// here: what that is based on stays until it is done, or has been given up for long.
Result<> Run::protect_prior_in_use() {
    if (directories_.empty()) return {};
    const std::string& newest = directories_.back();
    if (info_.find(newest) != nullptr || complete_.contains(newest)) return {};
    const auto partial = CHRONOS_TRY(storage_.info(manifest_name(newest) + ".copy"));
    if (!partial || unix_now() - partial->modified > kDay_s) return {};
    const auto manifest =
        repo::load_manifest(repository_, request_.stanza, newest, info_.cipher_pass);
    if (!manifest || manifest->prior.empty() || info_.find(manifest->prior) == nullptr) return {};
    in_use_ = manifest->prior;
    held_.insert(in_use_);
    say("backup " + in_use_ + " stays: unfinished backup " + newest + " is based on it");
    return {};
}

Result<std::optional<std::string>> Run::read_if_there(const std::string& name) {
    auto content = storage::read_object(storage_, name);
    if (content) return std::optional(*std::move(content));
    // What is no file is none of that name, and written anew where that can be.
    if (content.error().kind() == ErrorKind::not_found ||
        content.error().kind() == ErrorKind::format)
        return std::optional<std::string>();
    return std::move(content).error();
}

/// Killed between the two, an earlier run has left a copy that lists what is gone.
Result<bool> Run::copies_agree() {
    const std::string name = repo::backup_info_name(request_.stanza);
    std::optional<std::string> main, copy;
    CHRONOS_TRY(storage::at_once(
        storage_, {storage::answer_into(main, [&] { return read_if_there(name); }),
                   storage::answer_into(copy, [&] { return read_if_there(name + ".copy"); })}));
    return main && copy && *main == *copy;
}

Result<> Run::load_holds() {
    for (const repo::Hold& hold :
         CHRONOS_TRY(repo::list_holds(repository_, request_.stanza, info_.cipher_pass))) {
        held_.insert(hold.label);
        if (info_.find(hold.label) == nullptr)
            log_warn(repo_name() + ": held backup " + hold.label +
                     " is not in the repository any more\nHINT: pgBackRest's own expire does not "
                     "know holds. Use chronos unhold --set=" +
                     hold.label + " to forget it.");
    }
    return {};
}

Result<> Run::decide() {
    std::string label = request_.set;
    if (label.empty()) {
        if (request_.oldest)
            decide_oldest();
        else
            decide_by_rules();
        return {};
    }
    if (label == "latest" || label == "oldest") {
        if (info_.backups.empty()) return {};
        label = label == "latest" ? info_.backups.back().label : info_.backups.front().label;
    }
    return decide_set(label);
}

/// The newest full only when an older one of the same cluster could take its place. Source:
/// docs/format/expire.md, Ad hoc.
Result<> Run::check_may_go(const BackupEntry& entry) const {
    if (entry.type == repo::BackupType::full) {
        std::vector<const BackupEntry*> fulls;
        for (const BackupEntry& backup : info_.backups)
            if (backup.type == repo::BackupType::full) fulls.push_back(&backup);
        const bool few = fulls.size() <= std::max<std::uint64_t>(1, retention_.full_floor);
        const bool newest = fulls.back()->label == entry.label;
        if (few || (newest && fulls[fulls.size() - 2]->history_id != entry.history_id))
            return Error(
                ErrorKind::backup_set_invalid,
                "full backup " + entry.label +
                    " cannot be expired until another full backup has been created on this repo");
    }
    const auto protect = protected_backups(info_.backups, held_);
    if (!protect.contains(entry.label)) return {};
    for (const std::string& each : with_dependents(info_.backups, entry.label))
        if (each == in_use_)
            return Error(ErrorKind::backup_set_invalid,
                         "backup " + entry.label +
                             " cannot be expired: an unfinished backup is"
                             " based on " +
                             each)
                .with_hint("Wait until that is done, or take a backup, which removes it.");
        else if (held_.contains(each))
            return Error(ErrorKind::backup_set_invalid,
                         "backup " + entry.label + " cannot be expired: " +
                             (each == entry.label ? "it is held"
                                                  : "held backup " + each + " depends on it"))
                .with_hint("Release it with: chronos unhold --set=" + each);
    return {};
}

Result<> Run::decide_set(const std::string& label) {
    // By the rules nothing goes in such a run, but WAL of what went does.
    Retention none;
    none.archive = retention_.archive;
    none.archive_type = retention_.archive_type;
    if (!none.archive && retention_.archive_type == repo::BackupType::full &&
        retention_.full_unit == Unit::count)
        none.archive = retention_.full;
    if (!none.archive && retention_.archive_type == repo::BackupType::diff &&
        retention_.diff_unit == Unit::count && !retention_.diff_per_full)
        none.archive = retention_.diff;
    archive_ = none.archive;
    const BackupEntry* entry = info_.find(label);
    if (entry == nullptr) return {};
    found_ = true;
    CHRONOS_TRY(check_may_go(*entry));
    const std::vector<std::string> labels = with_dependents(info_.backups, label);
    say("expire adhoc backup " + std::string(labels.size() > 1 ? "set " : "") + join(labels, ", "));
    std::map<std::string, std::string> expired;
    for (const std::string& each : labels)
        expired[each] = each == label ? "expired by name" : "depends on " + label;
    for (const BackupEntry& backup : info_.backups)
        if (!expired.contains(backup.label))
            decided(What::backup, false, backup.label, "not part of what was named");
    drop(expired);
    return {};
}

/// As if one full backup less were wanted. Source: docs/format/expire.md, Ad hoc.
void Run::decide_oldest() {
    const auto protect = protected_backups(info_.backups, held_);
    std::vector<const BackupEntry*> fulls;
    for (const BackupEntry& backup : info_.backups)
        if (backup.type == repo::BackupType::full) fulls.push_back(&backup);
    const bool few = fulls.size() <= std::max<std::uint64_t>(1, retention_.full_floor);
    if (few || protect.contains(fulls.front()->label)) {
        log_warn(repo_name() + ": expire oldest requested but no eligible full backup to expire");
        if (!few)
            log_warn(repo_name() + ": the oldest full backup " + fulls.front()->label +
                     " stays: " + protect.at(fulls.front()->label));
    } else {
        retention_.full_unit = Unit::count;
        retention_.full = fulls.size() - 1;
        retention_.archive_type = repo::BackupType::full;
        retention_.archive = fulls.size() - 1;
    }
    decide_by_rules();
}

void Run::decide_by_rules() {
    const BackupPlan plan = plan_backups(info_.backups, retention_, held_, unix_now());
    for (const auto& [kind, labels] : plan.sets)
        say("expire " + kind + " " + (labels.size() > 1 ? "set " : "") + join(labels, ", "));
    archive_ = plan.archive;
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

/// Newest first: a backup never stands complete on one that is gone. The copy goes before the main
/// file, so that what is left at any moment is a complete backup or none, never what looks like an
/// unfinished one.
Result<> Run::remove_manifests() {
    if (request_.dry_run || expired_.empty()) return {};
    for (auto label = expired_.rbegin(); label != expired_.rend(); ++label) {
        CHRONOS_TRY(go_on());
        CHRONOS_TRY(storage_.remove(manifest_name(*label) + ".copy"));
        CHRONOS_TRY(storage_.remove(manifest_name(*label)));
    }
    return {};
}

Result<> Run::save_info() {
    const std::string latest = info_.backups.empty() ? "" : info_.backups.back().label;
    if (latest != former_latest_) warn_of_expired_latest();
    if (request_.dry_run) return {};
    // On a full repository that has to wait until something is gone: without a manifest a backup
    // is none, whatever is listed.
    auto written = write_info();
    info_due_ = !written && written.error().no_space();
    if (!written && !info_due_) return written;
    // After a loss of power a manifest must not come back whose data did not: it would be taken
    // for a backup that is missing in backup.info.
    if (!expired_.empty()) CHRONOS_TRY(storage_.sync_tree(backup_dir()));
    return {};
}

Result<> Run::write_info() {
    if (info_changed_) {
        CHRONOS_TRY(go_on());
        CHRONOS_TRY(repo::save_backup_info(repository_, request_.stanza, info_));
    }
    const std::string latest = info_.backups.empty() ? "" : info_.backups.back().label;
    if (symlink_ && latest != former_latest_ && !latest.empty())
        CHRONOS_TRY(storage_.make_link(backup_dir() + "/latest", latest));
    return {};
}

void Run::warn_of_expired_latest() const {
    const std::string option = "'" + repo_name() + "-retention-archive'";
    const std::string type = "'" + repo_name() + "-retention-archive-type'";
    log_warn(repo_name() + ": expiring latest backup " + former_latest_ +
             " - the ability to perform point-in-time-recovery (PITR) may be affected\nHINT: "
             "non-default settings for " +
             option + "/" + type + " (even in prior expires) can cause gaps in the WAL.");
}

/// Of a directory that is not listed: whether somebody works on it, or can go on with it. Only the
/// newest can be resumed, and not when what it is based on is gone.
Result<bool> Run::is_underway(const std::string& label, bool newest) {
    if (std::binary_search(expired_.begin(), expired_.end(), label)) return false;
    // Neither listed nor to be listed, and it was so before.
    if (complete_.contains(label)) return false;
    // Completed while we worked: somebody does not share our lock path.
    if (CHRONOS_TRY(storage::exists(storage_, manifest_name(label)))) return true;
    if (!newest || !CHRONOS_TRY(storage::exists(storage_, manifest_name(label) + ".copy")))
        return false;
    const auto manifest =
        repo::load_manifest(repository_, request_.stanza, label, info_.cipher_pass);
    return !manifest || manifest->prior.empty() || info_.find(manifest->prior) != nullptr;
}

/// Every directory with the name of a backup that is not listed goes, so that what an earlier run
/// or a failed backup left behind goes too.
Result<> Run::remove_directories() {
    for (auto label = directories_.rbegin(); label != directories_.rend(); ++label) {
        if (info_.find(*label) != nullptr) continue;
        CHRONOS_TRY(go_on());
        if (CHRONOS_TRY(is_underway(*label, label == directories_.rbegin()))) {
            decided(What::directory, false, *label, "unfinished: being made, or to be resumed");
            continue;
        }
        say("remove expired backup " + *label);
        if (!std::binary_search(expired_.begin(), expired_.end(), *label))
            decided(What::directory, true, *label, "left behind: not a listed backup");
        if (!request_.dry_run)
            CHRONOS_TRY(storage_.remove_tree(repo::backup_path(request_.stanza, *label)));
    }
    return {};
}

void Run::say_why_wal_stays() const {
    if (retention_.full_unit == Unit::days)
        say("time-based archive retention not met - archive logs will not be expired");
    else
        log_info("option '" + repo_name() +
                 "-retention-archive' is not set - archive logs will not be expired");
}

Result<> Run::expire_wal() {
    if (!archive_) say_why_wal_stays();
    const WalRetention wanted{retention_.archive_type, archive_, request_.archive_expire_before};
    for (const repo::HistoryEntry& entry : archive_info_.history) {
        CHRONOS_TRY(go_on());
        const bool current = entry.id == archive_info_.current_id;
        CHRONOS_TRY(
            expire_archive_id(entry, plan_wal(info_.backups, entry, current, wanted, held_)));
    }
    return {};
}

Result<> Run::expire_archive_id(const repo::HistoryEntry& entry, const WalPlan& plan) {
    const std::string id = entry.archive_id();
    const std::vector<storage::Entry> entries = CHRONOS_TRY(storage_.list(archive_dir(id)));
    if (entries.empty()) return {};
    if (plan.action == WalPlan::Action::nothing) {
        decided(What::wal, false, id, plan.reason);
        return {};
    }
    if (plan.action == WalPlan::Action::remove_whole) {
        say("remove archive path " + storage_.describe(archive_dir(id)));
        decided(What::wal, true, id, plan.reason);
        if (request_.dry_run) return {};
        CHRONOS_TRY(storage_.remove_tree(archive_dir(id)));
        return remove_notes(id, "");
    }
    for (const KeepRange& range : plan.keep) {
        log_detail(repo_name() + ": " + id + " archive retention on backup " + range.owner +
                   ", start = " + range.first + (range.last ? ", stop = " + *range.last : ""));
        decided(What::wal, false, id + "/" + range.first + ".." + range.last.value_or(""),
                (range.last ? "needed by " : "continuous WAL from ") + range.owner);
    }
    wal_removed_ = 0;
    for (const storage::Entry& each : entries) {
        if (each.type != storage::EntryType::path || !repo::is_wal_directory(each.name)) continue;
        CHRONOS_TRY(cancel_.check());
        CHRONOS_TRY(expire_wal_directory(id, plan, each.name));
    }
    report_run(id, plan);
    if (wal_removed_ == 0) say(id + " no archive to remove");
    if (!request_.dry_run) CHRONOS_TRY(remove_notes(id, plan.keep.front().first));
    return expire_timeline_history(id, plan, entries);
}

Result<> Run::remove_notes(const std::string& archive_id, const std::string& before) {
    return repo::remove_wal_notes(repository_, request_.stanza, archive_id, before,
                                  archive_info_.cipher_pass);
}

/// Segments, or directories of them, that go one after the other are reported as one run.
void Run::gone(std::string_view name) {
    last_gone_ = name;
    if (first_gone_.empty()) first_gone_ = name;
    ++wal_removed_;
}

void Run::report_run(const std::string& archive_id, const WalPlan& plan) {
    if (first_gone_.empty()) return;
    say(archive_id + " remove archive, start = " + first_gone_ + ", stop = " + last_gone_);
    decided(What::wal, true,
            archive_id + "/" + first_gone_ + (first_gone_ == last_gone_ ? "" : ".." + last_gone_),
            plan.reason);
    first_gone_.clear();
}

Result<> Run::expire_wal_directory(const std::string& archive_id, const WalPlan& plan,
                                   const std::string& directory) {
    const std::string path = archive_dir(archive_id) + "/" + directory;
    if (directory_outside(plan, directory)) {
        log_detail(repo_name() + ": " + archive_id + " remove archive path " + directory);
        gone(directory);
        CHRONOS_TRY(go_on());
        return request_.dry_run ? Result<>() : storage_.remove_tree(path);
    }
    if (directory > repo::wal_directory(plan.retention_start)) return {};
    CHRONOS_TRY(go_on());
    for (const storage::Entry& file : CHRONOS_TRY(storage_.list(path))) {
        if (!file_outside(plan, file.name)) {
            report_run(archive_id, plan);
            continue;
        }
        gone(std::string_view(file.name).substr(0, pgdata::kWalSegmentNameSize));
        if (!request_.dry_run) CHRONOS_TRY(storage_.remove(path + "/" + file.name));
    }
    return {};
}

Result<> Run::expire_timeline_history(const std::string& archive_id, const WalPlan& plan,
                                      const std::vector<storage::Entry>& entries) {
    for (const storage::Entry& file : entries) {
        if (!pgdata::is_timeline_history(file.name) ||
            file.name.substr(0, plan.history_start.size()) >= plan.history_start)
            continue;
        say(archive_id + " remove history file " + file.name);
        decided(What::timeline_history, true, archive_id + "/" + file.name,
                "of a timeline before that of continuous WAL");
        if (!request_.dry_run)
            CHRONOS_TRY(storage_.remove(archive_dir(archive_id) + "/" + file.name));
    }
    return {};
}

/// Manifests of backups long gone. Source: docs/format/expire.md, History.
Result<> Run::expire_history() {
    if (!retention_.history_days) return {};
    const std::string cutoff =
        format_label_time(unix_now() - static_cast<UnixTime>(*retention_.history_days) * kDay_s) +
        "F";
    for (const storage::Entry& year : CHRONOS_TRY(storage_.list(backup_dir() + "/backup.history")))
        if (year.name.size() == kYearSize && parse_uint(year.name) &&
            year.name <= cutoff.substr(0, kYearSize))
            CHRONOS_TRY(expire_history_year(year.name, cutoff));
    return {};
}

Result<> Run::expire_history_year(const std::string& year, const std::string& cutoff) {
    const std::string path = backup_dir() + "/backup.history/" + year;
    const std::vector<storage::Entry> files = CHRONOS_TRY(storage_.list(path));
    std::vector<std::string> old;
    for (const storage::Entry& file : files) {
        const std::string label =
            file.name.ends_with(kHistoryManifest)
                ? file.name.substr(0, file.name.size() - kHistoryManifest.size())
                : "";
        if (repo::is_backup_label(label) && label < cutoff && info_.find(label) == nullptr)
            old.push_back(file.name);
    }
    if (old.size() == files.size() && year < cutoff.substr(0, kYearSize)) {
        say("remove expired backup history path " + year);
        decided(What::history_manifest, true, year, "older than history retention");
        return request_.dry_run ? Result<>() : storage_.remove_tree(path);
    }
    for (auto file = old.rbegin(); file != old.rend(); ++file) {
        CHRONOS_TRY(cancel_.check());
        say("remove expired backup history manifest " + *file);
        decided(What::history_manifest, true, *file, "older than history retention");
        if (!request_.dry_run) CHRONOS_TRY(storage_.remove(path + "/" + *file));
    }
    return {};
}

Result<> check_request(const ExpireRequest& request) {
    const std::string& set = request.set;
    if (!set.empty() && set != "latest" && set != "oldest" && !repo::is_backup_label(set))
        return Error(ErrorKind::option_invalid_value,
                     "'" + printable(set) + "' is not a valid backup label format");
    if (!set.empty() && request.oldest)
        return Error(ErrorKind::option_invalid, "option 'set' not valid with option 'oldest'");
    const std::string& before = request.archive_expire_before;
    if (!before.empty() && !pgdata::is_wal_segment(before))
        return Error(ErrorKind::option_invalid_value,
                     "'" + printable(before) +
                         "' is not a valid WAL segment name for option '--archive-expire-before'");
    return {};
}

Result<std::vector<std::unique_ptr<repo::Lock>>> take_locks(const ExpireRequest& request) {
    std::vector<std::unique_ptr<repo::Lock>> locks;
    for (const unsigned key : request.lock_keys)
        for (const repo::LockType type : {repo::LockType::backup, repo::LockType::hold})
            locks.push_back(CHRONOS_TRY(repo::Lock::acquire(
                {request.lock_path, request.stanza, type, key, request.exec_id})));
    return locks;
}

}  // namespace

std::string_view what_name(Decision::What what) {
    switch (what) {
        case What::backup: return "backup";
        case What::directory: return "directory";
        case What::wal: return "wal";
        case What::timeline_history: return "timeline-history";
        case What::history_manifest: return "history-manifest";
    }
    return "";
}

Result<ExpireOutcome> run_expire(const ExpireRequest& request, const Cancellation& cancel) {
    CHRONOS_TRY(check_request(request));
    CHRONOS_TRY(repo::check_stop_file(request.lock_path, request.stanza));
    std::vector<std::unique_ptr<repo::Lock>> locks;
    // A dry run changes nothing and may look while another command works.
    if (!request.dry_run) locks = CHRONOS_TRY(take_locks(request));
    ExpireOutcome outcome;
    bool found = false;
    for (const ExpireRepository& repository : request.repositories) {
        Run run(request, repository, outcome.decisions, cancel);
        Result<> done = run.go();
        if (!done && done.error().kind() == ErrorKind::cancelled) return std::move(done).error();
        if (!done) outcome.failures.emplace_back(repository.repository.key, done.error());
        found = found || run.found();
    }
    if (!request.set.empty() && !found && outcome.failures.empty())
        log_warn("backup " + request.set +
                 " does not exist\nHINT: run the info command and confirm the backup is listed");
    return outcome;
}

}  // namespace chronos::ops::expire

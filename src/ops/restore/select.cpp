#include "ops/restore/select.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/repo/archives.h"
#include "chronos/repo/side/kept_aside.h"
#include "chronos/repo/side/outside_config.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/wal_archive.h"

namespace chronos::ops::restore {
namespace {

struct LoadedRepository {
    std::size_t index = 0;
    const repo::Repository* repository = nullptr;
    repo::BackupInfo info;
};

std::string repo_name(const repo::Repository& repository) {
    return "repo" + std::to_string(repository.key);
}

const repo::HistoryEntry* cluster_of(const repo::BackupInfo& info,
                                     const repo::BackupEntry& backup) {
    const auto found = std::ranges::find(info.history, backup.history_id, &repo::HistoryEntry::id);
    return found == info.history.end() ? nullptr : &*found;
}

/// A copy for a question that is asked ahead: it does not keep the storage, which waits for it.
repo::Repository for_question(const repo::Repository& repository) {
    repo::Repository copy = repository;
    copy.storage = {std::shared_ptr<void>(), repository.storage.get()};
    return copy;
}

/// Hints: what is read of a backup that is going to be chosen, if nothing is in the way.
void read_ahead(const repo::Repository& repository, const std::string& stanza,
                const repo::BackupEntry& backup) {
    storage::Storage& storage = *repository.storage;
    storage.read_ahead(repo::manifest_name(stanza, backup.label));
    storage.read_ahead(repo::outside_config_name(stanza, backup.label));
    constexpr std::size_t kLabelsMax = 16;
    std::vector<std::string> labels{backup.label};
    labels.insert(labels.end(), backup.references.begin(), backup.references.end());
    if (labels.size() > kLabelsMax) labels.resize(kLabelsMax);
    for (const std::string& label : labels)
        storage.ask_ahead([&storage, directory = repo::backup_path(stanza, label)] {
            static_cast<void>(storage.list_tree(directory));
        });
}

/// Hints: what is asked of the archive of a cluster, and of where the WAL of a backup begins.
void ask_ahead(const ArchiveLocation& archive, const std::string& stanza,
               const std::string& first_segment) {
    storage::Storage& storage = *archive.repository->storage;
    std::vector<std::string> directories{archive.directory};
    if (!first_segment.empty())
        directories.push_back(archive.directory + "/" +
                              std::string(repo::wal_directory(first_segment)));
    for (const std::string& directory : directories)
        storage.ask_ahead([&storage, directory] { static_cast<void>(storage.list(directory)); });
    storage.ask_ahead(
        [repository = for_question(*archive.repository), stanza, id = archive.archive_id] {
            static_cast<void>(repo::list_kept_aside(repository, stanza, id));
        });
    storage.ask_ahead(
        [repository = for_question(*archive.repository), stanza, id = archive.archive_id] {
            static_cast<void>(repo::list_wal_pieces(repository, stanza, id));
        });
}

/// The guides of the clusters that backups are of, each loaded when it is first asked for.
class Guides {
public:
    Guides(const RestoreRequest& request, const TimelineWish& wish,
           const std::vector<LoadedRepository>& repositories)
        : request_(request), wish_(wish), repositories_(repositories) {}

    Result<const TimelineGuide*> of(const LoadedRepository& repository,
                                    const repo::BackupEntry& backup) {
        const repo::HistoryEntry* cluster = cluster_of(repository.info, backup);
        if (cluster == nullptr)
            return Error(ErrorKind::format, "backup '" + backup.label +
                                                "' is of a cluster that backup.info does not know");
        for (const auto& [known, guide] : guides_)
            if (known.same_cluster(*cluster)) return &guide;
        TimelineGuide guide = CHRONOS_TRY(load(repository.index, *cluster, backup.archive_start));
        guides_.emplace_back(*cluster, std::move(guide));
        return &guides_.back().second;
    }
    const std::string& stanza() const { return request_.stanza; }
    std::vector<std::string> take_warnings() { return std::move(warnings_); }

private:
    Result<TimelineGuide> load(std::size_t first, const repo::HistoryEntry& cluster,
                               const std::string& first_segment) {
        std::vector<repo::BackupEntry> backups;
        for (const LoadedRepository& repository : repositories_)
            for (const repo::BackupEntry& backup : repository.info.backups)
                if (const auto* own = cluster_of(repository.info, backup);
                    own != nullptr && own->same_cluster(cluster))
                    backups.push_back(backup);
        return TimelineGuide::load(request_, wish_, find_archives(first, cluster, first_segment),
                                   std::move(backups), cluster.version);
    }
    /// Where the WAL of the cluster lies in each repository that can be read; that of the backup
    /// first. Of several archives of one cluster (a stanza that was upgraded there and back) each.
    std::vector<ArchiveLocation> find_archives(std::size_t first, const repo::HistoryEntry& cluster,
                                               const std::string& first_segment) {
        std::vector<ArchiveLocation> archives;
        for (std::size_t i = 0; i < request_.repositories.size(); ++i) {
            const repo::Repository& repository = request_.repositories[i];
            const auto info = load_archive_info(repository, request_.stanza);
            if (!info) {
                warnings_.push_back(repo_name(repository) +
                                    ": cannot see the WAL archive: " + info.error().text());
                continue;
            }
            std::vector<ArchiveLocation> found;
            for (const repo::HistoryEntry& entry :
                 repo::archives_of(info->history, cluster.version, cluster.system_id,
                                   i == first ? cluster.id : 0)) {
                const std::string id = entry.archive_id();
                found.push_back({&repository, repo::archive_path(request_.stanza) + "/" + id,
                                 info->cipher_pass, id});
                ask_ahead(found.back(), request_.stanza, first_segment);
            }
            if (found.empty() && i == first)
                warnings_.push_back(repo_name(repository) +
                                    ": archive.info does not know the cluster that the backups are"
                                    " of: PostgreSQL " +
                                    cluster.version + " with system identifier " +
                                    std::to_string(cluster.system_id));
            archives.insert(i == first ? archives.begin() : archives.end(), found.begin(),
                            found.end());
        }
        return archives;
    }

    const RestoreRequest& request_;
    const TimelineWish& wish_;
    const std::vector<LoadedRepository>& repositories_;
    std::deque<std::pair<repo::HistoryEntry, TimelineGuide>> guides_;
    std::vector<std::string> warnings_;
};

/// Those that list backups. The others are skipped with a warning; if none is left, the first of
/// their errors is what is wrong.
Result<std::vector<LoadedRepository>> load_repositories(const RestoreRequest& request) {
    std::vector<LoadedRepository> loaded;
    std::optional<Error> first_error;
    for (std::size_t i = 0; i < request.repositories.size(); ++i) {
        auto info = load_backup_info(request.repositories[i], request.stanza);
        if (info && !info->backups.empty()) {
            loaded.push_back({i, &request.repositories[i], std::move(info).value()});
            continue;
        }
        Error error = info ? Error(ErrorKind::backup_set_invalid, "no backup sets to restore")
                           : std::move(info).error();
        log_warn(repo_name(request.repositories[i]) + ": [" +
                 std::string(error_class_name(error.kind())) + "] " + error.text());
        if (!first_error) first_error = std::move(error);
    }
    if (!loaded.empty()) return loaded;
    if (first_error && request.repositories.size() == 1 &&
        first_error->kind() != ErrorKind::backup_set_invalid)
        return *std::move(first_error);
    return Error(ErrorKind::backup_set_invalid, "no backup set found to restore")
        .with_hint("Run 'info' to see what the repositories hold.");
}

/// A sentence about what the oldest backup of all repositories allows.
std::string reachable_hint(const std::vector<LoadedRepository>& repositories, RecoveryType type) {
    const repo::BackupEntry* oldest = nullptr;
    for (const LoadedRepository& repository : repositories)
        for (const repo::BackupEntry& entry : repository.info.backups)
            if (oldest == nullptr || entry.timestamp_stop < oldest->timestamp_stop) oldest = &entry;
    if (type == RecoveryType::lsn)
        return "The oldest backup '" + oldest->label + "' reaches from lsn " +
               (oldest->lsn_stop ? oldest->lsn_stop->str() : "unknown") + " on.";
    return "The oldest backup '" + oldest->label + "' reaches from " +
           format_local_time(oldest->timestamp_stop + 1) + " on.";
}

struct Chosen {
    std::size_t repository = 0;  ///< index into the loaded ones
    repo::BackupEntry entry;
    std::string reason;
};

Result<Chosen> select_label(const RestoreRequest& request,
                            const std::vector<LoadedRepository>& repositories) {
    for (std::size_t i = 0; i < repositories.size(); ++i)
        if (const repo::BackupEntry* entry = repositories[i].info.find(request.set)) {
            read_ahead(*repositories[i].repository, request.stanza, *entry);
            return Chosen{i, *entry, "was asked for by its label"};
        }
    std::vector<std::string> labels;
    for (const LoadedRepository& repository : repositories)
        for (const repo::BackupEntry& entry : repository.info.backups)
            labels.push_back(entry.label);
    return Error(ErrorKind::backup_set_invalid, "backup set " + request.set + " is not valid")
        .with_hint("The newest backup is '" + *std::max_element(labels.begin(), labels.end()) +
                   "'; the info command lists all.");
}

/// Which backups a restore may choose from.
struct Rule {
    std::string reason;
    /// nullopt: of this repository nothing can be said any more.
    std::function<std::optional<bool>(const LoadedRepository&, const repo::BackupEntry&)> reaches;
    Error nothing;  ///< when no backup reaches the target
};

/// The newest backup of the first repository that has one which reaches the target and leads to the
/// timeline.
Result<Chosen> select_newest(const std::vector<LoadedRepository>& repositories, Guides& guides,
                             const Rule& rule) {
    const TimelineGuide* asked = nullptr;
    for (std::size_t i = 0; i < repositories.size(); ++i) {
        const auto& backups = repositories[i].info.backups;
        std::string passed_over;
        for (auto entry = backups.rbegin(); entry != backups.rend(); ++entry) {
            const std::optional<bool> answer = rule.reaches(repositories[i], *entry);
            if (!answer) break;
            if (!*answer) continue;
            if (asked == nullptr) read_ahead(*repositories[i].repository, guides.stanza(), *entry);
            asked = CHRONOS_TRY(guides.of(repositories[i], *entry));
            if (asked->refused() && !entry->archive_start.empty()) return *asked->refused();
            if (asked->leads(*entry))
                return Chosen{
                    i, *entry,
                    rule.reason +
                        (rule.reason == "is the newest"
                             ? " in " + repo_name(*repositories[i].repository)
                             : "") +
                        (passed_over.empty() ? ""
                                             : " and leads to the timeline that is restored; "
                                               "the newer " +
                                                   passed_over + " does not")};
            if (passed_over.empty()) passed_over = entry->label;
        }
    }
    return asked != nullptr ? asked->nothing_leads() : rule.nothing;
}

/// Backups that ended before a second, or in it.
Rule time_rule(const RestoreRequest& request, const std::vector<LoadedRepository>& repositories,
               UnixTime before) {
    return Rule{"is the newest that ended before the target",
                [before](const LoadedRepository&, const repo::BackupEntry& entry) {
                    return std::optional(entry.timestamp_stop < before);
                },
                Error(ErrorKind::backup_set_invalid,
                      "unable to find backup set with stop time less than '" + request.target + "'")
                    .with_hint(reachable_hint(repositories, RecoveryType::time))};
}

Rule lsn_rule(const RestoreRequest& request, const std::vector<LoadedRepository>& repositories) {
    const Lsn target = Lsn::parse(request.target).value_or(Lsn{});
    return Rule{
        "is the newest that ended before the target",
        [&request, target](const LoadedRepository& repository,
                           const repo::BackupEntry& entry) -> std::optional<bool> {
            if (entry.lsn_stop) return *entry.lsn_stop <= target;
            log_warn(repo_name(request.repositories[repository.index]) +
                     " reached backup from prior version missing required LSN info before "
                     "finding a match -- backup auto-select has been disabled for this repo");
            return std::nullopt;
        },
        Error(ErrorKind::backup_set_invalid,
              "unable to find backup set with lsn less than or equal to '" + request.target + "'")
            .with_hint(reachable_hint(repositories, RecoveryType::lsn))};
}

/// One that ended in the second of the target may have ended before it, and is taken where there is
/// no other; the WAL will tell.
Result<Chosen> select_for_time(const RestoreRequest& request, const TimeTarget& target,
                               const std::vector<LoadedRepository>& repositories, Guides& guides) {
    const UnixTime seconds = target.instant_us / 1000000;
    Result<Chosen> chosen =
        select_newest(repositories, guides, time_rule(request, repositories, seconds));
    const auto ends_then = [seconds](const LoadedRepository& repository) {
        return std::ranges::find(repository.info.backups, seconds,
                                 &repo::BackupEntry::timestamp_stop) !=
               repository.info.backups.end();
    };
    if (chosen || std::ranges::none_of(repositories, ends_then)) return chosen;
    return select_newest(repositories, guides, time_rule(request, repositories, seconds + 1));
}

/// Of the cluster that the stanza is about now.
Result<Rule> latest_rule(const std::vector<LoadedRepository>& repositories) {
    const LoadedRepository& first = repositories.front();
    const repo::BackupEntry& newest = first.info.backups.back();
    if (newest.history_id < first.info.history.back().id)
        return Error(ErrorKind::backup_set_invalid, "the latest backup set found '" + newest.label +
                                                        "' is from a prior version of PostgreSQL")
            .with_hint("was a backup created after the stanza-upgrade?")
            .with_hint("specify --set=" + newest.label +
                       " to restore from a prior version of "
                       "PostgreSQL.");
    return Rule{"is the newest",
                [](const LoadedRepository& repository, const repo::BackupEntry& entry) {
                    return std::optional(entry.history_id == repository.info.history.back().id);
                },
                Error(ErrorKind::backup_set_invalid, "no backup set found to restore")};
}

/// A backup given by its label must have ended before the target; PostgreSQL would find out only
/// after everything has been copied.
Result<> check_label_reaches(const RestoreRequest& request, RecoveryType type,
                             const std::optional<TimeTarget>& target,
                             const repo::BackupEntry& entry) {
    if (type == RecoveryType::time && target && target->instant_us / 1000000 < entry.timestamp_stop)
        return Error(ErrorKind::backup_set_invalid,
                     "target '" + request.target + "' is before the end of backup " + entry.label)
            .with_hint("That backup reaches from " + format_local_time(entry.timestamp_stop) +
                       " on; leave out --set to have one chosen that reaches the target.");
    if (type == RecoveryType::lsn && entry.lsn_stop &&
        Lsn::parse(request.target).value_or(Lsn{}) < *entry.lsn_stop)
        return Error(ErrorKind::backup_set_invalid,
                     "target " + request.target + " is before the end of backup " + entry.label)
            .with_hint("That backup reaches from lsn " + entry.lsn_stop->str() +
                       " on; leave out --set to have one chosen that reaches the target.");
    return {};
}

Result<Chosen> choose(const RestoreRequest& request, RecoveryType type,
                      const std::optional<TimeTarget>& target,
                      const std::vector<LoadedRepository>& repositories, Guides& guides) {
    if (!request.set.empty() && request.set != "latest") {
        Chosen chosen = CHRONOS_TRY(select_label(request, repositories));
        CHRONOS_TRY(check_label_reaches(request, type, target, chosen.entry));
        const auto* guide = CHRONOS_TRY(guides.of(repositories[chosen.repository], chosen.entry));
        if (guide->refused() && !chosen.entry.archive_start.empty()) return *guide->refused();
        return chosen;
    }
    if (target) return select_for_time(request, *target, repositories, guides);
    if (type == RecoveryType::lsn)
        return select_newest(repositories, guides, lsn_rule(request, repositories));
    return select_newest(repositories, guides, CHRONOS_TRY(latest_rule(repositories)));
}

}  // namespace

Result<SelectedBackup> select_backup(const RestoreRequest& request, RecoveryType type,
                                     const std::optional<TimeTarget>& target) {
    std::vector<LoadedRepository> repositories = CHRONOS_TRY(load_repositories(request));
    TimelineWish wish{type, std::nullopt, std::nullopt};
    if (target) wish.target_us = target->instant_us;
    if (type == RecoveryType::lsn) wish.target_lsn = Lsn::parse(request.target);
    Guides guides(request, wish, repositories);
    Chosen chosen = CHRONOS_TRY(choose(request, type, target, repositories, guides));
    LoadedRepository& repository = repositories[chosen.repository];
    const TimelineGuide* guide = CHRONOS_TRY(guides.of(repository, chosen.entry));
    return SelectedBackup{repository.index,
                          std::move(repository.info),
                          std::move(chosen.entry),
                          std::move(chosen.reason),
                          *guide,
                          guides.take_warnings()};
}

}  // namespace chronos::ops::restore

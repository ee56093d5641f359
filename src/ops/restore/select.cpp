#include "select.h"

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/base/text.h"

namespace chronos::ops {
namespace {

struct LoadedRepository {
    std::size_t index = 0;
    repo::BackupInfo info;
};

std::string repo_name(const repo::Repository& repository) {
    return "repo" + std::to_string(repository.key);
}

/// Those that list backups. The others are skipped with a warning; if none is left, the first of
/// their errors is what is wrong.
Result<std::vector<LoadedRepository>> load_repositories(const RestoreRequest& request) {
    std::vector<LoadedRepository> loaded;
    std::optional<Error> first_error;
    for (std::size_t i = 0; i < request.repositories.size(); ++i) {
        auto info = load_backup_info(request.repositories[i], request.stanza);
        if (info && !info->backups.empty()) {
            loaded.push_back({i, std::move(info).value()});
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

Result<SelectedBackup> select_label(const RestoreRequest& request,
                                    std::vector<LoadedRepository>& repositories) {
    for (LoadedRepository& repository : repositories)
        if (const repo::BackupEntry* entry = repository.info.find(request.set)) {
            repo::BackupEntry chosen = *entry;
            return SelectedBackup{repository.index, std::move(repository.info), std::move(chosen),
                                  "was asked for by its label"};
        }
    std::vector<std::string> labels;
    for (const LoadedRepository& repository : repositories)
        for (const repo::BackupEntry& entry : repository.info.backups)
            labels.push_back(entry.label);
    return Error(ErrorKind::backup_set_invalid, "backup set " + request.set + " is not valid")
        .with_hint("The newest backup is '" + *std::max_element(labels.begin(), labels.end()) +
                   "'; the info command lists all.");
}

/// The newest backup of the first repository that has one for which `reaches` holds.
template <class Reaches>
std::optional<SelectedBackup> select_newest(std::vector<LoadedRepository>& repositories,
                                            const std::string& reason, const Reaches& reaches) {
    for (LoadedRepository& repository : repositories) {
        const auto& backups = repository.info.backups;
        for (auto entry = backups.rbegin(); entry != backups.rend(); ++entry) {
            const std::optional<bool> answer = reaches(repository, *entry);
            if (!answer) break;
            if (!*answer) continue;
            repo::BackupEntry chosen = *entry;
            return SelectedBackup{repository.index, std::move(repository.info), std::move(chosen),
                                  reason};
        }
    }
    return std::nullopt;
}

Result<SelectedBackup> select_by_time(const RestoreRequest& request,
                                      std::vector<LoadedRepository>& repositories,
                                      const std::optional<TimeTarget>& target) {
    if (!target)
        return Error(ErrorKind::format,
                     "automatic backup set selection cannot be performed with provided time '" +
                         printable(request.target) + "'")
            .with_hint(
                "time format must be YYYY-MM-DD HH:MM:SS with optional msec and optional "
                "timezone (+/- HH or HHMM or HH:MM) - if timezone is omitted, local time is "
                "assumed (for UTC use +00)");
    const UnixTime seconds = target->instant_us / 1000000;
    auto selected = select_newest(repositories, "is the newest that ended before the target",
                                  [&](const LoadedRepository&, const repo::BackupEntry& entry) {
                                      return std::optional(entry.timestamp_stop < seconds);
                                  });
    if (selected) return *std::move(selected);
    return Error(ErrorKind::backup_set_invalid,
                 "unable to find backup set with stop time less than '" + request.target + "'")
        .with_hint(reachable_hint(repositories, RecoveryType::time));
}

Result<SelectedBackup> select_by_lsn(const RestoreRequest& request,
                                     std::vector<LoadedRepository>& repositories) {
    const Lsn target = Lsn::parse(request.target).value_or(Lsn{});
    auto selected = select_newest(
        repositories, "is the newest that ended before the target",
        [&](const LoadedRepository& repository,
            const repo::BackupEntry& entry) -> std::optional<bool> {
            if (entry.lsn_stop) return *entry.lsn_stop <= target;
            log_warn(repo_name(request.repositories[repository.index]) +
                     " reached backup from prior version missing required LSN info before "
                     "finding a match -- backup auto-select has been disabled for this repo");
            return std::nullopt;
        });
    if (selected) return *std::move(selected);
    return Error(
               ErrorKind::backup_set_invalid,
               "unable to find backup set with lsn less than or equal to '" + request.target + "'")
        .with_hint(reachable_hint(repositories, RecoveryType::lsn));
}

Result<SelectedBackup> select_latest(const RestoreRequest& request,
                                     std::vector<LoadedRepository>& repositories) {
    LoadedRepository& first = repositories.front();
    repo::BackupEntry newest = first.info.backups.back();
    if (newest.history_id < first.info.history.back().id)
        return Error(ErrorKind::backup_set_invalid, "the latest backup set found '" + newest.label +
                                                        "' is from a prior version of PostgreSQL")
            .with_hint("was a backup created after the stanza-upgrade?")
            .with_hint("specify --set=" + newest.label +
                       " to restore from a prior version of "
                       "PostgreSQL.");
    const std::size_t index = first.index;
    const std::string& key = repo_name(request.repositories[index]);
    return SelectedBackup{index, std::move(first.info), std::move(newest),
                          "is the newest in " + key};
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

}  // namespace

Result<SelectedBackup> select_backup(const RestoreRequest& request, RecoveryType type,
                                     const std::optional<TimeTarget>& target) {
    std::vector<LoadedRepository> repositories = CHRONOS_TRY(load_repositories(request));
    if (!request.set.empty() && request.set != "latest") {
        SelectedBackup selected = CHRONOS_TRY(select_label(request, repositories));
        CHRONOS_TRY(check_label_reaches(request, type, target, selected.entry));
        return selected;
    }
    if (type == RecoveryType::time) return select_by_time(request, repositories, target);
    if (type == RecoveryType::lsn) return select_by_lsn(request, repositories);
    return select_latest(request, repositories);
}

}  // namespace chronos::ops

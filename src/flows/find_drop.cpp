#include "chronos/flows/find_drop.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/ops/restore/definition_changes.h"
#include "chronos/repo/info.h"

namespace chronos::flows {
namespace {

using ops::restore::RecoveryType;
using ops::restore::RestoreRequest;
using ops::table::Past;
using ops::table::TableIds;
using ops::table::TableName;
using ops::table::TableRequest;
using pgdata::DefinitionChange;

/// Each look at a backup takes a second or more; so many nobody waits for.
constexpr std::size_t kBackupsMax = 50;
constexpr std::size_t kCandidatesMax = 30;

std::string shown(const TableName& table) {
    return printable(table.schema + "." + table.name);
}

/// Where a look ends its recovery.
struct Stop {
    std::string set;
    std::optional<Lsn> in_front_of;  ///< nullopt: as soon as it is consistent
};

class Search {
public:
    Search(const LookRequest& look, const TableRequest& request, unsigned process_max,
           const ProgressReceiver& progress, const Cancellation& cancel)
        : look_(look),
          request_(request),
          process_max_(process_max),
          progress_(progress),
          cancel_(cancel) {}

    Result<Drop> run();

private:
    Result<> load_backups();
    Result<> try_backup(std::size_t index);
    Result<> try_commits(std::size_t index);
    Result<> look_at(const Stop& stop,
                     const std::function<Result<>(const Past&, const ops::drill::Look&)>& work);
    Result<std::vector<DefinitionChange>> changes_behind(std::size_t index,
                                                         const std::string& scratch);
    void found(std::size_t index, const DefinitionChange& change, const TableName& table);

    const LookRequest& look_;
    const TableRequest& request_;
    unsigned process_max_;
    const ProgressReceiver& progress_;
    const Cancellation& cancel_;
    std::vector<repo::BackupEntry> backups_;  ///< of the cluster, the newest first
    TableIds home_;                           ///< of those that are in the live database
    std::optional<Drop> drop_;
};

/// Of the first repository that has any: a look takes its backup there, too.
Result<> Search::load_backups() {
    const RestoreRequest restore = CHRONOS_TRY(look_.restore("/nowhere", "/nowhere"));
    for (const repo::Repository& repository : restore.repositories) {
        const auto info = CHRONOS_TRY(repo::load_backup_info(repository, restore.stanza));
        for (const repo::BackupEntry& entry : info.backups)
            if (entry.history_id == info.current().id && entry.option_online)
                backups_.insert(backups_.begin(), entry);
        if (!backups_.empty()) return {};
    }
    return Error(ErrorKind::backup_set_invalid, "no backup set found to restore");
}

Result<> Search::look_at(
    const Stop& stop, const std::function<Result<>(const Past&, const ops::drill::Look&)>& work) {
    LookRequest look = look_;
    look.restore = [&](const std::string& pg_path,
                       const std::string& spool_path) -> Result<RestoreRequest> {
        RestoreRequest request = CHRONOS_TRY(look_.restore(pg_path, spool_path));
        request.set = stop.set;
        request.type = stop.in_front_of ? RecoveryType::lsn : RecoveryType::immediate;
        request.target = stop.in_front_of ? stop.in_front_of->str() : "";
        request.target_exclusive = stop.in_front_of.has_value();
        return request;
    };
    return run_in_past(
        look, [&](const ops::drill::Look& now) { return work(past_of(now), now); }, progress_,
        cancel_);
}

/// From that backup on, up to the end of the next one, which was looked at before.
Result<std::vector<DefinitionChange>> Search::changes_behind(std::size_t index,
                                                             const std::string& scratch) {
    RestoreRequest request = CHRONOS_TRY(look_.restore(scratch + "/wal", scratch + "/wal_spool"));
    request.pg_path = scratch + "/wal";
    request.set = backups_[index].label;
    request.target_exclusive = false;
    request.type = RecoveryType::default_;
    request.target = "";
    if (index > 0 && backups_[index - 1].lsn_stop) {
        request.type = RecoveryType::lsn;
        request.target = backups_[index - 1].lsn_stop->str();
    }
    const auto plan = CHRONOS_TRY(ops::restore::plan_restore(request));
    return ops::restore::read_definition_changes(plan, process_max_, cancel_, progress_);
}

void Search::found(std::size_t index, const DefinitionChange& change, const TableName& table) {
    if (drop_ && drop_->lsn <= change.begin) return;
    drop_ = Drop{backups_[index].label, change.begin, change.time_us, change.xid, table};
}

/// Whether it had all that are gone; then each one's last change of definition is its end.
Result<> Search::try_backup(std::size_t index) {
    log_info("look for the tables in backup " + backups_[index].label);
    const auto ask = [&](const Past& past, const ops::drill::Look& now) -> Result<> {
        const TableIds ids = CHRONOS_TRY(ops::table::ids_in_past(request_, past, cancel_));
        if (std::ranges::find(ids.oids, 0u) != ids.oids.end()) return {};
        const auto changes = CHRONOS_TRY(changes_behind(index, now.directory));
        for (std::size_t i = 0; i < ids.oids.size(); ++i) {
            // The same number is the same table, whatever was done to it.
            if (ids.database == home_.database && ids.oids[i] == home_.oids[i]) continue;
            const auto last =
                std::find_if(changes.rbegin(), changes.rend(), [&](const DefinitionChange& change) {
                    return change.names({ids.database, ids.oids[i]});
                });
            if (last != changes.rend()) found(index, *last, request_.tables[i]);
        }
        if (drop_) return {};
        return Error(ErrorKind::not_found,
                     shown(request_.tables.front()) +
                         " was not dropped, as far as the WAL in the archive goes")
            .with_hint("--type and --target choose a moment.");
    };
    return look_at({backups_[index].label, std::nullopt}, ask);
}

/// Made after that backup and gone before the next: the name is asked in front of each commit that
/// took something away.
Result<> Search::try_commits(std::size_t index) {
    std::vector<DefinitionChange> changes;
    const std::string& label = backups_[index].label;
    const auto read = [&](const Past&, const ops::drill::Look& now) -> Result<> {
        changes = CHRONOS_TRY(changes_behind(index, now.directory));
        return {};
    };
    CHRONOS_TRY(look_at({label, std::nullopt}, read));
    std::erase_if(changes, [&](const DefinitionChange& change) {
        return !change.dropped_files ||
               std::ranges::none_of(change.relations, [&](const pgdata::RelationId& relation) {
                   return relation.database == home_.database;
               });
    });
    std::ranges::reverse(changes);
    if (changes.size() > kCandidatesMax) changes.resize(kCandidatesMax);
    for (const DefinitionChange& change : changes) {
        log_info("look for the tables in front of " + change.begin.str() + ", behind backup " +
                 label);
        const auto ask = [&](const Past& past, const ops::drill::Look&) -> Result<> {
            const TableIds ids = CHRONOS_TRY(ops::table::ids_in_past(request_, past, cancel_));
            if (std::ranges::find(ids.oids, 0u) == ids.oids.end())
                found(index, change, request_.tables.front());
            return {};
        };
        CHRONOS_TRY(look_at({label, change.begin}, ask));
        if (drop_) return {};
    }
    return {};
}

Result<Drop> Search::run() {
    CHRONOS_TRY(load_backups());
    home_ = CHRONOS_TRY(ops::table::ids_at_home(request_, cancel_));
    const std::size_t count = std::min(backups_.size(), kBackupsMax);
    for (std::size_t i = 0; i < count && !drop_; ++i) CHRONOS_TRY(try_backup(i));
    for (std::size_t i = 0; i < count && !drop_; ++i) CHRONOS_TRY(try_commits(i));
    if (drop_) return *drop_;
    std::vector<std::string> names;
    for (const TableName& table : request_.tables) names.push_back(shown(table));
    return Error(ErrorKind::not_found, "no backup, nor the WAL behind one, has had " +
                                           join(names, ", ") + " in database '" +
                                           printable(request_.home.database) + "'")
        .with_hint("Names are taken as SQL takes them: 'public.\"Orders\"' is not public.orders.");
}

}  // namespace

Result<Drop> find_drop(const LookRequest& look, const TableRequest& request, unsigned process_max,
                       const ProgressReceiver& progress, const Cancellation& cancel) {
    return Search(look, request, process_max, progress, cancel).run();
}

Past past_of(const ops::drill::Look& look) {
    Past past;
    past.socket = look.socket;
    past.port = look.port;
    past.user = look.user;
    past.programs = look.programs;
    past.environment = look.environment;
    past.directory = look.directory;
    past.time = look.backup.target_time.value_or(0);
    return past;
}

}  // namespace chronos::flows

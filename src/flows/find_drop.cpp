#include "chronos/flows/find_drop.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
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

/// Whether such a failure says something of one backup and the WAL behind it only.
bool is_of_backup(ErrorKind kind) {
    constexpr std::array kKinds = {
        ErrorKind::path_not_empty,  ErrorKind::not_found, ErrorKind::backup_set_invalid,
        ErrorKind::backup_mismatch, ErrorKind::checksum,  ErrorKind::format,
        ErrorKind::runtime};
    return std::ranges::find(kKinds, kind) != kKinds.end();
}

/// Where a look ends its recovery: as soon as it is consistent, or at a commit.
struct Stop {
    std::string set;
    std::optional<Lsn> commit = std::nullopt;
    bool behind = false;  ///< of the commit, else in front of it
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
    /// A commit and the table that it may have dropped.
    struct Candidate {
        DefinitionChange change;
        std::size_t table = 0;
    };
    Result<> try_last_changes(std::size_t index, const TableIds& ids, std::vector<Candidate> last);
    Result<> try_made_anew(std::size_t index, const std::vector<Candidate>& last,
                           const std::vector<DefinitionChange>& changes);
    Result<TableIds> ids_at(const Stop& stop);
    bool is_at_home(const TableIds& ids, std::size_t table) const;
    Result<std::optional<std::size_t>> gone_behind(std::size_t index, Lsn commit,
                                                   const TableIds& before);
    enum class Found { not_all, still_there, end };
    Result<Found> try_commit(std::size_t index, const DefinitionChange& change);
    Error not_dropped(const TableIds& ids) const;
    Result<> try_each(Result<> (Search::*attempt)(std::size_t));
    Result<> look_at(const Stop& stop,
                     const std::function<Result<>(const Past&, const ops::drill::Look&)>& work);
    Result<std::vector<DefinitionChange>> changes_behind(std::size_t index,
                                                         const std::string& scratch);

    const LookRequest& look_;
    const TableRequest& request_;
    unsigned process_max_;
    const ProgressReceiver& progress_;
    const Cancellation& cancel_;
    std::vector<repo::BackupEntry> backups_;  ///< of the cluster, the newest first
    TableIds home_;                           ///< of those that are in the live database
    std::optional<Drop> drop_;
    std::optional<Error> not_dropped_;  ///< instead: the WAL ends before that
    std::vector<std::string> unasked_;  ///< backups of which nothing is known, and why
    std::optional<TableIds> later_;  ///< in front of the commit that was tried before, a later one
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
        request.type = stop.commit ? RecoveryType::lsn : RecoveryType::immediate;
        request.target = stop.commit ? stop.commit->str() : "";
        request.target_exclusive = stop.commit.has_value() && !stop.behind;
        return request;
    };
    return run_in_past(
        look, {request_, /*tables=*/false},
        [&](const ops::drill::Look& now) { return work(past_of(now), now); }, progress_, cancel_);
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

Result<TableIds> Search::ids_at(const Stop& stop) {
    TableIds ids;
    const auto ask = [&](const Past& past, const ops::drill::Look&) -> Result<> {
        ids = CHRONOS_TRY(ops::table::ids_in_past(request_, past, cancel_));
        return {};
    };
    CHRONOS_TRY(look_at(stop, ask));
    return ids;
}

/// The same number is the same table, whatever was done to it.
bool Search::is_at_home(const TableIds& ids, std::size_t table) const {
    return ids.database == home_.database && ids.oids[table] == home_.oids[table];
}

/// The first of the tables that the commit has taken away. A change of definition may be something
/// else, and the WAL of the drop not be in the archive.
Result<std::optional<std::size_t>> Search::gone_behind(std::size_t index, Lsn commit,
                                                       const TableIds& before) {
    const TableIds after = CHRONOS_TRY(ids_at({backups_[index].label, commit, true}));
    for (std::size_t i = 0; i < before.oids.size(); ++i)
        if (after.database != before.database || after.oids[i] != before.oids[i]) return {i};
    return {std::nullopt};
}

/// Whether all of the tables were there in front of it, and one was not behind it.
Result<Search::Found> Search::try_commit(std::size_t index, const DefinitionChange& change) {
    const std::string& label = backups_[index].label;
    log_info("look for the tables in front of " + change.begin.str() + ", behind backup " + label);
    const TableIds ids = CHRONOS_TRY(ids_at({label, change.begin}));
    const std::optional<TableIds> later = std::exchange(later_, ids);
    if (std::ranges::find(ids.oids, 0u) != ids.oids.end()) return Found::not_all;
    if (later && later->database == ids.database && later->oids == ids.oids)
        return Found::still_there;
    std::size_t at_home = 0;
    for (std::size_t i = 0; i < ids.oids.size(); ++i)
        if (is_at_home(ids, i)) ++at_home;
    if (at_home == ids.oids.size()) return Found::still_there;
    const auto gone = CHRONOS_TRY(gone_behind(index, change.begin, ids));
    if (!gone) return Found::still_there;
    drop_ = Drop{label, change.begin, change.time_us, change.xid, request_.tables[*gone]};
    return Found::end;
}

Error Search::not_dropped(const TableIds& ids) const {
    Error error(
        ErrorKind::not_found,
        shown(request_.tables.front()) + " was not dropped, as far as the WAL in the archive goes");
    if (ids.database != home_.database)
        error = std::move(error).with_hint(
            "The database was another one then, and went as a whole: --type=time, or a backup by "
            "--set, has what was in it.");
    if (ids.database != home_.database || ids.oids != home_.oids)
        error = std::move(error).with_hint(
            "If it was dropped just now: SELECT pg_switch_wal() sends what is not archived yet.");
    return std::move(error).with_hint("--type and --target choose a moment.");
}

/// Each one's last change of definition is its end, if the WAL goes that far: the first end counts.
Result<> Search::try_last_changes(std::size_t index, const TableIds& ids,
                                  std::vector<Candidate> last) {
    std::ranges::sort(last, {}, [](const Candidate& one) { return one.change.begin; });
    for (const Candidate& one : last) {
        const auto gone = CHRONOS_TRY(gone_behind(index, one.change.begin, ids));
        if (!gone) continue;
        drop_ = Drop{backups_[index].label, one.change.begin, one.change.time_us, one.change.xid,
                     request_.tables[one.table]};
        return {};
    }
    return {};
}

/// Tables of the same names that were made after those were dropped, and dropped, too.
Result<> Search::try_made_anew(std::size_t index, const std::vector<Candidate>& last,
                               const std::vector<DefinitionChange>& changes) {
    const auto only_at_home = [&](const DefinitionChange& change) {
        return !change.dropped_files && std::ranges::any_of(home_.oids, [&](std::uint32_t oid) {
            return oid != 0 && change.names({home_.database, oid});
        });
    };
    std::size_t tried = 0;
    later_.reset();
    for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
        if (change->begin <= drop_->lsn || tried == kCandidatesMax) break;
        const bool of_one = std::ranges::any_of(last, [&](const Candidate& one) {
            return one.change.begin < change->begin && one.change.shares_key_with(*change);
        });
        if (!of_one || only_at_home(*change)) continue;
        ++tried;
        if (CHRONOS_TRY(try_commit(index, *change)) == Found::end) break;
    }
    return {};
}

/// Whether it had all that are gone.
Result<> Search::try_backup(std::size_t index) {
    log_info("look for the tables in backup " + backups_[index].label);
    TableIds ids;
    std::vector<DefinitionChange> changes;
    bool has_all = false;
    const auto ask = [&](const Past& past, const ops::drill::Look& now) -> Result<> {
        ids = CHRONOS_TRY(ops::table::ids_in_past(request_, past, cancel_));
        has_all = std::ranges::find(ids.oids, 0u) == ids.oids.end();
        if (has_all) changes = CHRONOS_TRY(changes_behind(index, now.directory));
        return {};
    };
    CHRONOS_TRY(look_at({backups_[index].label}, ask));
    if (!has_all) return {};
    std::vector<Candidate> last;
    for (std::size_t i = 0; i < ids.oids.size(); ++i) {
        if (is_at_home(ids, i)) continue;
        const auto found =
            std::find_if(changes.rbegin(), changes.rend(), [&](const DefinitionChange& change) {
                return change.names({ids.database, ids.oids[i]});
            });
        if (found != changes.rend()) last.push_back({*found, i});
    }
    CHRONOS_TRY(try_last_changes(index, ids, last));
    if (drop_) return try_made_anew(index, last, changes);
    not_dropped_ = not_dropped(ids);
    return {};
}

/// Made after that backup and gone before the next: the name is asked in front of each commit that
/// took something away.
Result<> Search::try_commits(std::size_t index) {
    std::vector<DefinitionChange> changes;
    const auto read = [&](const Past&, const ops::drill::Look& now) -> Result<> {
        changes = CHRONOS_TRY(changes_behind(index, now.directory));
        return {};
    };
    CHRONOS_TRY(look_at({backups_[index].label}, read));
    std::erase_if(changes, [&](const DefinitionChange& change) {
        return !change.dropped_files ||
               std::ranges::none_of(change.relations, [&](const pgdata::RelationId& relation) {
                   return relation.database == home_.database;
               });
    });
    std::ranges::reverse(changes);
    if (changes.size() > kCandidatesMax) changes.resize(kCandidatesMax);
    later_.reset();
    for (std::size_t i = 0; i < changes.size(); ++i) {
        const Found found = CHRONOS_TRY(try_commit(index, changes[i]));
        if (found == Found::end) break;
        // What is there behind the last of all commits is there at the end of the WAL.
        if (found == Found::still_there && index == 0 && i == 0) {
            not_dropped_ = not_dropped(*later_);
            break;
        }
    }
    return {};
}

/// The newest backup first, until something is found. One that no recovery begins from now - its
/// WAL has expired, or creates a tablespace - is no reason not to ask the others.
Result<> Search::try_each(Result<> (Search::*attempt)(std::size_t)) {
    const std::size_t count = std::min(backups_.size(), kBackupsMax);
    for (std::size_t i = 0; i < count && !drop_ && !not_dropped_; ++i) {
        const Result<> tried = (this->*attempt)(i);
        if (tried) continue;
        if (!is_of_backup(tried.error().kind())) return tried;
        std::string why =
            "Backup " + backups_[i].label + " could not be asked: " + tried.error().message();
        if (std::ranges::find(unasked_, why) != unasked_.end()) continue;
        log_warn(why);
        unasked_.push_back(std::move(why));
    }
    return {};
}

Result<Drop> Search::run() {
    CHRONOS_TRY(load_backups());
    home_ = CHRONOS_TRY(ops::table::ids_at_home(request_, cancel_));
    CHRONOS_TRY(try_each(&Search::try_backup));
    CHRONOS_TRY(try_each(&Search::try_commits));
    if (drop_) return *drop_;
    if (not_dropped_) return *not_dropped_;
    std::vector<std::string> names;
    for (const TableName& table : request_.tables) names.push_back(shown(table));
    Error error(ErrorKind::not_found,
                "no backup, nor the WAL behind one, has had " + join(names, ", ") +
                    " in database '" + printable(request_.home.database) + "' and seen it dropped");
    for (const std::string& why : unasked_) error = std::move(error).with_hint(why);
    if (std::ranges::find(home_.oids, 0u) == home_.oids.end())
        return std::move(error).with_hint(
            "The live database has it: --type and --target choose a moment.");
    return std::move(error).with_hint(
        "Names are taken as SQL takes them: 'public.\"Orders\"' is not public.orders.");
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

#include "chronos/ops/table/table.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/os/process.h"
#include "ops/table/home.h"
#include "ops/table/needs.h"
#include "ops/table/past.h"
#include "ops/table/rights.h"

namespace chronos::ops::table {
namespace {

/// Tables of one owner, which are brought back together.
struct Group {
    std::string owner;
    std::vector<PastTable> tables;
    bool code = false;
    std::vector<Need> needs;
    std::vector<Need> brought;  ///< that home lacks, and that come along
};

std::vector<Group> groups_of(const std::vector<PastTable>& tables) {
    std::vector<Group> groups;
    for (const PastTable& table : tables) {
        const auto known = std::ranges::find(groups, table.owner, &Group::owner);
        Group& group = known != groups.end() ? *known : groups.emplace_back();
        group.owner = table.owner;
        group.tables.push_back(table);
    }
    return groups;
}

/// Two partitions of different schemas may have one name: here they would meet.
Result<> check_names(const std::vector<PastTable>& tables) {
    std::map<std::string, std::string> known;
    for (const PastTable& table : tables)
        if (const auto [at, is_new] = known.emplace(table.name, table.shown); !is_new)
            return Error(ErrorKind::param_invalid, at->second + " and " + table.shown +
                                                       " would have the same name in one schema")
                .with_hint("Bring them back one after the other, each --into a schema of its own.");
    return {};
}

class Recovery {
public:
    Recovery(const TableRequest& request, const Past& past, const ProgressReceiver& progress,
             const Cancellation& cancel)
        : request_(request), past_(past), progress_(progress), cancel_(cancel) {
        report_.database = request.home.database;
        report_.schema = request.into;
        if (report_.schema.empty() && past.time != 0) report_.schema = schema_of_time(past.time);
    }

    Result<TableReport> run() {
        CHRONOS_TRY(check_programs());
        const auto begin = std::chrono::steady_clock::now();
        source_ = CHRONOS_TRY(connect_to_past(past_, past_.user, request_.home.database,
                                              request_.query_timeout, cancel_));
        CHRONOS_TRY(end_prepared(*source_));
        if (report_.schema.empty()) report_.schema = CHRONOS_TRY(schema_of_last_commit());
        Expanded wanted = CHRONOS_TRY(expand(*source_, request_.tables));
        report_.notes = std::move(wanted.notes);
        const auto tables = CHRONOS_TRY(find_tables(*source_, wanted.names));
        CHRONOS_TRY(check_names(tables));
        const auto home = CHRONOS_TRY(connect_home(request_, request_.home, "", cancel_));
        CHRONOS_TRY(check_rights(*home, *source_, request_, tables));
        report_.left_out = CHRONOS_TRY(left_out(*source_, tables));
        grants_ = CHRONOS_TRY(grants_on(*source_, tables, report_.schema));
        groups_ = groups_of(tables);
        CHRONOS_TRY(compare_needs(*home));
        CHRONOS_TRY(make_reader(*source_));
        if (!request_.where.empty()) CHRONOS_TRY(check_where(tables));
        for (const PastTable& table : tables) total_ += table.size_bytes;
        if (request_.only_plan) return plan();
        if (!report_.missing.empty())
            return Error(ErrorKind::db_mismatch, "the live database lacks what the tables need: " +
                                                     join(report_.missing, "; "))
                .with_hint(
                    "Make it there as it was, in the same schema, and run this again; nothing was "
                    "changed. chronos look shows how it was.");
        CHRONOS_TRY(take_all());
        report_.seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        return std::move(report_);
    }

private:
    Result<> check_programs() {
        for (const char* name : {"pg_dump", "pg_restore"}) {
            const std::string program = past_.programs + "/" + name;
            if (access(program.c_str(), X_OK) != 0)
                return system_error(ErrorKind::execute, "unable to run '" + program + "'", errno)
                    .with_hint("It comes with the client programs of that version of PostgreSQL.");
        }
        return {};
    }

    Result<std::string> schema_of_last_commit() {
        const db::Rows rows = CHRONOS_TRY(source_->query(
            "SELECT pg_catalog.date_part('epoch', COALESCE("
            "pg_catalog.pg_last_xact_replay_timestamp(), pg_catalog.now()))::bigint"));
        return schema_of_time(
            static_cast<UnixTime>(parse_uint(rows.at(0).at(0).value_or("")).value_or(0)));
    }

    Result<> compare_needs(db::Connection& home) {
        CHRONOS_TRY(check_schema_is_new(home, report_.schema));
        CHRONOS_TRY(check_encoding(home));
        CHRONOS_TRY(note_other_cluster(home));
        CHRONOS_TRY(note_publications(home));
        std::set<std::string> missing;
        for (Group& group : groups_) {
            const auto oids = oids_of(group.tables);
            group.needs = CHRONOS_TRY(needs_of(*source_, oids));
            group.code = CHRONOS_TRY(runs_code(*source_, oids));
            const auto there = CHRONOS_TRY(described(home, group.needs));
            if (request_.with_dependencies) CHRONOS_TRY(bring(group, there, home));
            for (std::string& line : missing_at_home(group.needs, there))
                missing.insert(std::move(line));
            const db::Rows role = CHRONOS_TRY(
                home.query("SELECT pg_catalog.pg_has_role(session_user, oid, 'MEMBER'), "
                           "session_user FROM pg_catalog.pg_roles WHERE rolname = $1",
                           {group.owner}));
            if (!role.empty() && role.at(0).at(0) != "t")
                return Error(ErrorKind::access, "role " +
                                                    quote_name(role.at(0).at(1).value_or("")) +
                                                    " is no member of " + quote_name(group.owner) +
                                                    ", the owner of " + group.tables.front().shown)
                    .with_hint("pg1-user may name a superuser, or a member of the owner.");
            if (!role.empty()) continue;
            report_.notes.push_back("The live cluster has no role " + quote_name(group.owner) +
                                    ", the owner: the tables belong to the caller.");
            ownerless_.insert(group.owner);
        }
        report_.missing.assign(missing.begin(), missing.end());
        return choose_grants(home);
    }

    /// What home has otherwise stays as it is: it would be another type than that of the live
    /// tables.
    Result<> bring(Group& group, const std::vector<Need>& there, db::Connection& home) {
        group.brought = take_movable(group.needs, there);
        if (group.brought.empty()) return {};
        CHRONOS_TRY(check_rights_to_needs(home, *source_, request_, group.brought));
        // What the tables of one owner share with those of another one can be in one place only.
        if (groups_.size() > 1)
            return Error(ErrorKind::feature_not_supported,
                         "the tables are of several owners, and lack " +
                             group.brought.front().kind + " " + group.brought.front().identity)
                .with_hint("With --with-dependencies run it once for each owner.");
        std::vector<std::string> names;
        for (const Need& need : group.brought) names.push_back(need.kind + " " + need.identity);
        report_.notes.push_back(
            "The live database lacks " + join(names, ", ") +
            (request_.only_plan ? ", which would come along." : ", which came along."));
        return {};
    }

    /// What is not granted is told.
    Result<> choose_grants(db::Connection& home) {
        std::vector<Grant> chosen;
        std::set<std::string> roleless;
        bool is_kept_back = false;
        for (Grant& grant : grants_) {
            bool is_wanted = request_.privileges;
            if (is_wanted && grant.has_policies) {
                is_kept_back = true;
                is_wanted = false;
            }
            if (is_wanted && !grant.grantee.empty() &&
                CHRONOS_TRY(home.query("SELECT FROM pg_catalog.pg_roles WHERE rolname = $1",
                                       {grant.grantee}))
                    .empty()) {
                roleless.insert(grant.grantee);
                is_wanted = false;
            }
            if (is_wanted)
                chosen.push_back(std::move(grant));
            else
                report_.left_out.push_back(grant.old_sql);
        }
        grants_ = std::move(chosen);
        for (const std::string& role : roleless)
            report_.notes.push_back("The live cluster has no role " + quote_name(role) +
                                    ", which had privileges.");
        if (is_kept_back)
            report_.notes.push_back(
                "Nothing is granted on tables with row level security: their policies are not "
                "brought back, and who may see some rows only would see all of them.");
        return {};
    }

    Result<> check_where(const std::vector<PastTable>& tables) {
        CHRONOS_TRY(let_read(*source_, tables, ""));
        const auto reader = CHRONOS_TRY(connect_to_past(past_, kReader, request_.home.database,
                                                        request_.query_timeout, cancel_));
        return check_condition(*reader, tables, request_.where);
    }

    /// Some want that, after an upgrade for instance; with a wrong pg1-port nobody does.
    Result<> note_other_cluster(db::Connection& home) {
        constexpr const char* kAsk = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
        const db::Rows there = CHRONOS_TRY(home.query(kAsk));
        const db::Rows then = CHRONOS_TRY(source_->query(kAsk));
        if (there != then)
            report_.notes.push_back("The live server is another cluster than the backup is of.");
        return {};
    }

    /// A subscriber that has no such table stops at its first row.
    Result<> note_publications(db::Connection& home) {
        for (const db::Row& row : CHRONOS_TRY(
                 home.query("SELECT pg_catalog.quote_ident(pubname) FROM pg_catalog.pg_publication"
                            " WHERE puballtables ORDER BY 1")))
            report_.notes.push_back("Publication " + row.at(0).value_or("") +
                                    " is FOR ALL TABLES: it publishes these too.");
        return {};
    }

    /// Text is not the same text in a database that does not know what its bytes mean.
    Result<> check_encoding(db::Connection& home) {
        constexpr const char* kAsk = "SELECT pg_catalog.current_setting('server_encoding')";
        const db::Rows there = CHRONOS_TRY(home.query(kAsk));
        const db::Rows then = CHRONOS_TRY(source_->query(kAsk));
        if (there == then) return {};
        return Error(ErrorKind::db_mismatch, "the database was in encoding " +
                                                 then.at(0).at(0).value_or("") + " and is in " +
                                                 there.at(0).at(0).value_or(""));
    }

    Result<TableReport> plan() {
        if (std::ranges::any_of(groups_, &Group::code))
            report_.notes.push_back(
                "The tables run code of users: they would be written by a role that is made for "
                "it, and logs in by password.");
        for (const Group& group : groups_)
            for (const PastTable& table : group.tables)
                report_.tables.push_back({table.shown, home_name(table), home_owner(group), 0, 0});
        for (const Grant& grant : grants_) report_.granted.push_back(grant.sql);
        return std::move(report_);
    }

    std::string home_name(const PastTable& table) const {
        return quote_name(report_.schema) + "." + quote_name(table.name);
    }
    std::string home_owner(const Group& group) const {
        return ownerless_.contains(group.owner) ? "" : group.owner;
    }

    Result<> take_all() {
        log_info("bring " + std::to_string(table_count()) + " tables into schema " +
                 quote_name(report_.schema) + " of database '" + printable(report_.database) + "'");
        const auto schema = CHRONOS_TRY(NewSchema::create(request_, report_.schema, cancel_));
        for (std::size_t number = 0; number < groups_.size(); ++number) {
            CHRONOS_TRY(take(groups_[number], *schema, number));
            if (number + 1 < groups_.size())
                CHRONOS_TRY(set_schema_aside(*source_, report_.schema, number));
        }
        CHRONOS_TRY(cancel_.check());
        const std::string moment =
            past_.time == 0 ? "of the past" : "as of " + format_local_time(past_.time);
        const auto failed =
            CHRONOS_TRY(schema->keep("tables " + moment + ", by chronos recover-table", grants_));
        for (std::size_t i = 0; i < grants_.size(); ++i)
            if (failed[i].empty()) {
                report_.granted.push_back(grants_[i].sql);
            } else {
                report_.left_out.push_back(grants_[i].old_sql);
                report_.notes.push_back("Not granted to " + quote_name(grants_[i].grantee) + ": " +
                                        failed[i]);
            }
        return {};
    }

    Result<> take(const Group& group, NewSchema& schema, std::size_t number) {
        CHRONOS_TRY(move_tables(*source_, group.tables, report_.schema));
        CHRONOS_TRY(move_needs(*source_, group.brought, report_.schema));
        std::vector<Need> made;
        if (!group.brought.empty()) made = CHRONOS_TRY(movable_in(*source_, report_.schema));
        const std::string file = past_.directory + "/tables-" + std::to_string(number) + ".dump";
        CHRONOS_TRY(dump(file));
        CHRONOS_TRY(let_read(*source_, group.tables, report_.schema));
        const auto reader = CHRONOS_TRY(connect_to_past(past_, kReader, request_.home.database,
                                                        request_.query_timeout, cancel_));
        CHRONOS_TRY(schema.begin(home_owner(group), group.code, group.needs));
        report("copy");
        std::vector<std::string> names;
        for (const PastTable& table : group.tables) names.push_back(table.name);
        CHRONOS_TRY(schema.make_tables(past_, file, names));
        for (const PastTable& table : group.tables) {
            RecoveredTable done{table.shown, home_name(table), schema.owner(), 0, 0};
            if (table.has_rows) {
                const db::CopiedRows copied = CHRONOS_TRY_DOING(
                    copy_table(table, *reader, schema.writer()), "copy " + table.shown);
                done.rows = copied.rows;
                done.bytes = copied.bytes;
            }
            report_.tables.push_back(std::move(done));
            report("copy");
        }
        CHRONOS_TRY(set_sequences(schema.writer()));
        report("index");
        CHRONOS_TRY(schema.restore(past_, file, "post-data"));
        return schema.end(names, made);
    }

    /// In the format of an archive: what pg_restore makes of it goes to the server statement by
    /// statement, while a script would be read by psql, which obeys more than SQL.
    Result<> dump(const std::string& file) {
        os::Command command;
        command.arguments = {past_.programs + "/pg_dump",
                             "--format=custom",
                             "--schema-only",
                             "--schema=" + quote_name(report_.schema),
                             "--strict-names",
                             "--no-owner",
                             "--no-privileges",
                             "--no-publications",
                             "--no-security-labels",
                             "--no-tablespaces",
                             "--no-password",
                             "--file=" + file};
        command.environment = past_.environment;
        for (const std::string& variable :
             {"PGHOST=" + past_.socket, "PGPORT=" + std::to_string(past_.port),
              "PGUSER=" + past_.user, "PGDATABASE=" + request_.home.database,
              std::string("PGOPTIONS=-c session_preload_libraries=")})
            command.environment.push_back(variable);
        command.output = os::Output::captured_both;
        std::string output;
        const os::Ended ended =
            CHRONOS_TRY(os::run(command, {request_.query_timeout, &cancel_, std::uint64_t{1} << 20},
                                [&](std::string_view chunk) { output += chunk; }));
        if (ended.success()) return {};
        return Error(ErrorKind::execute, "pg_dump of the scratch server: " + one_line(output));
    }

    Result<db::CopiedRows> copy_table(const PastTable& table, db::Connection& reader,
                                      db::Connection& writer) {
        const std::string columns = CHRONOS_TRY(copied_columns(*source_, table));
        auto copied = db::copy_rows(
            reader, copy_out_statement(table, report_.schema, columns, request_.where), writer,
            "COPY " + home_name(table) + " " + columns + " FROM STDIN",
            [&](std::uint64_t bytes) { moved(bytes); });
        // Its hints are about backups.
        if (!copied) return Error(copied.error().kind(), copied.error().message());
        return copied;
    }

    Result<> set_sequences(db::Connection& writer) {
        for (const SequenceValue& sequence : CHRONOS_TRY(sequence_values(*source_, report_.schema)))
            CHRONOS_TRY(writer.query(
                "SELECT pg_catalog.setval($1::pg_catalog.regclass, $2::bigint, $3::bool)",
                {quote_name(report_.schema) + "." + quote_name(sequence.name), sequence.value,
                 sequence.called}));
        return {};
    }

    void moved(std::uint64_t bytes) {
        done_ += bytes;
        constexpr std::chrono::milliseconds kBetween{300};
        if (std::chrono::steady_clock::now() - last_ >= kBetween) report("copy");
    }

    /// Rows as text are of another size than the pages that they come from.
    void report(const char* phase) {
        last_ = std::chrono::steady_clock::now();
        if (!progress_) return;
        progress_({phase, std::max(total_, done_), done_, table_count(), report_.tables.size()});
    }
    std::uint64_t table_count() const {
        std::uint64_t count = 0;
        for (const Group& group : groups_) count += group.tables.size();
        return count;
    }

    const TableRequest& request_;
    const Past& past_;
    const ProgressReceiver& progress_;
    const Cancellation& cancel_;
    TableReport report_;
    std::unique_ptr<db::Connection> source_;
    std::vector<Group> groups_;
    std::vector<Grant> grants_;  ///< that are to be made
    std::set<std::string> ownerless_;
    std::uint64_t total_ = 0;
    std::uint64_t done_ = 0;
    std::chrono::steady_clock::time_point last_;
};

}  // namespace

Result<TableReport> recover_tables(const TableRequest& request, const Past& past,
                                   const ProgressReceiver& progress, const Cancellation& cancel) {
    return Recovery(request, past, progress, cancel).run();
}

}  // namespace chronos::ops::table

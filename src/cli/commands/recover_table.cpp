#include "chronos/ops/table/table.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/flows/find_drop.h"
#include "chronos/flows/look.h"
#include "chronos/present/print.h"
#include "chronos/present/sql_words.h"
#include "cli/commands/commands.h"
#include "cli/commands/scratch_server.h"

namespace chronos::cli {
namespace {

using ops::drill::Look;
using ops::table::RecoveredTable;
using ops::table::TableName;
using ops::table::TableReport;
using ops::table::TableRequest;

std::string environment(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
}

/// As libpq would find it: what leads it is forgotten before the scratch server is asked.
ops::table::Home live_server(const config::Config& config) {
    ops::table::Home home;
    home.host = config.get_string("pg1-socket-path");
    if (home.host.empty()) home.host = environment("PGHOST");
    home.port = config.has("pg1-port")
                    ? static_cast<unsigned>(config.get_int("pg1-port"))
                    : static_cast<unsigned>(parse_uint(environment("PGPORT")).value_or(0));
    home.user = config.get_string("pg1-user");
    if (home.user.empty()) home.user = environment("PGUSER");
    home.database = config.get_string("pg1-database");
    for (const auto& [variable, name] :
         {std::pair{"PGSSLMODE", "sslmode"}, std::pair{"PGREQUIREAUTH", "require_auth"},
          std::pair{"PGCHANNELBINDING", "channel_binding"}, std::pair{"PGGSSENCMODE", "gssencmode"},
          std::pair{"PGREQUIREPEER", "requirepeer"}})
        if (const std::string value = environment(variable); !value.empty())
            home.parameters[name] = value;
    return home;
}

Result<TableRequest> table_request(const config::Config& config) {
    TableRequest request;
    request.into = config.get_string("into");
    request.where = config.get_string("where");
    request.with_dependencies = config.get_bool("with-dependencies");
    request.privileges = config.get_bool("privileges");
    request.only_plan = config.get_bool("plan");
    request.exec_id = config.get_string("exec-id");
    request.query_timeout = config.get_time("db-timeout");
    if (config.has("for-role"))
        request.for_role = static_cast<std::uint32_t>(config.get_int("for-role"));
    request.home = live_server(config);
    if (config.parameters().empty())
        return Error(ErrorKind::param_required, "no table was named")
            .with_hint("Each is [database.]schema.table.");
    std::optional<std::string> database;
    for (const std::string& text : config.parameters()) {
        TableName name = CHRONOS_TRY(ops::table::parse_table_name(text));
        if (name.database.empty()) name.database = request.home.database;
        if (database && *database != name.database)
            return Error(ErrorKind::param_invalid, "the tables are of two databases, '" +
                                                       printable(*database) + "' and '" +
                                                       printable(name.database) + "'")
                .with_hint("Run it once for each.");
        database = name.database;
        request.tables.push_back(std::move(name));
    }
    request.home.database = *database;
    return request;
}

std::string seconds_text(double seconds) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f s", seconds);
    return text;
}

std::string moment_of(const ops::drill::RestoredBackup& backup) {
    if (backup.type == "default") return "the end of the WAL";
    if (backup.target.empty()) return "where it is consistent";
    return backup.type + " '" + backup.target + "'";
}

std::string section(const std::string& title, const std::vector<std::string>& lines,
                    const std::string& end) {
    if (lines.empty()) return "";
    std::string text = title + "\n";
    for (const std::string& line : lines) text += "  " + one_line(line, 4096) + end + "\n";
    return text;
}

/// The restore that ends right before it.
decltype(flows::LookRequest::restore) in_front_of(const flows::Drop& drop,
                                                  decltype(flows::LookRequest::restore) restore) {
    return [drop, restore = std::move(restore)](
               const std::string& pg_path,
               const std::string& spool_path) -> Result<ops::restore::RestoreRequest> {
        ops::restore::RestoreRequest request = CHRONOS_TRY(restore(pg_path, spool_path));
        request.set = drop.set;
        request.type = ops::restore::RecoveryType::lsn;
        request.target = drop.lsn.str();
        request.target_exclusive = true;
        return request;
    };
}

std::string text_of(const flows::Drop& drop) {
    return printable(drop.table.schema + "." + drop.table.name) + " was dropped at " +
           format_local_time(drop.time_us / 1000000) + " by transaction " +
           std::to_string(drop.xid) + ", which ended at " + drop.lsn.str() + "\n";
}

bool is_restored(const ops::drill::RestoredBackup& backup) {
    return !backup.fetched_bytes;
}

std::string restored_text(const ops::drill::RestoredBackup& backup) {
    if (!is_restored(backup)) return "";
    return "without a mount: " + format_size(backup.size_bytes) + " of it were restored\n";
}

std::string text_of(const TableReport& report, const Look& look,
                    const std::optional<flows::Drop>& drop, bool only_plan) {
    std::string text = (drop ? text_of(*drop) : "") + "backup " + look.backup.label + " of repo" +
                       std::to_string(look.backup.repo_key) + ", recovered to " +
                       moment_of(look.backup) + " after " + seconds_text(look.seconds) + "\n" +
                       restored_text(look.backup) +
                       (only_plan ? "would be brought back" : "brought back") + " into database " +
                       printable(report.database) +
                       (only_plan ? ":\n" : ", after " + seconds_text(report.seconds) + ":\n");
    for (const RecoveredTable& table : report.tables) {
        text += "  " + one_line(table.source) + " -> " + one_line(table.name);
        if (!only_plan)
            text += ": " + std::to_string(table.rows) + " rows, " + format_size(table.bytes);
        text += "\n";
    }
    text += section(only_plan ? "would be granted:" : "granted:", report.granted, ";");
    text += section("not brought back:", report.left_out, ";");
    text += section("missing in the live database:", report.missing, "");
    for (const std::string& note : report.notes) text += one_line(note) + "\n";
    return text;
}

nlohmann::json json_of(const TableReport& report, const Look& look,
                       const std::optional<flows::Drop>& drop, const std::string& reason) {
    nlohmann::json tables = nlohmann::json::array();
    for (const RecoveredTable& table : report.tables)
        tables.push_back({{"source", table.source},
                          {"name", table.name},
                          {"owner", table.owner},
                          {"rows", table.rows},
                          {"bytes", table.bytes}});
    nlohmann::json dropped;
    if (drop)
        dropped = {{"table", drop->table.schema + "." + drop->table.name},
                   {"time", format_local_time(drop->time_us / 1000000)},
                   {"time-us", drop->time_us},
                   {"lsn", drop->lsn.str()},
                   {"xid", drop->xid}};
    nlohmann::json json = {{"backup", look.backup.label},    {"drop", dropped},
                           {"repo", look.backup.repo_key},   {"type", look.backup.type},
                           {"target", look.backup.target},   {"database", report.database},
                           {"schema", report.schema},        {"tables", tables},
                           {"left-out", report.left_out},    {"missing", report.missing},
                           {"notes", report.notes},          {"recover-seconds", look.seconds},
                           {"copy-seconds", report.seconds}, {"reason", reason}};
    json["granted"] = report.granted;
    json["how"] = is_restored(look.backup) ? "restore" : "mount";
    if (is_restored(look.backup)) json["restored-bytes"] = look.backup.size_bytes;
    return json;
}

/// Before there is a second thread.
bool may_mount(const config::Config& config) {
    if (!config.get_bool("mount")) return false;
    const Result<> kept = ops::mount::keep_mounts_to_myself();
    if (!kept) log_info(kept.error().message() + ": what is needed is restored");
    return static_cast<bool>(kept);
}

/// What the server gets of it in one message. A table may have thousands of partitions.
std::string fitting_text(nlohmann::json report) {
    constexpr std::size_t kSizeMax = std::size_t{256} << 10;
    const auto text = [&] {
        return report.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    };
    for (const char* list : {"left-out", "missing", "notes", "tables"})
        while (text().size() > kSizeMax && !report[list].empty()) {
            report[list].erase(
                report[list].begin() + static_cast<std::ptrdiff_t>(report[list].size() / 2),
                report[list].end());
            report["shortened"] = true;
        }
    return text();
}

/// For a job of the server, whose record has what it has asked for.
void tell_server(const requests::Context& context, const TableReport& report, const Look& look,
                 const std::optional<flows::Drop>& drop, nlohmann::json json) {
    std::uint64_t bytes = 0;
    for (const RecoveredTable& table : report.tables) bytes += table.bytes;
    json["plan"] = context.config.get_bool("plan");
    context.result("label", look.backup.label);
    context.result("size", std::to_string(bytes));
    context.result("files", std::to_string(report.tables.size()));
    context.result("warning", report.missing.empty()
                                  ? ""
                                  : "the live database lacks what the tables need: " +
                                        one_line(join(report.missing, "; "), 400));
    context.result("report", fitting_text(std::move(json)));
    if (!drop) return;
    context.result("drop_time_us", std::to_string(drop->time_us));
    context.result("drop_xid", std::to_string(drop->xid));
    context.result("drop_lsn", drop->lsn.str());
}

Result<> tidy(const TableRequest& request, const requests::Context& context) {
    CHRONOS_TRY(ops::drill::sweep(context.config.get_string("drill-path"), /*dry_run=*/false));
    return ops::table::tidy_home(request, context.cancel);
}

enum class By { shell, server };

Result<int> recover_table(requests::Context& context, By by) {
    const config::Config& config = context.config;
    const TableRequest request = CHRONOS_TRY(table_request(config));
    if (config.get_bool("before-drop") &&
        (config.has("type") || config.has("target") || config.has("set")))
        return Error(ErrorKind::option_invalid,
                     "option 'before-drop' not valid with option 'type', 'target' or 'set'")
            .with_hint("It looks for the moment itself.");
    if (config.get_bool("before-drop") &&
        std::ranges::any_of(request.tables, &TableName::whole_schema))
        return Error(ErrorKind::option_invalid,
                     "option 'before-drop' not valid with a whole schema")
            .with_hint("It looks for tables that are named, each of them.");
    CHRONOS_TRY(check_scratch_type(context, "a recovery of tables"));
    if (config.get_bool("only-tidy")) {
        CHRONOS_TRY(tidy(request, context));
        return 0;
    }
    CHRONOS_TRY(ops::table::check_home(request, context.cancel));
    flows::LookRequest look_request = scratch_look(context);
    look_request.mount.databases.push_back(request.home.database);
    std::uint64_t fetched_bytes = 0;
    look_request.fetched = [&](const auto& figures) { fetched_bytes += figures.fetched_bytes; };
    look_request.by_restore = !may_mount(config);
    std::optional<flows::Drop> drop;
    if (config.get_bool("before-drop")) {
        drop = CHRONOS_TRY(flows::find_drop(look_request, request,
                                            static_cast<unsigned>(config.get_int("process-max")),
                                            context.progress, context.cancel));
        look_request.restore = in_front_of(*drop, look_request.restore);
    }
    std::optional<Error> lacking;
    std::optional<std::pair<TableReport, Look>> done;
    const Result<> recovered = flows::run_in_past(
        look_request, {request},
        [&](const Look& look) -> Result<> {
            const TableReport report = CHRONOS_TRY(ops::table::recover_tables(
                request, flows::past_of(look), context.progress, context.cancel));
            if (!report.missing.empty())
                lacking =
                    Error(ErrorKind::db_mismatch, "the live database lacks what the tables need");
            done = {report, look};
            return config.get_string("output") == "json"
                       ? present::print_json(
                             json_of(report, look, drop, config.get_string("reason")))
                       : present::print_text(text_of(report, look, drop, request.only_plan));
        },
        context.progress, context.cancel);
    CHRONOS_TRY(recovered);
    if (by == By::server) {
        nlohmann::json json = json_of(done->first, done->second, drop, config.get_string("reason"));
        json["fetched-bytes"] = fetched_bytes;
        tell_server(context, done->first, done->second, drop, std::move(json));
        return 0;
    }
    if (lacking) return *lacking;
    return 0;
}

}  // namespace

Result<int> run_recover_table(requests::Context& context) {
    return recover_table(context, By::shell);
}

Result<int> run_recover_table_job(requests::Context& context) {
    auto recovered = recover_table(context, By::server);
    if (!recovered) return present::in_words_of_sql(recovered.error());
    return recovered;
}

}  // namespace chronos::cli

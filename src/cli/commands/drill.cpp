#include <pwd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/db/server.h"
#include "chronos/ops/drill/drill.h"
#include "chronos/os/file.h"
#include "chronos/present/drill_output.h"
#include "chronos/present/print.h"
#include "chronos/repo/wal_archive.h"
#include "chronos/requests/drill_records.h"
#include "chronos/requests/repositories.h"
#include "chronos/requests/restore_request.h"
#include "chronos/requests/server_commands.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

using ops::drill::Assertion;
using ops::drill::DrillReport;
using ops::drill::DrillRequest;

/// A restore point in the running cluster, and its WAL in the repository.
struct Marker {
    std::string name;
};

/// The live server has the right of way: less CPU than anybody, the last in the queue of the disk.
void step_back(const config::Config& config) {
    constexpr int kNice = 10;
    if (!config.has("priority")) setpriority(PRIO_PROCESS, 0, kNice);
    constexpr int kWhoProcess = 1;
    constexpr int kBestEffortLast = (2 << 13) | 7;
    syscall(SYS_ioprio_set, kWhoProcess, 0, kBestEffortLast);
}

Result<> add_assertions(const std::string& text, const std::string& database,
                        std::vector<Assertion>& assertions) {
    for (Assertion& assertion : CHRONOS_TRY(ops::drill::parse_assertions(text, database)))
        assertions.push_back(std::move(assertion));
    return {};
}

Result<std::vector<Assertion>> read_assertions(const config::Config& config) {
    const std::string database = config.get_string("pg1-database");
    std::vector<Assertion> assertions;
    if (const std::string path = config.get_string("assert-file"); !path.empty()) {
        constexpr std::size_t kSizeMax = std::size_t{16} << 20;
        const std::string text = CHRONOS_TRY(os::read_small(path, kSizeMax));
        CHRONOS_TRY_DOING(add_assertions(text, database, assertions), "read '" + path + "'");
    }
    for (const std::string& text : config.get_list("assert"))
        CHRONOS_TRY(add_assertions(text, database, assertions));
    return assertions;
}

/// Who may be a superuser of the cluster: initdb takes the operating system's user.
std::vector<std::string> likely_superusers(const config::Config& config) {
    std::vector<std::string> users;
    const auto add = [&](const std::string& user) {
        if (!user.empty() && std::ranges::find(users, user) == users.end()) users.push_back(user);
    };
    add(config.get_string("pg1-user"));
    if (const passwd* user = getpwuid(geteuid())) add(user->pw_name);
    add("postgres");
    return users;
}

Result<DrillRequest> drill_request(const requests::Context& context) {
    const config::Config& config = context.config;
    DrillRequest request;
    request.stanza = config.stanza();
    request.scratch_parent = config.get_string("drill-path");
    request.to = config.get_string("to");
    request.keep = config.get_bool("keep");
    request.port = static_cast<unsigned>(config.get_int("port"));
    request.bin_path = config.get_string("bin-path");
    // "make install" puts this program where those of the server are.
    request.own_path = context.program.substr(0, context.program.rfind('/'));
    request.preload = config.get_string("preload");
    request.settings = config.get_hash("setting");
    request.database = config.get_string("pg1-database");
    request.users = likely_superusers(config);
    request.assertions = CHRONOS_TRY(read_assertions(config));
    request.commands = config.get_list("exec");
    request.amcheck = config.get_bool("amcheck");
    request.recovery_timeout = config.get_time("recovery-timeout");
    request.query_timeout = config.get_time("db-timeout");
    return request;
}

Result<> check_type(const config::Config& config) {
    const std::string type = config.get_string("type");
    if (type == "none" || type == "preserve" || type == "standby")
        return Error(ErrorKind::option_invalid_value,
                     "'" + type + "' is not allowed for 'type' option of a drill")
            .with_hint("A drill has an end: default, immediate, time, lsn, name or xid.");
    if (config.get_bool("marker") && (config.has("type") || config.get_string("set") != "latest"))
        return Error(ErrorKind::option_invalid,
                     "option 'marker' not valid with options 'type' and 'set'")
            .with_hint("It recovers the latest backup to the mark.");
    return {};
}

/// Writes the marker and waits for its WAL.
Result<Marker> write_marker(requests::Context& context) {
    const config::Config& config = context.config;
    const auto connection = CHRONOS_TRY(requests::connect_to_server(context));
    Marker marker{"chronos drill " + config.get_string("exec-id")};
    const Lsn end = CHRONOS_TRY(db::switch_wal(*connection, marker.name));
    const db::Rows rows = CHRONOS_TRY(
        connection->query("SELECT pg_catalog.pg_walfile_name($1::pg_lsn)", {end.str()}));
    const std::string segment = rows.at(0).at(0).value_or("");
    log_info("wrote restore point '" + marker.name + "', wait for WAL segment " + segment);
    const auto repositories = CHRONOS_TRY(requests::open_repositories(config));
    const auto info = CHRONOS_TRY(repo::load_archive_info(repositories.front(), config.stanza()));
    CHRONOS_TRY(repo::wait_for_archived_segment(
        repositories.front(), config.stanza(), info.current().archive_id(), segment,
        config.get_time("archive-timeout"), context.cancel));
    return marker;
}

/// As the options say, but into the scratch directory: with locks and spool of its own, so that
/// neither a real restore nor a recovery of this stanza is in the way of the other.
Result<ops::restore::RestoreRequest> restore_into(const requests::Context& context,
                                                  const ops::drill::Scratch& scratch,
                                                  const std::optional<Marker>& marker) {
    ops::restore::RestoreRequest request = CHRONOS_TRY(requests::restore_request(context));
    request.pg_path = scratch.data();
    request.spool_path = scratch.spool();
    request.lock_path = scratch.lock();
    request.tablespace_map_all = scratch.tablespaces();
    request.durable = false;
    request.restore_command =
        requests::make_restore_command(context, scratch.data(), scratch.spool());
    if (marker) {
        request.type = ops::restore::RecoveryType::name;
        request.target = marker->name;
    }
    // Without a target recovery ends at the end of the WAL and promotes anyway.
    if (request.type.value_or(ops::restore::RecoveryType::default_) !=
        ops::restore::RecoveryType::default_)
        request.target_action = ops::restore::TargetAction::promote;
    return request;
}

/// With what the server adds: WAL, checkpoints, the results of its work.
Result<> check_space(const ops::restore::RestorePlan& plan) {
    constexpr std::uint64_t kServer = std::uint64_t{256} << 20;
    for (const ops::restore::RestoreSpace& space : plan.space) {
        const std::uint64_t needed = space.needed_bytes + space.needed_bytes / 10 + kServer;
        if (needed > space.free_bytes)
            return Error(ErrorKind::file_write, "a drill in '" + space.path + "' needs " +
                                                    format_size(needed) + ", free are " +
                                                    format_size(space.free_bytes))
                .with_hint("drill-path and --to name other directories.");
    }
    return {};
}

void describe_backup(const ops::restore::RestorePlan& plan,
                     const ops::restore::RestoreRequest& request,
                     ops::drill::RestoredBackup& backup) {
    backup.repo_key = plan.repo_key;
    backup.label = plan.manifest.label;
    backup.type = ops::restore::recovery_type_name(plan.type);
    backup.target = plan.target_us ? plan.target_setting : request.target;
    if (plan.target_us) backup.target_time = *plan.target_us / 1000000;
    backup.reason = plan.reason;
    backup.backup_stop = plan.manifest.timestamp_stop;
    backup.pg_version = plan.manifest.pg_version;
    backup.wal_segments = plan.wal.count;
}

Result<> restore_backup(requests::Context& context, const ops::drill::Scratch& scratch,
                        const std::optional<Marker>& marker, ops::drill::RestoredBackup& backup) {
    const ops::restore::RestoreRequest request =
        CHRONOS_TRY(restore_into(context, scratch, marker));
    backup.type = ops::restore::recovery_type_name(
        request.type.value_or(ops::restore::RecoveryType::default_));
    backup.target = request.target;
    ops::restore::RestorePlan plan = CHRONOS_TRY(ops::restore::plan_restore(request));
    describe_backup(plan, request, backup);
    CHRONOS_TRY(check_space(plan));
    const auto result = CHRONOS_TRY(
        ops::restore::run_restore(request, std::move(plan), context.cancel, context.progress));
    backup.size_bytes = result.size_bytes;
    backup.file_count = result.file_count;
    return {};
}

void judge_marker(const Marker& marker, DrillReport& report) {
    const bool reached = report.passed || report.failed_phase == "check";
    report.checks.insert(report.checks.begin(),
                         {"marker", "restore point " + marker.name, "reached",
                          reached ? "reached" : "not reached", reached, 0});
}

Result<> print_report(const config::Config& config, const DrillReport& report,
                      const nlohmann::json& record) {
    const std::string output = config.get_string("output");
    if (output == "json") return present::print_json(record);
    if (output == "markdown") return present::print_text(ops::drill::format_markdown(report));
    return present::print_text(ops::drill::format_text(report));
}

Result<int> list_drills(requests::Context& context) {
    const nlohmann::json history = CHRONOS_TRY(requests::drill_history(context));
    CHRONOS_TRY(context.config.get_string("output") == "json"
                    ? present::print_json(history)
                    : present::print_text(present::format_drill_history(history)));
    return 0;
}

/// For a job of the server: its record has an error only, so that names what went wrong.
void tell_server(const requests::Context& context, const DrillReport& report) {
    for (const auto& check : report.checks)
        context.finding({check.kind, check.passed ? "ok" : "failure",
                         printable(check.text, 512) + ": " + printable(check.actual, 512)});
    context.result("label", report.backup.label);
    context.result("size", std::to_string(report.backup.size_bytes));
    context.result("files", std::to_string(report.backup.file_count));
}

Error failure_of(const DrillReport& report) {
    Error error(static_cast<ErrorKind>(report.failure_code), "drill failed: " + report.failure);
    return report.failure_hint.empty() ? error : std::move(error).with_hint(report.failure_hint);
}

enum class Answers { shown, withheld };

Result<int> drill(requests::Context& context, Answers answers) {
    const config::Config& config = context.config;
    if (config.get_bool("list")) return list_drills(context);
    CHRONOS_TRY(check_type(config));
    const DrillRequest request = CHRONOS_TRY(drill_request(context));
    CHRONOS_TRY(ops::drill::check_place(request));
    std::optional<Marker> marker;
    if (config.get_bool("marker")) marker = CHRONOS_TRY(write_marker(context));
    step_back(config);
    DrillReport report = CHRONOS_TRY(ops::drill::run_drill(
        request,
        [&](const ops::drill::Scratch& scratch, ops::drill::RestoredBackup& backup) {
            return restore_backup(context, scratch, marker, backup);
        },
        context.progress, context.cancel));
    if (marker) judge_marker(*marker, report);
    const std::string reason = config.get_string("reason");
    const DrillReport told = ops::drill::without_answers(report);
    const nlohmann::json record = present::drill_json(told, reason);
    if (const auto saved = requests::save_drill_record(context, report, record); !saved)
        log_warn("the record of this drill is not stored: " + saved.error().text());
    tell_server(context, told);
    CHRONOS_TRY(answers == Answers::shown
                    ? print_report(config, report, present::drill_json(report, reason))
                    : print_report(config, told, record));
    if (!report.passed) return failure_of(report);
    return 0;
}

}  // namespace

Result<int> run_drill(requests::Context& context) {
    return drill(context, Answers::shown);
}

Result<int> run_drill_job(requests::Context& context) {
    return drill(context, Answers::withheld);
}

}  // namespace chronos::cli

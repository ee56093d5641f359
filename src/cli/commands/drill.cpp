#include <sys/syscall.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/flows/drill.h"
#include "chronos/ops/drill/drill.h"
#include "chronos/ops/drill/record.h"
#include "chronos/os/file.h"
#include "chronos/os/process.h"
#include "chronos/present/drill_output.h"
#include "chronos/present/print.h"
#include "chronos/requests/drill_records.h"
#include "chronos/requests/repositories.h"
#include "chronos/requests/server_commands.h"
#include "cli/commands/commands.h"
#include "cli/commands/scratch_server.h"

namespace chronos::cli {
namespace {

using ops::drill::Assertion;
using ops::drill::DrillReport;
using ops::drill::DrillRequest;

/// The live server has the right of way: less CPU than anybody, the last in the queue of the disk.
void step_back(const config::Config& config) {
    if (!config.has("priority")) os::let_others_go_first();
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

Result<DrillRequest> drill_request(const requests::Context& context) {
    const config::Config& config = context.config;
    DrillRequest request = scratch_server(context);
    request.to = config.get_string("to");
    request.keep = config.get_bool("keep");
    request.assertions = CHRONOS_TRY(read_assertions(config));
    request.commands = config.get_list("exec");
    request.amcheck = config.get_bool("amcheck");
    return request;
}

Result<> check_type(const requests::Context& context) {
    const config::Config& config = context.config;
    CHRONOS_TRY(check_scratch_type(context, "a drill"));
    if (config.get_bool("marker") && (config.has("type") || config.get_string("set") != "latest"))
        return Error(ErrorKind::option_invalid,
                     "option 'marker' not valid with options 'type' and 'set'")
            .with_hint("It recovers the latest backup to the mark.");
    if (config.get_bool("instant") && config.get_bool("keep"))
        return Error(ErrorKind::option_invalid, "option 'keep' not valid with option 'instant'")
            .with_hint("Nothing is restored that could be kept.");
    return {};
}

/// Its name, when its WAL is in the repository.
Result<std::string> write_marker(requests::Context& context) {
    const config::Config& config = context.config;
    const auto connection = CHRONOS_TRY(requests::connect_to_server(context));
    const auto repositories = CHRONOS_TRY(requests::open_repositories(config));
    const flows::Marker marker{.name = "chronos drill " + config.get_string("exec-id"),
                               .stanza = config.stanza(),
                               .repository = repositories.front(),
                               .archive_timeout = config.get_time("archive-timeout")};
    CHRONOS_TRY(flows::write_marker(*connection, marker, context.cancel));
    return marker.name;
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
    CHRONOS_TRY(check_type(context));
    // Before there is a second thread.
    const bool is_instant = config.get_bool("instant");
    if (is_instant) CHRONOS_TRY(keep_mounts_to_myself());
    flows::DrillRequest request{
        .drill = CHRONOS_TRY(drill_request(context)),
        .restore = [&](const std::string& pg_path, const std::string& spool_path) {
            return scratch_restore(context, pg_path, spool_path);
        }};
    if (is_instant) request.instant = scratch_mount(context);
    CHRONOS_TRY(ops::drill::check_place(request.drill));
    if (config.get_bool("marker")) request.marker = CHRONOS_TRY(write_marker(context));
    step_back(config);
    const DrillReport report =
        CHRONOS_TRY(flows::run_drill(request, context.progress, context.cancel));
    const std::string reason = config.get_string("reason");
    const DrillReport told = ops::drill::without_answers(report);
    const nlohmann::json record = ops::drill::record_of(told, reason);
    if (const auto saved = requests::save_drill_record(context, report, record); !saved)
        log_warn("the record of this drill is not stored: " + saved.error().text());
    tell_server(context, told);
    CHRONOS_TRY(answers == Answers::shown
                    ? print_report(config, report, ops::drill::record_of(report, reason))
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

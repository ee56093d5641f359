#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "cli/commands.h"
#include "cli/engine_roles.h"
#include "cli/verify_output.h"

namespace chronos::cli {
namespace {

using control::Message;
using ops::verify::VerifyFinding;
using ops::verify::VerifyResult;

Result<VerifyResult> verify(Context& context) {
    const config::Config& config = context.config;
    ops::verify::VerifyRequest request;
    request.stanza = config.stanza();
    request.repositories = CHRONOS_TRY(open_repositories(config));
    if (const std::string sets = config.get_string("set"); !sets.empty())
        for (const std::string_view set : split(sets, ',')) request.sets.emplace_back(trim(set));
    request.full = config.get_bool("full");
    request.process_max = static_cast<std::size_t>(config.get_int("process-max"));
    request.bytes_per_second_max = config.get_size("rate-limit");
    return ops::verify::run_verify(request, context.progress, context.cancel);
}

void send_finding(EngineChannel& channel, const VerifyFinding& finding) {
    channel.send(Message("finding")
                     .with("status", ops::verify::finding_status_name(finding.status))
                     .with("problem", ops::verify::problem_name(finding.problem))
                     .with("repo", std::uint64_t{finding.repo_key})
                     .with("where", finding.where)
                     .with("file", finding.file)
                     .with("message", finding.message)
                     .with("consequence", finding.consequence));
}

/// Whoever runs this as a job gets the findings one by one.
void report(Context& context, const VerifyResult& result) {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
    for (const VerifyFinding& finding : result.findings) {
        std::string place = "repo" + std::to_string(finding.repo_key);
        if (!finding.where.empty()) place += ": " + finding.where;
        if (!finding.file.empty()) place += ": " + printable(finding.file);
        context.finding({place, std::string(ops::verify::finding_status_name(finding.status)),
                         finding.message, finding.consequence});
    }
    for (const auto& repository : result.repositories) {
        for (const auto& backup : repository.backups) files += backup.files.total;
        bytes += repository.bytes_read;
    }
    context.result("files", std::to_string(files));
    context.result("size", std::to_string(bytes));
}

}  // namespace

Result<int> run_verify(Context& context) {
    const std::string output = context.config.get_string("output");
    if (output != "none" && output != "text" && output != "json")
        return Error(ErrorKind::option_invalid_value,
                     "'" + output + "' is not allowed for 'output' option of verify");
    const VerifyResult result = CHRONOS_TRY(verify(context));
    report(context, result);
    const std::string& stanza = context.config.stanza();
    const std::string text = verify_text(stanza, result, context.config.get_bool("verbose"));
    if (output == "json")
        CHRONOS_TRY(print(verify_json(stanza, result)));
    else if (output == "text")
        CHRONOS_TRY(print_text(text));
    // What pgBackRest writes to its log, where a job that is run by cron is looked for.
    else if (!text.empty())
        (result.failures() > 0 ? log_warn : log_info)(trim(text));
    CHRONOS_TRY(ops::verify::verify_outcome(result));
    return 0;
}

Result<> serve_verify(Context& context, EngineChannel& channel) {
    const VerifyResult result = CHRONOS_TRY(verify(context));
    std::uint64_t backups = 0;
    std::uint64_t files = 0;
    std::uint64_t wal = 0;
    std::uint64_t bytes = 0;
    std::uint64_t page_errors = 0;
    for (const auto& repository : result.repositories) {
        for (const auto& backup : repository.backups) {
            files += backup.files.total;
            page_errors += backup.page_errors ? 1 : 0;
        }
        for (const auto& archive : repository.archives) wal += archive.wal.total;
        backups += repository.backups.size();
        bytes += repository.bytes_read;
    }
    for (const VerifyFinding& finding : result.findings) send_finding(channel, finding);
    channel.send(Message("done")
                     .with("failures", result.failures())
                     .with("notes", result.findings.size() - result.failures())
                     .with("backups", backups)
                     .with("page_errors", page_errors)
                     .with("files", files)
                     .with("wal", wal)
                     .with("bytes_read", bytes));
    return {};
}

}  // namespace chronos::cli

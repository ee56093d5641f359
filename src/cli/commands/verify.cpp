#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/present/print.h"
#include "chronos/present/verify_output.h"
#include "chronos/requests/verify_request.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

using ops::verify::VerifyFinding;
using ops::verify::VerifyResult;

/// Whoever runs this as a job gets the findings one by one.
void report(requests::Context& context, const VerifyResult& result) {
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

Result<int> run_verify(requests::Context& context) {
    const std::string output = context.config.get_string("output");
    if (output != "none" && output != "text" && output != "json")
        return Error(ErrorKind::option_invalid_value,
                     "'" + output + "' is not allowed for 'output' option of verify");
    const auto request = CHRONOS_TRY(requests::verify_request(context.config));
    const VerifyResult result =
        CHRONOS_TRY(ops::verify::run_verify(request, context.progress, context.cancel));
    report(context, result);
    const std::string& stanza = context.config.stanza();
    const std::string text =
        present::verify_text(stanza, result, context.config.get_bool("verbose"));
    if (output == "json")
        CHRONOS_TRY(present::print(present::verify_json(stanza, result)));
    else if (output == "text")
        CHRONOS_TRY(present::print_text(text));
    // What pgBackRest writes to its log, where a job that is run by cron is looked for.
    else if (!text.empty())
        (result.failures() > 0 ? log_warn : log_info)(trim(text));
    CHRONOS_TRY(ops::verify::verify_outcome(result));
    return 0;
}

}  // namespace chronos::cli

#include "chronos/present/print.h"
#include "chronos/requests/server_commands.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

using ops::check::CheckFinding;
using ops::check::CheckStatus;

const char* status_label(CheckStatus status) {
    switch (status) {
        case CheckStatus::ok: return "ok";
        case CheckStatus::note: return "note";
        case CheckStatus::failure: break;
    }
    return "FAILED";
}

std::string line_of(const CheckFinding& finding) {
    std::string status = status_label(finding.status);
    status.resize(8, ' ');
    std::string line = status + finding.test + ": " + finding.message + "\n";
    if (!finding.hint.empty()) line += "        HINT: " + finding.hint + "\n";
    return line;
}

}  // namespace

Result<int> run_check(requests::Context& context) {
    const auto connection = CHRONOS_TRY(requests::connect_to_server(context));
    const auto findings = CHRONOS_TRY(requests::check_over(context, *connection));
    std::string text;
    for (const CheckFinding& finding : findings) text += line_of(finding);
    CHRONOS_TRY(present::print_text(text));
    CHRONOS_TRY(ops::check::check_outcome(findings));
    return 0;
}

}  // namespace chronos::cli

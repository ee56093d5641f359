#include <nlohmann/json.hpp>

#include "chronos/ops/windows/windows.h"
#include "chronos/present/print.h"
#include "chronos/present/wal_report.h"
#include "chronos/requests/repositories.h"
#include "cli/commands/commands.h"

namespace chronos::cli {

Result<> print_wal_report(requests::Context& context) {
    const config::Config& config = context.config;
    if (config.stanza().empty())
        return Error(ErrorKind::option_required,
                     config.command() + " command requires option: stanza");
    const ops::windows::Request request{
        .repositories = CHRONOS_TRY(requests::open_repositories(config)),
        .stanza = config.stanza()};
    const ops::windows::Report report = CHRONOS_TRY(ops::windows::look(request));
    if (config.get_string("output") == "json")
        return present::print_json(present::wal_report_json(report));
    return present::print_text(present::format_wal_report(report));
}

}  // namespace chronos::cli

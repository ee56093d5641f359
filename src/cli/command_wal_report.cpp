#include <nlohmann/json.hpp>

#include "chronos/ops/windows/windows.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/repositories.h"
#include "cli/wal_report.h"

namespace chronos::cli {

Result<> print_wal_report(Context& context) {
    const config::Config& config = context.config;
    if (config.stanza().empty())
        return Error(ErrorKind::option_required,
                     config.command() + " command requires option: stanza");
    const ops::windows::Request request{.repositories = CHRONOS_TRY(open_repositories(config)),
                                        .stanza = config.stanza()};
    const ops::windows::Report report = CHRONOS_TRY(ops::windows::look(request));
    if (config.get_string("output") == "json") return print_json(wal_report_json(report));
    return print_text(format_wal_report(report));
}

}  // namespace chronos::cli

#include "chronos/ops/info/info.h"
#include "chronos/present/info_output.h"
#include "chronos/present/print.h"
#include "chronos/requests/repositories.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

Result<ops::info::InfoRequest> make_request(const requests::Context& context) {
    const config::Config& config = context.config;
    ops::info::InfoRequest request;
    request.repositories = CHRONOS_TRY(requests::open_repositories(config));
    request.stanza = config.stanza();
    request.set = config.get_string("set");
    request.lock_path = config.get_string("lock-path");
    if (config.has("type")) request.type = repo::parse_backup_type(config.get_string("type"));
    if (config.get_string("detail-level") == "progress")
        request.detail = ops::info::InfoDetail::progress;
    return request;
}

}  // namespace

Result<int> run_info(requests::Context& context) {
    if (context.config.get_bool("wal")) {
        CHRONOS_TRY(print_wal_report(context));
        return 0;
    }
    const ops::info::InfoRequest request = CHRONOS_TRY(make_request(context));
    const ops::info::InfoReport report = CHRONOS_TRY(ops::info::collect_info(request));
    const bool json = context.config.get_string("output") == "json";
    CHRONOS_TRY(json ? present::print(present::format_info_json(report))
                     : present::print_text(present::format_info_text(report)));
    CHRONOS_TRY(ops::info::info_outcome(report));
    return 0;
}

}  // namespace chronos::cli

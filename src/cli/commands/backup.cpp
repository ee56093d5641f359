#include <memory>

#include "chronos/present/failures.h"
#include "chronos/requests/server_commands.h"
#include "cli/commands/commands.h"

namespace chronos::cli {

Result<int> run_backup(requests::Context& context) {
    std::unique_ptr<db::Connection> connection;  // none: the cluster is stopped
    if (context.config.get_bool("online"))
        connection = CHRONOS_TRY(requests::connect_to_server(context));
    const auto request = CHRONOS_TRY(requests::backup_request(context, connection.get()));
    const auto outcomes =
        CHRONOS_TRY(flows::run_backup(request, connection.get(), context.progress, context.cancel));
    Result<> expired;
    for (const flows::BackupOutcome& outcome : outcomes)
        if (Result<> one = present::report_expire(outcome); !one) expired = std::move(one);
    CHRONOS_TRY(present::report_backups(outcomes));
    CHRONOS_TRY(std::move(expired));
    return 0;
}

}  // namespace chronos::cli

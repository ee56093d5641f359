#include "cli/commands.h"
#include "cli/expire_options.h"
#include "cli/server_commands.h"

namespace chronos::cli {

Result<int> run_backup(Context& context) {
    const auto connection = CHRONOS_TRY(connect_to_server(context));
    const auto backups = CHRONOS_TRY(backup_over(context, *connection));
    Result<> expired;
    for (const RepositoryBackup& backup : backups) {
        if (!backup.result) continue;
        if (Result<> one = expire_after_backup(context, backup.key); !one) expired = std::move(one);
    }
    CHRONOS_TRY(report_backups(backups));
    CHRONOS_TRY(std::move(expired));
    return 0;
}

}  // namespace chronos::cli

#include "chronos/requests/expire_options.h"
#include "chronos/requests/server_commands.h"
#include "cli/commands/commands.h"

namespace chronos::cli {

Result<int> run_backup(requests::Context& context) {
    const auto connection = CHRONOS_TRY(requests::connect_to_server(context));
    const auto backups = CHRONOS_TRY(requests::backup_over(context, *connection));
    Result<> expired;
    for (const requests::RepositoryBackup& backup : backups) {
        if (!backup.result) continue;
        if (Result<> one = requests::expire_after_backup(context, backup.key); !one)
            expired = std::move(one);
    }
    CHRONOS_TRY(requests::report_backups(backups));
    CHRONOS_TRY(std::move(expired));
    return 0;
}

}  // namespace chronos::cli

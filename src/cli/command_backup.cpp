#include "cli/commands.h"
#include "cli/expire_options.h"
#include "cli/server_commands.h"

namespace chronos::cli {

Result<int> run_backup(Context& context) {
    const auto connection = CHRONOS_TRY(connect_to_server(context));
    CHRONOS_TRY(backup_over(context, *connection));
    CHRONOS_TRY(expire_after_backup(context));
    return 0;
}

}  // namespace chronos::cli

#include "chronos/requests/archive_settings.h"
#include "cli/commands/commands.h"

namespace chronos::cli {

Result<int> run_archive_push(requests::Context& context) {
    const std::vector<std::string>& parameters = context.config.parameters();
    if (parameters.size() != 1)
        return Error(ErrorKind::param_required, "WAL segment to push required");
    const std::string path = CHRONOS_TRY(requests::resolve_wal_path(context.config, parameters[0]));
    ops::archive::ArchivePusher pusher(
        CHRONOS_TRY(requests::archive_push_settings(context.config)));
    ops::archive::DroppedWal dropped(requests::archive_drop_settings(context.config));
    if (CHRONOS_TRY(dropped.queue_exceeded(path))) {
        CHRONOS_TRY(dropped.drop(requests::base_name(path), path));
        return 0;
    }
    CHRONOS_TRY(pusher.push(requests::base_name(path), path));
    dropped.report({&pusher});
    return 0;
}

}  // namespace chronos::cli

#include "chronos/base/log.h"
#include "cli/archive_settings.h"
#include "cli/commands.h"

namespace chronos::cli {

/// 0 or 1; what becomes of an error, archive_get_status() decides.
Result<int> run_archive_get(Context& context) {
    const std::vector<std::string>& parameters = context.config.parameters();
    if (parameters.empty()) return Error(ErrorKind::param_required, "WAL segment to get required");
    if (parameters.size() == 1)
        return Error(ErrorKind::param_required, "path to copy WAL segment required");
    if (parameters.size() > 2) return Error(ErrorKind::param_invalid, "extra parameters found");
    const std::string name = base_name(parameters[0]);
    const std::string destination = CHRONOS_TRY(resolve_wal_path(context.config, parameters[1]));
    const auto settings = CHRONOS_TRY(archive_get_settings(context.config));
    CHRONOS_TRY(ops::archive::check_backup_label(settings.pg_path));
    const auto outcome = CHRONOS_TRY(ops::archive::get_wal_patiently(
        settings, name, destination, context.config.get_time("archive-timeout"), context.cancel));
    if (outcome == ops::archive::GetOutcome::found) return 0;
    log_info("unable to find " + name + " in the archive");
    return 1;
}

}  // namespace chronos::cli

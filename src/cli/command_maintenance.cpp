#include <algorithm>

#include "chronos/ops/drill.h"
#include "chronos/ops/maintenance.h"
#include "cli/commands.h"

namespace chronos::cli {

Result<int> run_maintenance(Context& context) {
    const config::Config& config = context.config;
    ops::maintenance::MaintenanceRequest request;
    request.stanza = config.stanza();
    request.repositories = CHRONOS_TRY(open_repositories(config));
    request.upload_age =
        std::chrono::duration_cast<std::chrono::seconds>(config.get_time("upload-age"));
    request.dry_run = config.get_bool("dry-run");
    std::string text;
    for (const auto& upload :
         CHRONOS_TRY(ops::maintenance::run_maintenance(request, context.cancel)))
        text += "repo" + std::to_string(upload.repo_key) + "  " +
                (request.dry_run ? "would abort upload " : "aborted upload ") + upload.object +
                " of " + format_local_time(upload.since) + "\n";
    for (const std::string& path :
         CHRONOS_TRY(ops::drill::sweep(config.get_string("drill-path"), request.dry_run)))
        text += std::string(request.dry_run ? "would remove" : "removed") +
                " what a drill left in " + path + "\n";
    CHRONOS_TRY(print(text.empty() ? "nothing to do\n" : text));
    return 0;
}

}  // namespace chronos::cli

#include <nlohmann/json.hpp>

#include "chronos/ops/drill/drill.h"
#include "chronos/ops/maintenance/maintenance.h"
#include "chronos/present/print.h"
#include "chronos/requests/repositories.h"
#include "cli/commands/commands.h"

namespace chronos::cli {

namespace {

struct Done {
    std::vector<ops::maintenance::StaleUpload> uploads;
    std::vector<std::string> drills;  ///< directories
};

std::string as_text(const Done& done, bool dry_run) {
    std::string text;
    for (const auto& upload : done.uploads)
        text += "repo" + std::to_string(upload.repo_key) + "  " +
                (dry_run ? "would abort upload " : "aborted upload ") + upload.object + " of " +
                format_local_time(upload.since) + "\n";
    for (const std::string& path : done.drills)
        text += std::string(dry_run ? "would remove" : "removed") + " what a drill left in " +
                path + "\n";
    return text.empty() ? "nothing to do\n" : text;
}

nlohmann::json as_json(const Done& done, bool dry_run) {
    nlohmann::json rows = nlohmann::json::array();
    for (const auto& upload : done.uploads)
        rows.push_back({{"repo", upload.repo_key},
                        {"kind", "upload"},
                        {"object", upload.object},
                        {"since", upload.since},
                        {"action", dry_run ? "none" : "abort"}});
    for (const std::string& path : done.drills)
        rows.push_back(
            {{"kind", "drill"}, {"object", path}, {"action", dry_run ? "none" : "remove"}});
    return rows;
}

}  // namespace

Result<int> run_maintenance(requests::Context& context) {
    const config::Config& config = context.config;
    ops::maintenance::MaintenanceRequest request;
    request.stanza = config.stanza();
    request.repositories = CHRONOS_TRY(requests::open_repositories(config));
    request.upload_age =
        std::chrono::duration_cast<std::chrono::seconds>(config.get_time("upload-age"));
    request.dry_run = config.get_bool("dry-run");
    auto found = CHRONOS_TRY(ops::maintenance::run_maintenance(request, context.cancel));
    auto swept = CHRONOS_TRY(ops::drill::sweep(config.get_string("drill-path"), request.dry_run));
    const Done done{std::move(found), std::move(swept)};
    if (config.get_string("output") == "json")
        CHRONOS_TRY(present::print_json(as_json(done, request.dry_run)));
    else
        CHRONOS_TRY(present::print_text(as_text(done, request.dry_run)));
    return 0;
}

}  // namespace chronos::cli

#include "ops/restore/page_errors.h"

#include "chronos/pgdata/cluster_files.h"
#include "ops/restore/destination.h"
#include "ops/restore/mapping.h"
#include "ops/restore/selective.h"

namespace chronos::ops::restore {
namespace {

/// Paths at the destination. Files of databases that are left out are made of zeros.
Result<std::vector<std::string>> damaged_files(const RestoreRequest& request,
                                               const RestorePlan& plan) {
    const auto zeroed = CHRONOS_TRY(databases_to_zero(request, plan.manifest));
    std::vector<std::string> damaged;
    for (const repo::ManifestFile& file : plan.manifest.files)
        // Of a stray file among relations other tools say so, too: it never had pages.
        if (file.page_error && pgdata::has_page_checksums(file.name) &&
            !is_never_restored(plan, file.name) && !is_zeroed(zeroed, file.name))
            damaged.push_back(path_of(plan.manifest, file.name));
    return damaged;
}

}  // namespace

Result<> judge_page_errors(const RestoreRequest& request, RestorePlan& plan) {
    const auto damaged = CHRONOS_TRY(damaged_files(request, plan));
    if (damaged.empty()) return {};
    if (!request.page_errors_stop) {
        for (const std::string& path : damaged)
            plan.warnings.push_back("invalid page checksum(s) found in file " + path);
        return {};
    }
    std::string text = "invalid page checksum(s) found in file " + damaged.front();
    if (damaged.size() > 1) text += " and " + std::to_string(damaged.size() - 1) + " more";
    plan.problems.push_back(
        {Error(ErrorKind::checksum, text)
             .with_hint("the pages were damaged when the backup was made: 'info --set=" +
                        plan.manifest.label + "' names all. An older backup may have them whole.")
             .with_hint("use --no-checksum-page-error to restore them as they were.")});
    return {};
}

}  // namespace chronos::ops::restore

#include "chronos/flows/instant.h"

#include <utility>

#include "chronos/base/log.h"
#include "chronos/base/text.h"

namespace chronos::flows {
namespace {

class Left final : public ops::restore::LeftInBackup {
public:
    explicit Left(const ops::mount::InstantLayout& layout) : layout_(layout) {}

    bool leaves(const repo::ManifestFile& file) const override { return layout_.leaves(file); }
    Result<> made(const repo::ManifestFile& file, const std::string& path, bool sync) override {
        return layout_.mark(file, path, sync);
    }
    Result<> all_made(const std::string& pg_path, bool without_prefetch) override {
        return layout_.note(pg_path,
                            without_prefetch ? std::string(ops::restore::kNoPrefetch) : "");
    }
    std::string control_name() const override { return ops::mount::InstantLayout::control_name(); }

private:
    const ops::mount::InstantLayout& layout_;
};

ops::mount::InstantOrigin origin_of(const ops::restore::RestoreRequest& request,
                                    const ops::restore::RestorePlan& plan) {
    return {plan.repo_key, request.stanza, plan.manifest.label};
}

}  // namespace

Result<ops::restore::RestorePlan> plan_instant_restore(
    const ops::restore::RestoreRequest& request) {
    ops::restore::RestorePlan plan = CHRONOS_TRY(ops::restore::plan_restore(request));
    const ops::mount::InstantLayout layout(origin_of(request, plan), plan.manifest);
    ops::restore::LeftPlan left;
    for (const repo::ManifestFile& file : plan.manifest.files) {
        if (!layout.leaves(file)) continue;
        ++left.left.file_count;
        left.left.size_bytes += file.size;
        left.left.stored_bytes += file.repo_size;
        left.random_access.add(file);
    }
    left.at_once = {plan.file_count - left.left.file_count, plan.size_bytes - left.left.size_bytes,
                    plan.stored_size_bytes - left.left.stored_bytes};
    // Of a small cluster all is restored at once, and nothing need be served.
    if (left.left.file_count > 0) {
        left.without_prefetch = ops::restore::is_without_prefetch_for_now(request, plan);
        if (auto usable = ops::mount::check_instant(request.pg_path); !usable)
            plan.problems.push_back({std::move(usable).error()});
        if (auto possible = layout.check(); !possible)
            plan.problems.push_back({std::move(possible).error()});
        plan.notes.insert(plan.notes.end(), layout.notes().begin(), layout.notes().end());
    }
    plan.left = std::move(left);
    return plan;
}

Result<ops::restore::RestoreResult> run_instant_restore(ops::restore::RestoreRequest request,
                                                        ops::restore::RestorePlan plan,
                                                        const Cancellation& cancel,
                                                        const ProgressReceiver& progress) {
    // The plan's own goes with the restore.
    const repo::Manifest manifest = plan.manifest;
    const ops::mount::InstantLayout layout(origin_of(request, plan), manifest);
    Left left(layout);
    request.left_in_backup = &left;
    auto done = CHRONOS_TRY(ops::restore::run_restore(request, std::move(plan), cancel, progress));
    log_info(format_size(layout.left_bytes()) + " are left in the backup for now");
    return done;
}

}  // namespace chronos::flows

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
    Result<> all_made(const std::string& pg_path) override { return layout_.note(pg_path); }
    std::string control_name() const override { return ops::mount::InstantLayout::control_name(); }

private:
    const ops::mount::InstantLayout& layout_;
};

}  // namespace

Result<ops::restore::RestoreResult> run_instant_restore(ops::restore::RestoreRequest request,
                                                        ops::restore::RestorePlan plan,
                                                        const Cancellation& cancel,
                                                        const ProgressReceiver& progress) {
    // The plan's own goes with the restore.
    const repo::Manifest manifest = plan.manifest;
    const ops::mount::InstantLayout layout({plan.repo_key, request.stanza, manifest.label},
                                           manifest);
    Left left(layout);
    request.left_in_backup = &left;
    auto done = CHRONOS_TRY(ops::restore::run_restore(request, std::move(plan), cancel, progress));
    log_info(format_size(layout.left_bytes()) + " are left in the backup for now");
    return done;
}

}  // namespace chronos::flows

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/ops/drill/drill.h"
#include "chronos/ops/mount/scratch_mount.h"
#include "chronos/ops/restore/restore.h"

namespace chronos::flows {

/// What the plan says of the backup that a server gets, but for its size.
void describe(const ops::restore::RestorePlan& plan, const ops::restore::RestoreRequest& request,
              ops::drill::RestoredBackup& backup);

/// What recovery does when it has come to its target: sessions read where it stands, or it ends.
enum class AtTarget { stand_still, open };

struct ShowRequest {
    std::function<Result<ops::restore::RestoreRequest>(const std::string& pg_path,
                                                       const std::string& spool_path)>
        restore;
    ops::mount::ScratchMountRequest mount;
    AtTarget at_target = AtTarget::stand_still;
    std::optional<std::string> marker = std::nullopt;  ///< the target, in place of the request's
};

/// A backup for a server that runs on it without a restore: an ops::mount::ScratchMount, with what
/// recovery is to be told. One server; outlives it.
class Showing {
public:
    Showing(ShowRequest request, const Cancellation& cancel);
    ~Showing();
    Showing(const Showing&) = delete;
    Showing& operator=(const Showing&) = delete;

    /// The request of a server that ends when what it has written cannot be kept.
    ops::drill::DrillRequest asked_of(ops::drill::DrillRequest server) const;
    ops::drill::Show show();
    /// Once the server has ended.
    const ops::mount::ScratchMount::Figures& figures() const;
    /// Whether it has failed because this machine lets this user mount nothing.
    bool may_not_mount() const;
    /// What could not be read, of which the server knows only that it could not; "" if all could.
    std::string hint() const;

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace chronos::flows

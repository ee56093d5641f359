#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/db/connection.h"
#include "chronos/db/replication.h"
#include "chronos/ops/restore/restore.h"

namespace chronos::flows {

/// Opens a session with a server as its standby will.
using ConnectAsStandby = std::function<Result<std::unique_ptr<db::Connection>>()>;

/// By that connection string, which check_conninfo() has approved. `cancel` must outlive it.
Result<ConnectAsStandby> connect_as_standby(const std::string& conninfo,
                                            const Cancellation& cancel);

struct ReplicaRequest {
    /// Type, primary_conninfo and primary_slot_name are the flow's.
    ops::restore::RestoreRequest restore;
    std::string conninfo;
    std::string slot;  ///< "" for none, whatever the backup says of one
    bool create_slot = false;
    ConnectAsStandby connect;  ///< to the primary
};

struct ReplicaPlan {
    ops::restore::RestoreRequest request;  ///< what the restore is
    ops::restore::RestorePlan restore;
    db::SenderFacts primary;
    std::string place;         ///< of the primary, for people
    std::string slot;          ///< "" for none
    bool slot_is_new = false;  ///< it is going to be made
};

/// The connection string of a standby. Kind option_invalid_value for one that is none, or has a
/// password in it: that would stand in the settings of every standby, and in argv before.
Result<> check_conninfo(const std::string& conninfo);

/// The restore of a standby for that primary, which is asked whether it would let the standby in
/// and is where the archive leads to. Nothing is changed. Kinds: db_connect; db_mismatch for a
/// server that the standby could not follow; option_invalid for what it does not have.
Result<ReplicaPlan> plan_replica(const ReplicaRequest& request);

/// Makes the slot, if the plan says so, and restores. The slot is dropped again if that fails.
Result<ops::restore::RestoreResult> run_replica(const ReplicaRequest& request, ReplicaPlan plan,
                                                const Cancellation& cancel,
                                                const ProgressReceiver& progress);

}  // namespace chronos::flows

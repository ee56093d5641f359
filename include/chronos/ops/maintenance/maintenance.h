#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/given.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::maintenance {

struct MaintenanceRequest {
    std::string stanza;  ///< "" for all
    std::vector<repo::Repository> repositories;
    /// Uploads begun longer ago than this have no process that would end them.
    Given<std::chrono::seconds> upload_age;
    bool dry_run = false;
};

/// An upload in parts that was begun and never ended.
struct StaleUpload {
    unsigned repo_key = 1;
    std::string object;  ///< below the repository's root
    UnixTime since = 0;
};

/// Aborts what crashed processes left in buckets, where it costs money and shows in no listing;
/// returns what was, or with dry_run would be, aborted, oldest first. Directories have nothing of
/// that kind. Takes no lock: it touches nothing that a running process could still want.
Result<std::vector<StaleUpload>> run_maintenance(const MaintenanceRequest& request,
                                                 const Cancellation& cancel);

}  // namespace chronos::ops::maintenance

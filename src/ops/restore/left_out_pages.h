#pragma once

#include <cstdint>
#include <set>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/ops/restore/restore.h"

namespace chronos::ops::restore {

/// Files of databases that are left out have no pages, and the WAL may change some of which it has
/// no image: VACUUM does so where there are no checksums, and everything where full_page_writes was
/// off. Recovery would end with "WAL contains references to invalid pages". So those pages are
/// made, empty and of a position that keeps records off them; no setting of the server hides what
/// is wrong with pages that were restored. Reads the WAL up to the target; where it cannot a
/// warning says so. With `sync_files` what it writes is durable.
Result<> make_pages_left_out(const RestoreRequest& request, const RestorePlan& plan,
                             const std::set<std::uint32_t>& zeroed_databases, bool sync_files,
                             const Cancellation& cancel, const ProgressReceiver& progress);

}  // namespace chronos::ops::restore

#pragma once

#include <cstdint>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/lsn.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/flows/look.h"
#include "chronos/ops/table/table.h"

namespace chronos::flows {

/// When tables were dropped, if they were.
struct Drop {
    std::string set;  ///< the label of a backup before it
    /// Of the record that a recovery has to end in front of, so that all of the tables are there:
    /// the target of --type=lsn with --target-exclusive.
    Lsn lsn;
    std::int64_t time_us = 0;     ///< of that transaction, since 1970 UTC
    std::uint32_t xid = 0;        ///< the lower half
    ops::table::TableName table;  ///< the one that was dropped first
};

/// Looks for the last moment at which the tables were there, those that still are at home aside.
/// The WAL knows tables by number only, so that the backups are asked, the newest first, by a
/// server that ends its recovery as soon as it is consistent; then the WAL behind the one that had
/// them is read. Of tables that no backup has had the commits that dropped something are tried, the
/// latest first.
///
/// `look` is asked with its own target set aside. Kinds: not_found (never there, or never dropped),
/// those of run_in_past() and of reading WAL.
Result<Drop> find_drop(const LookRequest& look, const ops::table::TableRequest& request,
                       unsigned process_max, const ProgressReceiver& progress,
                       const Cancellation& cancel);

/// What an opened server is for ops::table.
ops::table::Past past_of(const ops::drill::Look& look);

}  // namespace chronos::flows

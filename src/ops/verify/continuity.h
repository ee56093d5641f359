#pragma once

#include <set>
#include <string>
#include <vector>

#include "ops/verify/wal.h"

namespace chronos::ops::verify {

/// Whether the WAL is there that each backup needs between its start and its stop and, with
/// `windows`, all that leads on from a backup to the end of the archive on every timeline that
/// recovery can take from it. Only names are looked at; what reading has found is taken from
/// `archive`.
///
/// A hole that begins behind one backup and ends before the next is what archive retention leaves,
/// unless older WAL is there that no backup needs: a note. Any other one is WAL that was lost. A
/// hole is looked at again before it is reported, because segments are archived several at a time
/// and not in order.
///
/// Returns the backups that cannot become consistent.
Result<std::set<std::string>> check_continuity(const Scope& scope, const WalArchive& archive,
                                               const std::vector<WalNeed>& needs, bool windows);

}  // namespace chronos::ops::verify

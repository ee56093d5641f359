#pragma once

#include "chronos/ops/health/health.h"
#include "ops/health/wal_runs.h"

namespace chronos::ops::health {

/// What the history files of `archive` say; nothing where they cannot be read. `pass` is
/// ArchiveInfo::cipher_pass, here and below.
repo::Timelines timelines_of(const repo::Repository& repository, const std::string& stanza,
                             const ArchiveFacts& archive, const std::string& pass);

/// Timelines on whose way history files are missing that backups of older timelines need: none are
/// missed where nothing leads to them in any case.
std::vector<LostTimeline> find_lost_timelines(const WalRuns& runs, const repo::Timelines& timelines,
                                              const std::vector<repo::BackupEntry>& backups,
                                              std::uint64_t history_id);

/// Where neither backups nor directories have told the size of a segment to `runs`, one is asked.
/// Fills divergences and kept_aside of `archive`. What cannot be read is not known: the rule about
/// the repository says so already.
void look_at_timelines(const repo::Repository& repository, const std::string& stanza,
                       const std::string& pass, WalRuns& runs, const repo::Timelines& timelines,
                       const std::vector<repo::BackupEntry>& backups, ArchiveFacts& archive);

}  // namespace chronos::ops::health

#pragma once

#include <map>
#include <optional>
#include <string>

#include "chronos/ops/restore/restore.h"
#include "ops/restore/target.h"
#include "ops/restore/timeline.h"

namespace chronos::ops::restore {

struct SelectedBackup {
    std::size_t repository_index = 0;
    repo::BackupInfo info;
    repo::BackupEntry entry;
    std::string reason;   ///< why this one, as the end of a sentence
    TimelineGuide guide;  ///< of its cluster
    std::vector<std::string> warnings;
};

/// By docs/format/restore.md, Selecting the backup. `target` is the parsed time target, if the type
/// is time and it could be parsed. A newer backup that does not lead to the timeline that is
/// restored is passed over. Kind backup_set_invalid when there is no such backup: the error says
/// what can be recovered; kind db_mismatch when no timeline can be chosen, or no backup leads to
/// it.
Result<SelectedBackup> select_backup(const RestoreRequest& request, RecoveryType type,
                                     const std::optional<TimeTarget>& target);

}  // namespace chronos::ops::restore

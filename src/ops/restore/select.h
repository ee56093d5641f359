#pragma once

#include <map>
#include <optional>
#include <string>

#include "chronos/ops/restore.h"
#include "target.h"

namespace chronos::ops {

struct SelectedBackup {
    std::size_t repository_index = 0;
    repo::BackupInfo info;
    repo::BackupEntry entry;
    std::string reason;  ///< why this one, as the end of a sentence
};

/// By section 9.2. `target` is the parsed time target, if the type is time and it could be parsed.
/// Kind backup_set_invalid when there is no such backup: the error says what can be recovered.
Result<SelectedBackup> select_backup(const RestoreRequest& request, RecoveryType type,
                                     const std::optional<TimeTarget>& target);

}  // namespace chronos::ops

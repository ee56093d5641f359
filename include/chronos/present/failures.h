#pragma once

#include <string>
#include <utility>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/flows/backup.h"

namespace chronos::present {

/// What went wrong in some of several repositories, by their keys: logs each failure; kind
/// `command` if there is one.
Result<> report_failures(const std::string& command,
                         const std::vector<std::pair<unsigned, Error>>& failures);

/// Of backups: the only failure as it is; of several repositories each is logged, and the error
/// says how many there are. Of kind `command`.
Result<> report_backups(const std::vector<flows::BackupOutcome>& outcomes);
/// Of what expired after a backup.
Result<> report_expire(const flows::BackupOutcome& outcome);

}  // namespace chronos::present

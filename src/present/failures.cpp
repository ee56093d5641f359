#include "chronos/present/failures.h"

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/present/log_output.h"

namespace chronos::present {

Result<> report_failures(const std::string& command,
                         const std::vector<std::pair<unsigned, Error>>& failures) {
    std::string causes;
    for (const auto& [key, failure] : failures) {
        const std::string repository = "repo" + std::to_string(key);
        log(LogLevel::error, error_text(Error(failure).while_doing(repository)));
        const std::string& message = failure.message();
        causes += (causes.empty() ? ": " : "; ") + repository + ": " +
                  message.substr(0, message.find('\n'));
    }
    if (failures.empty()) return {};
    // A wrong passphrase is no failure of one command or another: it has one code everywhere.
    const bool closed = std::ranges::all_of(
        failures, [](const auto& item) { return item.second.kind() == ErrorKind::crypto; });
    // A job has no log file to be looked at, but this text.
    Error error(closed ? ErrorKind::crypto : ErrorKind::command,
                command + " command encountered " + std::to_string(failures.size()) +
                    " error(s), check the log file for details" + causes);
    for (const auto& [key, failure] : failures)
        if (!failure.hint().empty()) error = std::move(error).with_hint(failure.hint());
    return error;
}

Result<> report_backups(const std::vector<flows::BackupOutcome>& outcomes) {
    std::vector<std::pair<unsigned, Error>> failures;
    for (const flows::BackupOutcome& outcome : outcomes)
        if (!outcome.result) failures.emplace_back(outcome.key, outcome.result.error());
    if (outcomes.size() == 1 && !failures.empty()) return failures.front().second;
    return report_failures("backup", failures);
}

Result<> report_expire(const flows::BackupOutcome& outcome) {
    return report_failures("expire", CHRONOS_TRY(outcome.expire_failures));
}

}  // namespace chronos::present

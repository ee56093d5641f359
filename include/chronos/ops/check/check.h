#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/given.h"
#include "chronos/base/progress.h"
#include "chronos/db/connection.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::check {

struct CheckRequest {
    std::string stanza;
    std::vector<repo::Repository> repositories;
    std::string pgdata;  ///< the configured data directory; "" takes the server's word
    std::string role;    ///< that the command connects as; "": that of the session
    bool archive_check = true;
    bool archive_mode_check = true;
    Given<std::chrono::milliseconds> archive_timeout;
};

enum class CheckStatus {
    ok,
    note,  ///< works, but may surprise
    failure,
};

/// The outcome of one test.
struct CheckFinding {
    std::string test;  ///< short stable name: "archive_mode", "repo1 info", ...
    CheckStatus status = CheckStatus::ok;
    std::string message;
    std::string hint;               ///< "" or what to do
    std::optional<ErrorKind> kind;  ///< of a failure

    bool ok() const { return status != CheckStatus::failure; }
};

/// Looks at a server and its repositories and lets one WAL segment travel from one to the other.
/// Every test is a finding, in the order made; a test that rests on a failed one is left out. An
/// error only where nothing can be said (no session, cancelled). Takes no lock.
/// Source: docs/format/commands.md, check.
Result<std::vector<CheckFinding>> run_check(const CheckRequest& request, db::Connection& connection,
                                            const ProgressReceiver& progress,
                                            const Cancellation& cancel);

/// The first failure as an error, for exit codes; success if there is none.
Result<> check_outcome(const std::vector<CheckFinding>& findings);

}  // namespace chronos::ops::check

#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/config/config.h"

namespace chronos::requests {

/// Something that a command has found out about what it looks at.
struct Finding {
    std::string test;    ///< what was looked at: a backup label, a file, the name of a test
    std::string status;  ///< "ok", "note" or "failure"
    std::string message;
    std::string hint = "";
};

/// What a command gets. It outlives the command.
struct Context {
    const config::Config& config;
    Cancellation& cancel;       ///< requested by SIGINT, SIGTERM and SIGHUP
    ProgressReceiver progress;  ///< never empty; shows nothing where nobody wants it
    std::string program;        ///< absolute path of the running executable
    std::string invoked_as;     ///< last part of argv[0]: "pgbackrest" when it stands in for that
    /// For whoever runs it as a job of the server; never empty, nobody listens elsewhere. The
    /// command prints what people should read all the same. From any thread.
    std::function<void(const Finding& finding)> finding = [](const Finding&) {};
    /// A figure of the outcome: "label", "size", "files", ... (docs/protocol.md). Values are text.
    /// From the thread of the command.
    std::function<void(std::string_view key, std::string_view value)> result =
        [](std::string_view, std::string_view) {};
};

/// Returns the exit status. An error is printed by dispatch, which exits with the code of its kind.
using Command = Result<int> (*)(Context&);
/// The command, its exceptions turned into errors.
Result<int> run_guarded(Command command, Context& context);
/// The error for one that is not there.
Error not_in_this_version(const std::string& command);

/// "<process id>-<8 hexadecimal digits>", unique enough to tell runs apart in logs and lock files.
std::string make_exec_id();

}  // namespace chronos::requests

#pragma once

#include <string>

#include "chronos/base/cancel.h"
#include "chronos/config/config.h"

namespace chronos::requests {

/// Makes the process independent of what its parent did to signals: a server, a shell's `nohup` or
/// a container's init may hand down ignored or blocked ones. SIGINT, SIGTERM and SIGHUP request
/// `cancel`, which must live as long as the process; the second such signal ends the process at
/// once. SIGPIPE is ignored.
void set_up_signals(Cancellation& cancel);
/// What such a signal requests, for waits deep below; nullptr before set_up_signals().
const Cancellation* process_cancellation();
/// The name of the signal that requested the cancellation, "" if none did.
std::string received_signal();

/// A command started as root goes on as the owner of the data directory, or else of the first
/// repository directory: a file of root's in either of them would stop the next run. Stays root
/// with `allow-root`, and where that owner is root or neither directory exists.
Result<> leave_root(const config::Config& config);

/// umask and priority.
Result<> apply_process_options(const config::Config& config);

/// Absolute path of the running executable.
std::string program_path();

/// Who started the process: "alice@db1", or "root@db1 (sudo by alice)" as sudo says. To be asked
/// before leave_root().
std::string started_by();

}  // namespace chronos::requests

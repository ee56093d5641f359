#pragma once

#include <span>

namespace chronos::cli {

/// The exit status for PostgreSQL: `status` unless the command line is that of archive-get.
///
/// PostgreSQL takes every status from 1 to 125 of its restore_command for "no such file", ends
/// recovery and promotes. So 1 stays for what the archive positively does not have, a termination
/// is reported as by SIGTERM (143: a shutdown, not a failure), and anything else becomes 200, which
/// stops recovery. Only wrong usage keeps its documented code, and that only outside of a data
/// directory, where recovery cannot be the caller.
int archive_get_status(std::span<char* const> arguments, int status);

}  // namespace chronos::cli

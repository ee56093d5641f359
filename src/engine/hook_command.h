#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "chronos/base/cancel.h"
#include "chronos/base/result.h"

namespace chronos::engine {

struct HookCommand {
    std::string text;                                ///< for /bin/sh -c
    std::map<std::string, std::string> environment;  ///< on top of that of this process
    std::chrono::milliseconds timeout;
    /// A line of what it prints on standard output or standard error, without its line feed.
    std::function<void(std::string_view line)> output;
};

/// Runs it to its end and returns its exit status; its standard input is empty. It and what it
/// started are killed when the time is over (kind command_invalid, as for one that a signal ended)
/// or when that is requested (kind cancelled). What it leaves running in the background is not
/// waited for.
Result<int> run_hook_command(const HookCommand& command, const Cancellation& cancel);

/// Puts values in place of "%x"; "%%" is "%", and what is no key stays as it is.
std::string expand_escapes(std::string_view text, const std::map<char, std::string>& values);

}  // namespace chronos::engine

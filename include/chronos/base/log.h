#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace chronos {

/// In the order of pgBackRest's log-level options: a level includes all before it.
enum class LogLevel { off, error, warn, info, detail, debug, trace };

std::string_view log_level_name(LogLevel level) noexcept;

/// Receives every line of the engine; what to print, and where, is the receiver's decision.
/// Called from any thread, one call at a time. `text` may hold line feeds (hints).
using LogReceiver = std::function<void(LogLevel level, std::string_view text)>;

/// Installs the receiver of the process and returns the former one. The default drops everything.
LogReceiver set_log_receiver(LogReceiver receiver);

void log(LogLevel level, std::string_view text);
inline void log_warn(std::string_view text) {
    log(LogLevel::warn, text);
}
inline void log_info(std::string_view text) {
    log(LogLevel::info, text);
}
inline void log_detail(std::string_view text) {
    log(LogLevel::detail, text);
}

}  // namespace chronos

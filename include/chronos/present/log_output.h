#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/error.h"
#include "chronos/base/log.h"

namespace chronos::present {

/// One log line as pgBackRest prints it, with a line feed; further lines of the text are indented
/// to its first column. Source: docs/format/configuration.md, Log lines.
struct LogLine {
    std::string time;     ///< "2026-11-20 08:20:59.123", or "" to leave it out
    bool process = true;  ///< "P00" and the level in a column of its own
    LogLevel level = LogLevel::info;
    std::string_view text;

    std::string format() const;
};

/// Which run of which command a line comes from.
struct LogOrigin {
    std::string command;
    std::string stanza;  ///< "" if there is none
    long process_id = 0;
};

/// Of the value of an option log-level-*.
LogLevel log_level_of(const std::string& name);

/// One log line as a JSON object, with a line feed: timestamp (RFC 3339, local time with its zone),
/// level, process, command, stanza, message, and where the text has them code, hint and detail
/// (further lines). What is not UTF-8 becomes U+FFFD.
std::string json_log_line(LogLevel level, std::string_view text, const LogOrigin& origin);

/// "[055]: <message>" with hints.
std::string error_text(const Error& error);

/// Now, local time with milliseconds.
std::string log_time();

/// Where lines go, and what they look like there.
struct LogSettings {
    LogLevel console = LogLevel::off;
    LogLevel standard_error = LogLevel::off;  ///< what goes there does not go to the console
    LogLevel file = LogLevel::off;
    bool result_on_output = false;  ///< for a program: the console is standard error
    bool timestamp = false;         ///< on the console
    bool dry_run = false;           ///< lines say so
    bool json = false;  ///< in the file and on standard error; the console is for people, unless a
                        ///< program reads it
    std::string path;   ///< of the file; "": none is written
    bool path_was_given = false;
    LogOrigin origin;
};

/// Sends the log of the process to console, standard error and file, from construction to
/// destruction. Lines are written as they come, whole.
class LogOutput {
public:
    /// `before_line` is called before anything is written to console or standard error: the place
    /// to take a progress bar off the terminal.
    LogOutput(LogSettings settings, std::function<void()> before_line);
    ~LogOutput();
    LogOutput(const LogOutput&) = delete;
    LogOutput& operator=(const LogOutput&) = delete;

    /// What was found while the options were read. It goes to standard error whatever the levels
    /// say: they stand in what the warnings are about. And into the file, once that is open.
    void show_early(const std::vector<std::string>& warnings);

    /// Opens the log file if one is to be written. A directory that is missing or closed to us is
    /// worth a warning only if somebody has given it.
    void open_file();

private:
    void receive(LogLevel level, std::string_view text);
    std::string form(const LogLine& line) const;
    void write_file(LogLevel level, std::string_view text, const std::string& time);
    void write_console(LogLevel level, const std::string& text, const std::string& time);

    const LogSettings settings_;
    std::function<void()> before_line_;
    LogReceiver former_;
    int console_;    ///< file descriptor
    int file_ = -1;  ///< file descriptor
    std::vector<std::string> early_;
};

}  // namespace chronos::present

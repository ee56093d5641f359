#pragma once

#include <string>
#include <string_view>

namespace chronos {

/// What went wrong, as code branches on it and as the process reports it: the value is the exit
/// code that pgBackRest documents for the same failure, so scripts written for one work with both.
/// Source: docs/format/configuration.md, Exit codes.
enum class ErrorKind : int {
    internal = 25,  ///< a broken invariant of ours
    checksum = 26,  ///< content does not match its recorded checksum
    config = 27,
    file_invalid = 28,  ///< info files disagree with each other or with the cluster
    format = 29,        ///< malformed content
    command_required = 30,
    option_invalid = 31,
    option_invalid_value = 32,
    option_required = 37,
    pg_running = 38,
    protocol = 39,
    path_not_empty = 40,
    file_open = 41,
    file_read = 42,
    param_required = 43,
    archive_mismatch = 44,  ///< WAL of another cluster
    archive_duplicate = 45,
    version_not_supported = 46,
    path_create = 47,
    command_invalid = 48,
    host_connect = 49,
    lock_acquire = 50,
    backup_mismatch = 51,
    file_sync = 52,
    path_open = 53,
    path_sync = 54,
    not_found = 55,  ///< there is no such object; callers often treat it as an answer
    db_connect = 56,
    db_query = 57,
    db_mismatch = 58,
    file_remove = 60,
    path_remove = 61,
    stop = 62,       ///< a stop file forbids the command
    cancelled = 63,  ///< terminated by a signal or by request
    file_write = 64,
    feature_not_supported = 67,
    archive_command_invalid = 68,
    link_expected = 69,
    link_destination = 70,
    path_missing = 73,
    file_move = 74,
    backup_set_invalid = 75,
    tablespace_map = 76,
    link_map = 78,
    file_close = 79,
    db_missing = 80,
    db_invalid = 81,
    archive_timeout = 82,
    file_mode = 83,
    archive_disabled = 87,
    file_owner = 88,
    user_missing = 89,
    file_exists = 93,
    memory = 94,
    crypto = 95,
    param_invalid = 96,
    file_info = 98,
    json_format = 99,
    kernel = 100,   ///< a system call failed in a way that has no kind of its own
    service = 101,  ///< the storage service answered with an error
    execute = 102,
    repo_invalid = 103,
    command = 104,  ///< some repositories failed, others did not
    access = 105,
    clock = 106,
    runtime = 122,
};

/// The class name that pgBackRest prints for the kind, e.g. "FileMissingError" for not_found.
std::string_view error_class_name(ErrorKind kind) noexcept;

/// A failure: its kind for code, a message for people. The message is lower case without a full
/// stop and says what was being done, to what and why it failed; it never holds a secret. A hint is
/// a sentence that tells the reader what to do; hints are kept apart so that they print last.
class Error {
public:
    Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}

    ErrorKind kind() const noexcept { return kind_; }
    const std::string& message() const noexcept { return message_; }
    const std::string& hint() const noexcept { return hint_; }
    /// A failure that may succeed if it is simply tried again (storage under load, network).
    bool transient() const noexcept { return transient_; }
    /// Nothing is left to write with: blocks, inodes or a quota are used up. Removing may help.
    bool no_space() const noexcept { return no_space_; }

    /// Prefixes the message with what was being done: "load manifest of backup 'x': <message>".
    Error while_doing(std::string_view what) &&;
    /// Adds a hint after those already there, one a line.
    Error with_hint(std::string_view hint) &&;
    Error as_transient() && {
        transient_ = true;
        return std::move(*this);
    }
    Error as_no_space() && {
        no_space_ = true;
        return std::move(*this);
    }

    /// Message and hints as printed: each hint on a line of its own behind "HINT: ".
    std::string text() const;

private:
    ErrorKind kind_;
    bool transient_ = false;
    bool no_space_ = false;
    std::string message_;
    std::string hint_;
};

/// The error for a failed system call: `what` and the text of `error_number`.
/// EACCES and EPERM add a hint that names the effective user; ENOSPC and EDQUOT one about space.
Error system_error(ErrorKind kind, std::string_view what, int error_number);

}  // namespace chronos

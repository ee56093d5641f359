#pragma once

/// Nothing is included here: this header is for both worlds of the server's module as well.
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

constexpr int exit_code(ErrorKind kind) noexcept {
    return static_cast<int>(kind);
}

}  // namespace chronos

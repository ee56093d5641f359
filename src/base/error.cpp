#include "chronos/base/error.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace chronos {

std::string_view error_class_name(ErrorKind kind) noexcept {
    switch (kind) {
        case ErrorKind::internal: return "AssertError";
        case ErrorKind::checksum: return "ChecksumError";
        case ErrorKind::config: return "ConfigError";
        case ErrorKind::file_invalid: return "FileInvalidError";
        case ErrorKind::format: return "FormatError";
        case ErrorKind::command_required: return "CommandRequiredError";
        case ErrorKind::option_invalid: return "OptionInvalidError";
        case ErrorKind::option_invalid_value: return "OptionInvalidValueError";
        case ErrorKind::option_required: return "OptionRequiredError";
        case ErrorKind::pg_running: return "PgRunningError";
        case ErrorKind::protocol: return "ProtocolError";
        case ErrorKind::path_not_empty: return "PathNotEmptyError";
        case ErrorKind::file_open: return "FileOpenError";
        case ErrorKind::file_read: return "FileReadError";
        case ErrorKind::param_required: return "ParamRequiredError";
        case ErrorKind::archive_mismatch: return "ArchiveMismatchError";
        case ErrorKind::archive_duplicate: return "ArchiveDuplicateError";
        case ErrorKind::version_not_supported: return "VersionNotSupportedError";
        case ErrorKind::path_create: return "PathCreateError";
        case ErrorKind::command_invalid: return "CommandInvalidError";
        case ErrorKind::host_connect: return "HostConnectError";
        case ErrorKind::lock_acquire: return "LockAcquireError";
        case ErrorKind::backup_mismatch: return "BackupMismatchError";
        case ErrorKind::file_sync: return "FileSyncError";
        case ErrorKind::path_open: return "PathOpenError";
        case ErrorKind::path_sync: return "PathSyncError";
        case ErrorKind::not_found: return "FileMissingError";
        case ErrorKind::db_connect: return "DbConnectError";
        case ErrorKind::db_query: return "DbQueryError";
        case ErrorKind::db_mismatch: return "DbMismatchError";
        case ErrorKind::file_remove: return "FileRemoveError";
        case ErrorKind::path_remove: return "PathRemoveError";
        case ErrorKind::stop: return "StopError";
        case ErrorKind::cancelled: return "TermError";
        case ErrorKind::file_write: return "FileWriteError";
        case ErrorKind::feature_not_supported: return "FeatureNotSupportedError";
        case ErrorKind::archive_command_invalid: return "ArchiveCommandInvalidError";
        case ErrorKind::link_expected: return "LinkExpectedError";
        case ErrorKind::link_destination: return "LinkDestinationError";
        case ErrorKind::path_missing: return "PathMissingError";
        case ErrorKind::file_move: return "FileMoveError";
        case ErrorKind::backup_set_invalid: return "BackupSetInvalidError";
        case ErrorKind::tablespace_map: return "TablespaceMapError";
        case ErrorKind::link_map: return "LinkMapError";
        case ErrorKind::file_close: return "FileCloseError";
        case ErrorKind::db_missing: return "DbMissingError";
        case ErrorKind::db_invalid: return "DbInvalidError";
        case ErrorKind::archive_timeout: return "ArchiveTimeoutError";
        case ErrorKind::file_mode: return "FileModeError";
        case ErrorKind::archive_disabled: return "ArchiveDisabledError";
        case ErrorKind::file_owner: return "FileOwnerError";
        case ErrorKind::user_missing: return "UserMissingError";
        case ErrorKind::file_exists: return "FileExistsError";
        case ErrorKind::memory: return "MemoryError";
        case ErrorKind::crypto: return "CryptoError";
        case ErrorKind::param_invalid: return "ParamInvalidError";
        case ErrorKind::file_info: return "FileInfoError";
        case ErrorKind::json_format: return "JsonFormatError";
        case ErrorKind::kernel: return "KernelError";
        case ErrorKind::service: return "ServiceError";
        case ErrorKind::execute: return "ExecuteError";
        case ErrorKind::repo_invalid: return "RepoInvalidError";
        case ErrorKind::command: return "CommandError";
        case ErrorKind::access: return "AccessError";
        case ErrorKind::clock: return "ClockError";
        case ErrorKind::runtime: return "RuntimeError";
    }
    return "UnknownError";
}

Error Error::while_doing(std::string_view what) && {
    message_.insert(0, std::string(what) + ": ");
    return std::move(*this);
}

Error Error::with_hint(std::string_view hint) && {
    if (!hint_.empty()) hint_ += '\n';
    hint_ += hint;
    return std::move(*this);
}

std::string Error::text() const {
    std::string result = message_;
    for (std::size_t at = 0; at < hint_.size();) {
        const std::size_t end = std::min(hint_.find('\n', at), hint_.size());
        result += "\nHINT: " + hint_.substr(at, end - at);
        at = end + 1;
    }
    return result;
}

Error system_error(ErrorKind kind, std::string_view what, int error_number) {
    std::array<char, 128> buffer{};
    // GNU strerror_r: may or may not use the buffer, and is safe in threads.
    const char* reason = strerror_r(error_number, buffer.data(), buffer.size());
    Error error(kind, std::string(what) + ": [" + std::to_string(error_number) + "] " + reason);
    if (error_number == EACCES || error_number == EPERM)
        return std::move(error).with_hint("The command runs as user id " +
                                          std::to_string(geteuid()) +
                                          ": give that user access, or run it as the owner.");
    if (error_number == ENOSPC || error_number == EDQUOT)
        return std::move(error)
            .with_hint("Free some space on that file system and try again.")
            .as_no_space();
    return error;
}

}  // namespace chronos

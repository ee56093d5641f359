#pragma once

#include <string>
#include <string_view>

#include "chronos/base/error_kind.h"

namespace chronos {

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

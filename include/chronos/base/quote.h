#pragma once

#include <string>
#include <string_view>

/// Text for other readers: whatever the bytes are, what the reader gets out is what went in. A NUL
/// byte can be written for none of them; is_quotable() says so beforehand.
namespace chronos {

bool is_quotable(std::string_view text);

/// One word for a POSIX shell: as it is where the shell takes no notice, else between double
/// quotes. Never empty.
std::string shell_word(std::string_view text);

/// The same for a command that PostgreSQL runs (restore_command, archive_command), which takes '%'
/// for the start of a placeholder before the shell sees it.
std::string server_command_word(std::string_view text);

/// What stands between the single quotes of a value in postgresql.conf. A line feed would end the
/// line there and is written as an escape.
std::string conf_value(std::string_view text);

}  // namespace chronos

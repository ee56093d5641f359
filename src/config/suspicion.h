#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/config_file.h"
#include "config/option_table.h"

/// What can be read, and is read as pgBackRest reads it, but is hardly what its writer meant.
namespace chronos::config {

/// The sections that a command reads, and for which stanza ("" if for none or for all).
struct Reading {
    std::string stanza;
    std::vector<std::string> sections;    ///< of these the resolver itself complains
    CommandId command = CommandId::help;  ///< of the options that it knows, too
};

/// "file '/etc/pgbackrest.conf', line 3: repo1-path=/x". The values of secrets, and of what is no
/// option and may be a misspelt secret, are not shown.
std::string shown_line(const FileEntry& entry);

/// Why the text of an option looks wrong: a comment, quotes, invisible characters, ... in it. ""
/// if it does not.
std::string suspicious_value(const Option& option, std::string_view text);

/// What is wrong with a key whatever the command is: "invalid option 'x'". "" if nothing is.
std::string misplaced_key(const FileEntry& entry, bool of_stanza);

/// Whether one section cannot have both lines: the same option, and no two elements of a list,
/// which are of one name as well.
bool set_twice(const FileEntry& one, const FileEntry& other);

/// A hint with the option that was probably meant, after a line feed; "" if none is near.
std::string nearest_option_hint(std::string_view key);

/// One warning for each thing in the files that nothing reads, or not as it looks. Files that
/// pgBackRest takes and that say what they mean give none.
std::vector<std::string> suspicions(const FileContent& content, const ConfigLines& lines,
                                    const Reading& reading);

/// The same for environment variables: names that only nearly begin as they have to.
std::vector<std::string> suspicious_variables(const std::vector<std::string>& environment);

}  // namespace chronos::config

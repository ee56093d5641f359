#pragma once

#include <cstdint>
#include <string_view>

#include "chronos/config/command.h"

namespace chronos::config {

enum class Type { boolean, integer, size, time, path, string, list, hash };

enum class Group { none, repo, pg };

/// Where an option may be set. Each includes the command line and the environment.
enum class Section { command_line, global, stanza };

/// One option as every part of the program sees it: parsing, checking, help, documentation. Members
/// that hold several words separate them with a blank.
struct Option {
    std::string_view name;  ///< of a group without index: "repo-path"
    Type type = Type::string;
    Group group = Group::none;
    Section section = Section::global;
    Commands commands = {};  ///< which know it
    Commands required = {};  ///< which fail without it, if its dependency is met
    bool secret = false;     ///< never on the command line, never printed
    bool hidden = false;     ///< never printed: a command, which may have a secret in it
    bool internal = false;   ///< not in help and documentation
    bool negatable = false;  ///< `--no-x` although it is not boolean

    std::string_view default_text = {};
    Commands other_default_commands = {};  ///< these have `other_default` instead
    std::string_view other_default = {};

    std::string_view allowed = {};  ///< values; none: all
    Commands other_allowed_commands = {};
    std::string_view other_allowed = {};
    std::int64_t minimum = 0;  ///< of integer, size (bytes) and time (milliseconds)
    std::int64_t maximum = 0;  ///< 0: neither is checked
    /// Of a hash that maps numbers to numbers, and then both are: a key counts from 0, a size as a
    /// key from 1; minimum and maximum are those of the values.
    Type keys = Type::string;
    Type values = Type::string;

    /// Valid only while that option has one of these values; a boolean's are "y" or "n". Looked at
    /// only where the command knows that option.
    std::string_view depends_on = {};
    std::string_view depends_values = {};
    std::string_view unmet_default = {};  ///< the value while the dependency is not met

    /// Former names that are still understood. '?' stands for an index; without one it is 1.
    std::string_view aliases = {};
    std::string_view help_default = {};  ///< shown in place of a computed default
    std::string_view summary = {};       ///< one line, lower case, no full stop
    std::string_view details = {};       ///< sentences, for `chronos help <command> <option>`
};

/// Whether it is given once for each of its elements.
constexpr bool is_many(const Option& option) {
    return option.type == Type::list || option.type == Type::hash;
}

/// What the option is without a setting, as `command` sees it; "" if it has no default, or a
/// computed one.
constexpr std::string_view default_for(const Option& option, CommandId command) {
    return option.other_default_commands.contains(command) ? option.other_default
                                                           : option.default_text;
}

constexpr std::string_view allowed_for(const Option& option, CommandId command) {
    return option.other_allowed_commands.contains(command) ? option.other_allowed : option.allowed;
}

/// What all names of options of the group begin with; "" of none.
constexpr std::string_view group_prefix(Group group) {
    return group == Group::repo ? "repo" : group == Group::pg ? "pg" : "";
}

inline constexpr unsigned kIndexMax = 256;

}  // namespace chronos::config

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "chronos/config/command.h"

namespace chronos::config {

enum class Type { boolean, integer, size, time, path, string, list, hash };

enum class Group { none, repo, pg };

/// Where an option may be set. Each includes the command line and the environment.
enum class Section { command_line, global, stanza };

/// A set of commands, one bit each.
using Commands = std::uint32_t;
constexpr Commands only(CommandId id) {
    return Commands{1} << static_cast<unsigned>(id);
}
constexpr bool contains(Commands set, CommandId id) {
    return (set & only(id)) != 0;
}

/// One option as every part of the program sees it: parsing, checking, help, documentation. Members
/// that hold several words separate them with a blank.
struct Option {
    std::string_view name;  ///< of a group without index: "repo-path"
    Type type = Type::string;
    Group group = Group::none;
    Section section = Section::global;
    Commands commands = 0;   ///< which know it
    Commands required = 0;   ///< which fail without it, if its dependency is met
    bool secret = false;     ///< never on the command line, never printed
    bool hidden = false;     ///< never printed: a command, which may have a secret in it
    bool internal = false;   ///< not in help and documentation
    bool negatable = false;  ///< `--no-x` although it is not boolean

    std::string_view default_text = {};
    Commands other_default_commands = 0;  ///< these have `other_default` instead
    std::string_view other_default = {};

    std::string_view allowed = {};  ///< values; none: all
    Commands other_allowed_commands = 0;
    std::string_view other_allowed = {};
    std::int64_t minimum = 0;  ///< of integer, size (bytes) and time (milliseconds)
    std::int64_t maximum = 0;  ///< 0: neither is checked

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

std::span<const Option> option_table();

/// The server's engine and help know every option, config-list what can stand in a file, the others
/// those that list them.
bool knows(CommandId command, const Option& option);
/// What the option is without a setting, as `command` sees it; "" if it has no default, or a
/// computed one.
std::string_view default_for(const Option& option, CommandId command);
std::string_view allowed_for(const Option& option, CommandId command);

/// A name as written: which option it means, and how.
struct NamedOption {
    const Option* option = nullptr;
    unsigned index = 0;          ///< the N of repoN or pgN, 0 for an option of no group
    bool index_missing = false;  ///< "repo-bundle", which says not of which repository
    bool index_invalid = false;  ///< 0, or above kIndexMax
};
inline constexpr unsigned kIndexMax = 256;

/// The option of that full name, without "--", "no-" and "reset-"; a former name will do.
std::optional<NamedOption> find_option(std::string_view name);
/// "repo1-path" of repo-path and 1.
std::string indexed_name(const Option& option, unsigned index);
/// Every name that carries `index`, those without one if it is 0. For abbreviations and hints.
std::vector<std::string> names_with_index(unsigned index);

}  // namespace chronos::config

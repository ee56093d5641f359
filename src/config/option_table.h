#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/config/option_name.h"

namespace chronos::config {

/// Every option, sorted by name.
std::span<const Option> option_table();

/// What the compiler found.
const Option& row_of(Name name);
/// The other way round, for what goes through the table.
Name name_of(const Option& option, unsigned index);
/// Whether it is that row of the table, whatever the index.
bool is(const Option& option, Name name);

/// The server's engine and help know every option, config-list what can stand in a file, the others
/// those that list them.
bool knows(CommandId command, const Option& option);

/// A name as written: which option it means, and how.
struct NamedOption {
    const Option* option = nullptr;
    unsigned index = 0;          ///< the N of repoN or pgN, 0 for an option of no group
    bool index_missing = false;  ///< "repo-bundle", which says not of which repository
    bool index_invalid = false;  ///< 0, or above kIndexMax
};

/// The option of that full name, without "--", "no-" and "reset-"; a former name will do.
std::optional<NamedOption> find_option(std::string_view name);
/// "repo1-path" of repo-path and 1.
std::string indexed_name(const Option& option, unsigned index);
/// Every name that carries `index`, those without one if it is 0. For abbreviations and hints.
std::vector<std::string> names_with_index(unsigned index);

}  // namespace chronos::config

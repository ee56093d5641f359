#include "config/option_table.h"

#include <algorithm>
#include <array>

#include "chronos/base/text.h"
#include "chronos/config/options/all.h"
#include "config/option_rules.h"

namespace chronos::config {
namespace {

constexpr std::size_t kCount = [] {
    std::size_t count = 0;
    for (const std::span<const Option> subject : options::kSubjects) count += subject.size();
    return count;
}();

/// The search relies on the order, and so do the names that the compiler looked up: each is a place
/// in it.
constexpr std::array<Option, kCount> kOptions = [] {
    std::array<Option, kCount> all{};
    auto end = all.begin();
    for (const std::span<const Option> subject : options::kSubjects)
        end = std::copy(subject.begin(), subject.end(), end);
    std::sort(all.begin(), all.end(),
              [](const Option& left, const Option& right) { return left.name < right.name; });
    return all;
}();

constexpr bool has_dependency(const Option& option) {
    return rules::has_sound_dependency(kOptions, option);
}

constexpr bool is_alone(const Option& option) {
    return std::count_if(kOptions.begin(), kOptions.end(),
                         [&](const Option& other) { return other.name == option.name; }) == 1;
}

template <auto kRule>
using EveryRow = rules::AllRows<rules::first_against(kOptions, kRule)>;

static_assert(sizeof(EveryRow<is_alone>));
static_assert(sizeof(EveryRow<has_dependency>));
static_assert(sizeof(EveryRow<rules::has_sound_name>));
static_assert(sizeof(EveryRow<rules::has_sound_defaults>));
static_assert(sizeof(EveryRow<rules::has_sound_range>));
static_assert(sizeof(EveryRow<rules::has_sound_pairs>));
static_assert(sizeof(EveryRow<rules::has_sound_commands>));
static_assert(sizeof(EveryRow<rules::is_explained>));

const Option* find_by_name(std::string_view name) {
    const auto at = std::lower_bound(
        kOptions.begin(), kOptions.end(), name,
        [](const Option& option, std::string_view wanted) { return option.name < wanted; });
    return at != kOptions.end() && at->name == name ? &*at : nullptr;
}

/// "repo12-path" as "repo", "12", "-path".
struct SplitName {
    std::string_view prefix;
    std::string_view digits;
    std::string_view rest;
};

SplitName split_name(std::string_view name) {
    SplitName parts{
        .prefix = name.substr(0, name.find_first_of("0123456789-")), .digits = {}, .rest = {}};
    name.remove_prefix(parts.prefix.size());
    parts.digits = name.substr(0, std::min(name.find_first_not_of("0123456789"), name.size()));
    parts.rest = name.substr(parts.digits.size());
    return parts;
}

NamedOption with_index(const Option& option, std::string_view digits) {
    const auto index = parse_uint(digits);
    const bool good = index && *index >= 1 && *index <= kIndexMax && digits[0] != '0';
    return {.option = &option,
            .index = good ? static_cast<unsigned>(*index) : 0,
            .index_missing = false,
            .index_invalid = !good};
}

/// `pattern` may have a '?' where `name` has an index.
std::optional<NamedOption> match_alias(const Option& option, std::string_view pattern,
                                       std::string_view name) {
    const std::size_t mark = pattern.find('?');
    if (mark == std::string_view::npos) {
        if (pattern != name) return std::nullopt;
        return NamedOption{.option = &option, .index = option.group == Group::none ? 0u : 1u};
    }
    const SplitName parts = split_name(name);
    if (parts.digits.empty() || parts.prefix != pattern.substr(0, mark) ||
        parts.rest != pattern.substr(mark + 1))
        return std::nullopt;
    return with_index(option, parts.digits);
}

std::optional<NamedOption> find_alias(std::string_view name) {
    for (const Option& option : kOptions) {
        if (option.aliases.empty()) continue;
        for (const std::string_view pattern : split(option.aliases, ' '))
            if (auto found = match_alias(option, pattern, name)) return found;
    }
    return std::nullopt;
}

}  // namespace

std::span<const Option> option_table() {
    return kOptions;
}

const Option& row_of(Name name) {
    return kOptions[name.row()];
}

Name name_of(const Option& option, unsigned index) {
    return Name(lookup::Found{.row = static_cast<std::uint16_t>(&option - kOptions.data()),
                              .index = static_cast<std::uint16_t>(index)});
}

bool is(const Option& option, Name name) {
    return &option == &row_of(name);
}

bool knows(CommandId command, const Option& option) {
    if (command_info(command).every_option) return true;
    // What it lists are the options that outlive a command line.
    if (command == CommandId::config_list && option.section != Section::command_line) return true;
    return option.commands.contains(command);
}

std::optional<NamedOption> find_option(std::string_view name) {
    if (const Option* option = find_by_name(name)) {
        if (option->group == Group::none) return NamedOption{.option = option};
        if (auto alias = find_alias(name)) return alias;
        return NamedOption{.option = option, .index_missing = true};
    }
    const SplitName parts = split_name(name);
    if (!parts.digits.empty()) {
        const std::string canonical = std::string(parts.prefix) + std::string(parts.rest);
        const Option* option = find_by_name(canonical);
        if (option != nullptr && option->group != Group::none &&
            parts.prefix == group_prefix(option->group))
            return with_index(*option, parts.digits);
    }
    return find_alias(name);
}

std::string indexed_name(const Option& option, unsigned index) {
    if (option.group == Group::none || index == 0) return std::string(option.name);
    const std::string_view prefix = group_prefix(option.group);
    return std::string(prefix) + std::to_string(index) +
           std::string(option.name.substr(prefix.size()));
}

std::vector<std::string> names_with_index(unsigned index) {
    std::vector<std::string> names;
    for (const Option& option : kOptions) {
        if (option.internal) continue;
        if ((option.group == Group::none) == (index == 0))
            names.push_back(indexed_name(option, index));
        if (option.aliases.empty()) continue;
        for (const std::string_view alias : split(option.aliases, ' ')) {
            const std::size_t mark = alias.find('?');
            if ((mark == std::string_view::npos) != (index == 0)) continue;
            std::string name(alias);
            if (index != 0) name.replace(mark, 1, std::to_string(index));
            names.push_back(std::move(name));
        }
    }
    return names;
}

}  // namespace chronos::config

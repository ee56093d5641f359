#pragma once

#include <algorithm>
#include <span>
#include <string_view>

#include "chronos/config/options/sets.h"
#include "config/quantity.h"

/// What must hold of every row of the table of options. src/config/option_table.cpp asserts it of
/// those that there are, so that a row that breaks a rule does not compile.
namespace chronos::config::rules {

/// Words are separated by a blank.
constexpr bool has_word(std::string_view words, std::string_view wanted) {
    while (!words.empty()) {
        const std::size_t end = std::min(words.find(' '), words.size());
        if (words.substr(0, end) == wanted) return true;
        words.remove_prefix(std::min(end + 1, words.size()));
    }
    return false;
}

constexpr bool is_number(Type type) {
    return type == Type::integer || type == Type::size || type == Type::time;
}

constexpr bool is_bounded(const Option& option) {
    return option.minimum != 0 || option.maximum != 0;
}

/// Whether `text` could be written for the option; `allowed` are the only words, if there are any.
constexpr bool is_value(const Option& option, std::string_view allowed, std::string_view text) {
    if (!allowed.empty() && !has_word(allowed, text)) return false;
    if (option.type == Type::boolean) return text == "y" || text == "n";
    if (option.type == Type::path) return text.starts_with('/') && !text.ends_with('/');
    if (is_many(option)) return false;  // there is no default that has elements
    if (!is_number(option.type)) return true;
    const auto value = parse_quantity(option.type, text);
    return value && (!is_bounded(option) || (*value >= option.minimum && *value <= option.maximum));
}

constexpr bool is_default(const Option& option, std::string_view allowed, std::string_view text) {
    return text.empty() || text == options::kCores || is_value(option, allowed, text);
}

constexpr bool has_sound_defaults(const Option& option) {
    const std::string_view other =
        option.other_allowed_commands.empty() ? option.allowed : option.other_allowed;
    return is_default(option, option.allowed, option.default_text) &&
           is_default(option, other, option.other_default) &&
           is_default(option, option.allowed, option.unmet_default) &&
           option.other_default.empty() == option.other_default_commands.empty();
}

constexpr bool has_sound_range(const Option& option) {
    return option.minimum <= option.maximum &&
           (!is_bounded(option) || is_number(option.type) || is_number(option.values));
}

constexpr bool has_sound_pairs(const Option& option) {
    return is_number(option.keys) == is_number(option.values) &&
           (!is_number(option.keys) || (option.type == Type::hash && !option.details.empty()));
}

constexpr bool has_sound_commands(const Option& option) {
    return !option.commands.empty() && option.commands.contains_all(option.required) &&
           option.commands.contains_all(option.other_allowed_commands);
}

constexpr bool has_sound_name(const Option& option) {
    if (option.group == Group::none) return !option.name.empty();
    const std::string_view prefix = group_prefix(option.group);
    return option.name.starts_with(prefix) && option.name.substr(prefix.size()).starts_with('-');
}

constexpr bool is_explained(const Option& option) {
    return !option.summary.empty() && !option.summary.ends_with('.') &&
           (option.details.empty() || option.details.ends_with('.'));
}

/// Whether what the option depends on is there; as many as the option itself, or one for all.
constexpr bool has_sound_dependency(std::span<const Option> table, const Option& option) {
    if (option.depends_on.empty()) return option.depends_values.empty();
    for (const Option& other : table)
        if (other.name == option.depends_on)
            return other.group == Group::none || other.group == option.group;
    return false;
}

/// A name that can be part of a type, which compilers print.
struct RowName {
    char letters[48] = {};
};

/// The first option that breaks the rule; empty if none does.
template <class Rule>
constexpr RowName first_against(std::span<const Option> table, Rule rule) {
    RowName result;
    for (const Option& option : table) {
        if (rule(option)) continue;
        std::copy(option.name.begin(), option.name.end(), result.letters);
        break;
    }
    return result;
}

/// Compiles if the name is empty. Else the error shows it: "AllRows<RowName{"archive-async"}>".
template <RowName kBroken>
struct AllRows {
    static_assert(kBroken.letters[0] == '\0', "this row breaks the rule");
};

}  // namespace chronos::config::rules

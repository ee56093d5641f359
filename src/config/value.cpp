#include "config/value.h"

#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "chronos/base/stanza_name.h"
#include "chronos/base/text.h"
#include "config/quantity.h"

namespace chronos::config {
namespace {

std::string size_text(std::int64_t bytes) {
    static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    std::size_t unit = 0;
    for (; bytes != 0 && bytes % 1024 == 0 && unit < 5; ++unit) bytes /= 1024;
    return std::to_string(bytes) + kUnits[unit];
}

std::string time_text(std::int64_t milliseconds) {
    struct Unit {
        std::int64_t factor;
        const char* name;
    };
    for (const Unit unit :
         {Unit{86400000, "d"}, Unit{3600000, "h"}, Unit{60000, "m"}, Unit{1000, "s"}})
        if (milliseconds != 0 && milliseconds % unit.factor == 0)
            return std::to_string(milliseconds / unit.factor) + unit.name;
    return std::to_string(milliseconds) + "ms";
}

std::string quantity_text(Type type, std::int64_t value) {
    return type == Type::size   ? size_text(value)
           : type == Type::time ? time_text(value)
                                : std::to_string(value);
}

Error value_error(std::string_view text, std::string_view problem, const std::string& name) {
    return Error(ErrorKind::option_invalid_value,
                 "'" + printable(text) + "' " + std::string(problem) + " '" + name + "' option");
}

std::string comma_list(std::string_view words) {
    std::vector<std::string> list;
    for (const std::string_view word : split(words, ' ')) list.emplace_back(word);
    return join(list, ", ");
}

/// `type` is that of the option, or of the values of its pairs.
Result<> check_quantity(const Option& option, Type type, const std::string& name,
                        std::string_view text) {
    const auto value = parse_quantity(type, text);
    if (!value) {
        Error error = value_error(text, "is not valid for", name);
        if (type == Type::size)
            return std::move(error).with_hint("Write a whole number and a unit: B, KiB, MiB, GiB.");
        if (type == Type::time)
            return std::move(error).with_hint(
                "Write a whole number and a unit: ms, s, m, h, d, w.");
        return error;
    }
    const bool bounded = option.minimum != 0 || option.maximum != 0;
    if (bounded && (*value < option.minimum || *value > option.maximum))
        return value_error(text, "is out of range for", name)
            .with_hint("Allowed is " + quantity_text(type, option.minimum) + " to " +
                       quantity_text(type, option.maximum) + ".");
    return {};
}

/// What stands wrong in a pair of numbers is told with how one is written.
Result<> check_pair(const Option& option, const std::string& name, std::string_view text) {
    if (text.find('=') == std::string_view::npos || text[0] == '=')
        return Error(ErrorKind::option_invalid,
                     "key/value '" + printable(text) + "' not valid for '" + name + "' option");
    if (option.keys == Type::string) return {};
    const std::string_view key = text.substr(0, text.find('='));
    const std::string_view value = text.substr(key.size() + 1);
    const auto from = parse_quantity(option.keys, key);
    const bool good_key = from && *from >= (option.keys == Type::size ? 1 : 0);
    if (!good_key || !parse_quantity(option.values, value))
        return value_error(good_key ? value : key, "is not valid for", name)
            .with_hint(std::string(option.details));
    return check_quantity(option, option.values, name, value);
}

Result<> check_allowed(const Option& option, const std::string& name, CommandId command,
                       std::string_view text) {
    const std::string_view allowed = allowed_for(option, command);
    if (allowed.empty() || command == CommandId::engine) return {};
    for (const std::string_view word : split(allowed, ' ')) {
        if (word == text) return {};
        if (option.type == Type::size && parse_size(word) == parse_size(text)) return {};
    }
    return value_error(text, "is not allowed for", name)
        .with_hint("Allowed are " + comma_list(allowed) + ".");
}

Result<std::string> check_path(const std::string& name, std::string_view text) {
    if (text[0] != '/') return value_error(text, "must begin with / for", name);
    if (text.find("//") != std::string_view::npos)
        return value_error(text, "cannot contain // for", name);
    if (text.size() > 1 && text.back() == '/') text.remove_suffix(1);
    return std::string(text);
}

Result<> check_stanza(const std::string& name, std::string_view text) {
    const char* problem = stanza_name_problem(text);
    if (problem == nullptr) return {};
    return value_error(printable(text), "is not valid for", name)
        .with_hint("It cannot be the name of a stanza: " + std::string(problem) + ".");
}

}  // namespace

std::string absolute_file(std::string_view text) {
    if (text[0] == '/') return std::string(text);
    const std::unique_ptr<char, void (*)(void*)> directory(getcwd(nullptr, 0), std::free);
    return directory ? std::string(directory.get()) + "/" + std::string(text) : std::string(text);
}

Result<std::string> check_value(const Option& option, const std::string& name, CommandId command,
                                std::string_view text) {
    if (text.empty()) return value_error(text, "must be >= 1 character for", name);
    switch (option.type) {
        case Type::boolean:
            if (text != "y" && text != "n")
                return Error(ErrorKind::option_invalid_value,
                             "boolean option '" + name + "' must be 'y' or 'n'");
            break;
        case Type::integer:
        case Type::size:
        case Type::time: CHRONOS_TRY(check_quantity(option, option.type, name, text)); break;
        case Type::path: return check_path(name, text);
        case Type::hash: CHRONOS_TRY(check_pair(option, name, text)); break;
        case Type::string:
        case Type::list: break;
    }
    CHRONOS_TRY(check_allowed(option, name, command, text));
    if (is(option, "stanza")) CHRONOS_TRY(check_stanza(name, text));
    if (is(option, "config")) return absolute_file(text);
    return std::string(text);
}

std::string shown_value(const Option& option, std::string_view text) {
    constexpr std::string_view kRedacted = "<redacted>";
    if (text.empty()) return "";
    if (option.secret || option.hidden) return std::string(kRedacted);
    const std::size_t equal = text.find('=');
    // It has the password of the primary, more often than not. Settings have no case.
    if (is(option, "recovery-option") && equal != std::string_view::npos) {
        std::string name(trim(text.substr(0, equal)));
        for (char& c : name)
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        if (name == "primary_conninfo")
            return std::string(text.substr(0, equal + 1)) + std::string(kRedacted);
    }
    return std::string(text);
}

}  // namespace chronos::config

#include "config/option_text.h"

#include <vector>

#include "chronos/base/text.h"

namespace chronos::config {

std::string sentence(std::string_view summary) {
    std::string text(summary);
    if (text[0] >= 'a' && text[0] <= 'z' && !(text[1] >= 'A' && text[1] <= 'Z'))
        text[0] = static_cast<char>(text[0] - 'a' + 'A');
    return text + ".";
}

std::string shown_default(const Option& option, CommandId command) {
    if (!option.help_default.empty() && !option.other_default_commands.contains(command))
        return std::string(option.help_default);
    return std::string(default_for(option, command));
}

std::string shown_name(const Option& option) {
    std::string name(option.name);
    if (option.group == Group::repo) name.insert(4, "<N>");
    if (option.group == Group::pg) name.insert(2, "<N>");
    return name;
}

std::string heading(const Option& option) {
    if (option.group == Group::repo) return "Repository options";
    if (option.group == Group::pg) return "Cluster options";
    if (option.name.starts_with("log-")) return "Log options";
    const bool general = option.commands.size() > 8;
    return general ? "General options" : "Command options";
}

std::string type_text(Type type) {
    switch (type) {
        case Type::boolean: return "y or n";
        case Type::integer: return "integer";
        case Type::size: return "size (B, KiB, MiB, GiB, TiB, PiB)";
        case Type::time: return "time (ms, s, m, h, d, w; s without a unit)";
        case Type::path: return "absolute path";
        case Type::string: return "text";
        case Type::list: return "text, may be repeated";
        case Type::hash: return "name=value, may be repeated";
    }
    return "";
}

std::string comma_list(std::string_view words) {
    std::string result;
    for (const std::string_view word : split(words, ' '))
        result += (result.empty() ? "" : ", ") + std::string(word);
    return result;
}

std::string section_text(Section section) {
    return section == Section::command_line ? "command line and environment"
           : section == Section::global     ? "any section of the configuration file"
                                            : "stanza sections of the configuration file";
}

bool takes_options(const CommandInfo& command) {
    return !command.internal && !command.standalone;
}

std::string commands_text(Commands commands) {
    std::vector<std::string> names;
    std::vector<std::string> others;
    for (const CommandInfo& command : command_table())
        if (commands.contains(command.id))
            names.emplace_back(command.name);
        else if (takes_options(command))
            others.emplace_back(command.name);
    if (others.empty()) return "all";
    return 2 * others.size() < names.size() ? "all but " + join(others, ", ") : join(names, ", ");
}

}  // namespace chronos::config

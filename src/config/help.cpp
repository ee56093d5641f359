#include "chronos/config/help.h"

#include <algorithm>
#include <vector>

#include "chronos/base/text.h"
#include "config/option_text.h"

namespace chronos::config {
namespace {

constexpr std::size_t kColumns = 80;

/// Breaks at blanks; every line but the first begins with `indent` blanks.
std::string wrap(std::string_view text, std::size_t first_column, std::size_t indent) {
    std::string result;
    std::size_t column = first_column;
    for (const std::string_view word : split(text, ' ')) {
        if (column > indent && column + 1 + word.size() > kColumns) {
            result += "\n" + std::string(indent, ' ');
            column = indent;
        } else if (column > indent || (column == first_column && !result.empty())) {
            result += ' ';
            ++column;
        }
        result += word;
        column += word.size();
    }
    return result;
}

Result<const CommandInfo*> command_or_error(std::string_view name) {
    const CommandInfo* command = find_command(name);
    if (command == nullptr)
        return Error(ErrorKind::command_invalid, "invalid command '" + printable(name) + "'");
    return command;
}

/// Lines "label: text" that say all there is to an option.
std::string facts(const Option& option, CommandId command) {
    std::string text = "value:    " + type_text(option.type) + "\n";
    if (const auto allowed = allowed_for(option, command); !allowed.empty())
        text += "allowed:  " + wrap(comma_list(allowed), 10, 10) + "\n";
    if (const std::string value = shown_default(option, command); !value.empty())
        text += "default:  " + wrap(value, 10, 10) + "\n";
    if (!option.depends_on.empty())
        text += "needs:    " + std::string(option.depends_on) +
                (option.depends_values.empty() ? "" : " = " + comma_list(option.depends_values)) +
                "\n";
    text += "set in:   " + section_text(option.section) +
            (option.secret ? ", not on the command line\n" : "\n");
    if (!option.aliases.empty())
        text += "also:     " + wrap(comma_list(option.aliases), 10, 10) + "\n";
    return text;
}

std::string option_line(const Option& option, CommandId command) {
    constexpr std::size_t kNameWidth = 34;
    std::string line = "  --" + shown_name(option);
    line.resize(std::max(line.size() + 1, kNameWidth), ' ');
    std::string text(option.summary);
    if (const std::string value = shown_default(option, command); !value.empty())
        text += " [default=" + value + "]";
    return line + wrap(text, line.size(), kNameWidth) + "\n";
}

std::string table_row(const Option& option, CommandId command) {
    std::string text(sentence(option.summary));
    if (!option.details.empty()) text += " " + std::string(option.details);
    if (!option.allowed.empty()) text += " Allowed: " + comma_list(option.allowed) + ".";
    if (option.secret) text += " Not on the command line.";
    if (!option.aliases.empty()) text += " Former names: " + comma_list(option.aliases) + ".";
    std::string name = shown_name(option);
    return "| `" + name + "` | " + shown_default(option, command) + " | " +
           commands_text(option.commands) + " | " + text + " |\n";
}

}  // namespace

std::string general_help() {
    std::string text =
        "chronos - backup and point-in-time recovery of PostgreSQL\n\n"
        "Usage:\n    chronos [options] [command]\n\nCommands:\n";
    for (const CommandInfo& command : command_table()) {
        if (command.internal) continue;
        std::string name = "    " + std::string(command.name);
        name.resize(20, ' ');
        text += name + std::string(command.summary) + "\n";
    }
    return text + "\nUse 'chronos help [command]' for more information.\n";
}

Result<std::string> command_help(std::string_view name) {
    const CommandInfo* command = CHRONOS_TRY(command_or_error(name));
    std::string text =
        "chronos " + std::string(command->name) + "\n\n" + std::string(command->summary) + "\n";
    if (!command->details.empty()) text += "\n" + wrap(command->details, 0, 0) + "\n";
    for (const std::string_view title : kOptionHeadings) {
        std::string lines;
        for (const Option& option : option_table())
            if (!option.internal && option.commands.contains(command->id) &&
                heading(option) == title)
                lines += option_line(option, command->id);
        if (!lines.empty()) text += "\n" + std::string(title) + ":\n\n" + lines;
    }
    return text + "\nUse 'chronos help " + std::string(command->name) +
           " [option]' for more information.\n";
}

Result<std::string> option_help(std::string_view name, std::string_view option_name) {
    const CommandInfo* command = CHRONOS_TRY(command_or_error(name));
    const auto named = find_option(option_name);
    if (!named || !named->option->commands.contains(command->id))
        return Error(ErrorKind::option_invalid, "option '" + printable(option_name) +
                                                    "' not valid for command '" +
                                                    std::string(command->name) + "'");
    const Option& option = *named->option;
    std::string text = "chronos " + std::string(command->name) + " --" + shown_name(option) +
                       "\n\n" + wrap(sentence(option.summary), 0, 0) + "\n";
    if (!option.details.empty()) text += "\n" + wrap(option.details, 0, 0) + "\n";
    return text + "\n" + facts(option, command->id);
}

std::string options_markdown() {
    std::string text =
        "# Options\n\n"
        "Made by `chronos help --output=markdown` from the table in "
        "`include/chronos/config/options`.\n"
        "`<N>` is the number of a repository or cluster, 1 to 256. Names, values and files are "
        "those\n"
        "of pgBackRest.\n";
    for (const std::string_view title : kOptionHeadings) {
        text += "\n## " + std::string(title) +
                "\n\n| option | default | commands | meaning |\n|---|---|---|---|\n";
        for (const Option& option : option_table())
            if (!option.internal && heading(option) == title)
                text += table_row(option, CommandId::backup);
    }
    return text;
}

}  // namespace chronos::config

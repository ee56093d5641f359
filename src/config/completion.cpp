#include <vector>

#include "chronos/base/text.h"
#include "chronos/config/help.h"
#include "config/option_text.h"

namespace chronos::config {
namespace {

bool offered(const Option& option) {
    return !option.internal && !option.secret;
}

/// As it is written most often: of the first repository or cluster.
std::string written_name(const Option& option) {
    return indexed_name(option, option.group == Group::none ? 0 : 1);
}

/// The command's options as words: "--delta --no-delta --repo1-path=".
std::string option_words(const CommandInfo& command) {
    std::vector<std::string> words;
    for (const Option& option : option_table()) {
        if (!offered(option) || !option.commands.contains(command.id)) continue;
        const std::string name = written_name(option);
        const bool boolean = option.type == Type::boolean;
        words.push_back("--" + name + (boolean ? "" : "="));
        if (boolean || option.negatable) words.push_back("--no-" + name);
    }
    return join(words, " ");
}

std::string command_options() {
    std::string text;
    for (const CommandInfo& command : command_table())
        if (!command.internal)
            text +=
                "\t" + std::string(command.name) + ") echo '" + option_words(command) + "' ;;\n";
    return text;
}

std::string value_line(const std::string& pattern, std::string_view values) {
    return "\t" + pattern + ") echo '" + std::string(values) + "' ;;\n";
}

/// Values of options that have a list of them; a command with a list of its own comes first.
std::string option_values() {
    std::string text;
    for (const Option& option : option_table()) {
        if (!offered(option)) continue;
        const std::string name = ":--" + std::string(option.name);
        for (const CommandInfo& command : command_table())
            if (!command.internal && option.commands.contains(command.id) &&
                allowed_for(option, command.id) != option.allowed)
                text +=
                    value_line(std::string(command.name) + name, allowed_for(option, command.id));
        if (!option.allowed.empty()) text += value_line("*" + name, option.allowed);
    }
    return text;
}

/// "*:--pg-path | *:--repo-path"
std::string path_options() {
    std::vector<std::string> names;
    for (const Option& option : option_table())
        if (offered(option) && option.type == Type::path)
            names.push_back("*:--" + std::string(option.name));
    return join(names, " | ");
}

std::string offered_commands() {
    std::vector<std::string> names;
    for (const CommandInfo& command : command_table())
        if (!command.internal) names.emplace_back(command.name);
    return join(names, " ");
}

constexpr std::string_view kFunction = R"bash(
# What the configuration calls stanzas.
_chronos_stanzas()
{
	local file
	for file in /etc/chronos/chronos.conf /etc/pgbackrest/pgbackrest.conf /etc/pgbackrest.conf; do
		[ -r "$file" ] || continue
		cat "$file" "${file%/*}"/conf.d/*.conf 2>/dev/null | sed -n 's/^\[\([^]:]*\).*\]$/\1/p' | grep -vx global | sort -u
		return
	done
}

_chronos()
{
	local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
	local command=help word option=
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case " $_chronos_commands " in *" $word "*) command=$word; break ;; esac
	done
	# The equals sign is a word of its own.
	if [ "$current" = = ]; then
		option=$before current=
	elif [ "$before" = = ]; then
		option=${COMP_WORDS[COMP_CWORD-2]}
	fi
	if [[ $option =~ ^--(repo|pg)[0-9]+(-.*)$ ]]; then
		option=--${BASH_REMATCH[1]}${BASH_REMATCH[2]}
	fi
	COMPREPLY=()
	if [ "$option" = --stanza ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_chronos_stanzas)" -- "$current")
	elif [ -n "$option" ] && _chronos_is_path "$command:$option"; then
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		compopt -o filenames 2>/dev/null
	elif [ -n "$option" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_chronos_values "$command:$option")" -- "$current")
	elif [[ $current == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_chronos_options "$command")" -- "$current")
		[[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
	elif [ "$command" = help ]; then
		mapfile -t COMPREPLY < <(compgen -W "$_chronos_commands" -- "$current")
	else
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		compopt -o filenames 2>/dev/null
	fi
}
complete -F _chronos chronos
)bash";

}  // namespace

std::string bash_completion() {
    return "# bash completion for chronos\n"
           "# Made by `chronos help --output=bash` from the tables of src/config.\n\n"
           "_chronos_commands='" +
           offered_commands() + "'\n\n_chronos_options()\n{\n\tcase $1 in\n" + command_options() +
           "\tesac\n}\n\n_chronos_values()\n{\n\tcase $1 in\n" + option_values() +
           "\tesac\n}\n\n_chronos_is_path()\n{\n\tcase $1 in\n\t" + path_options() +
           ") true ;;\n\t*) false ;;\n\tesac\n}\n" + std::string(kFunction);
}

}  // namespace chronos::config

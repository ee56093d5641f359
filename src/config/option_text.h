#pragma once

#include <string>
#include <string_view>

#include "config/option_table.h"

/// How an option is called and described wherever people read of it: help, manual, docs/options.md.
namespace chronos::config {

inline constexpr std::string_view kOptionHeadings[] = {
    "Command options", "General options", "Log options", "Repository options", "Cluster options"};
/// One of them.
std::string heading(const Option& option);

/// A summary of the tables as a sentence.
std::string sentence(std::string_view summary);
/// "repo<N>-path"
std::string shown_name(const Option& option);
/// "" if there is none, or nothing that could be said in general.
std::string shown_default(const Option& option, CommandId command);
std::string type_text(Type type);
/// Words behind each other with commas.
std::string comma_list(std::string_view words);
std::string section_text(Section section);
/// Whether it is one that users call with options.
bool takes_options(const CommandInfo& command);
/// The shorter of two lists: those that know the option, or those that do not.
std::string commands_text(Commands commands);

}  // namespace chronos::config

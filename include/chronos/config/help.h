#pragma once

#include <string>
#include <string_view>

#include "chronos/base/result.h"

/// Texts made from the tables of commands and options. Lines end in line feeds; those of help
/// have at most 80 columns.
namespace chronos::config {

std::string general_help();
/// The command and its options; fails with command_invalid if there is no such command.
Result<std::string> command_help(std::string_view command);
/// One option of a command; `option` may carry an index.
Result<std::string> option_help(std::string_view command, std::string_view option);
/// docs/options.md: every option, for reading.
std::string options_markdown();
/// docs/man/chronos.1 and docs/man/chronos.conf.5: the same as manual pages.
std::string manual_page();
std::string configuration_page();
/// docs/completion/chronos: what bash offers behind `chronos`.
std::string bash_completion();

}  // namespace chronos::config

#pragma once

#include <string_view>

namespace chronos {

/// Why a text cannot be the name of a stanza, as part of a sentence ("it contains '/'"); nullptr if
/// it can. One rule for the command line, the configuration, the environment and the server's
/// setting: any name that pgBackRest takes is one, but what cannot be the name of a directory (and
/// of lock and log files that begin with it), of a section of the configuration file, or text.
const char* stanza_name_problem(std::string_view name) noexcept;

}  // namespace chronos

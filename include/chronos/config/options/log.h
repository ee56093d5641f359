#pragma once

#include <array>

#include "chronos/config/options/sets.h"

/// Options of the log.
namespace chronos::config::options {

inline constexpr std::array kLogOptions{
    Option{.name = "log-format",
           .type = Type::string,
           .commands = kAll,
           .default_text = "text",
           .allowed = "text json",
           .summary = "form of the lines in the log file and on standard error",
           .details = "json: an object per line, for log services. Standard output stays as it is "
                      "for people; with log-level-console=off and log-level-stderr=info everything "
                      "goes to standard error. See docs/audit.md."},
    Option{.name = "log-level-console",
           .type = Type::string,
           .commands = kAll,
           .default_text = "warn",
           .allowed = "off error warn info detail debug trace",
           .help_default = "info on a terminal, else warn",
           .summary = "level of the console log"},
    Option{.name = "log-level-file",
           .type = Type::string,
           .commands = kAll,
           .default_text = "info",
           .allowed = "off error warn info detail debug trace",
           .summary = "level of the log file"},
    Option{.name = "log-level-stderr",
           .type = Type::string,
           .commands = kAll,
           .default_text = "warn",
           .allowed = "off error warn info detail debug trace",
           .summary = "level of the log on standard error",
           .details = "A line goes to one place: to standard error if its level is within this "
                      "one, else to the console if it is within log-level-console. So warnings "
                      "and errors of a job in cron are mailed although its output is thrown "
                      "away."},
    Option{.name = "log-path",
           .type = Type::path,
           .commands = kAll,
           .default_text = "/var/log/pgbackrest",
           .summary = "directory of log files"},
    Option{.name = "log-subprocess",
           .type = Type::boolean,
           .commands = kAll,
           .default_text = "n",
           .summary = "log files for child processes"},
    Option{.name = "log-timestamp",
           .type = Type::boolean,
           .commands = kAll,
           .default_text = "y",
           .summary = "time in console lines"},
};

}  // namespace chronos::config::options

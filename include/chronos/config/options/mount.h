#pragma once

#include <array>

#include "chronos/config/options/sets.h"

/// Options of mounts.
namespace chronos::config::options {

inline constexpr std::array kMountOptions{
    Option{.name = "abandon",
           .type = Type::path,
           .section = Section::command_line,
           .commands = mount,
           .summary = "give up a directory that restore --instant has made and that is not whole",
           .details =
               "Refused while a server runs there. No server starts in what is left: restore "
               "it again with --delta, or remove it."},
    Option{.name = "background",
           .type = Type::boolean,
           .section = Section::command_line,
           .commands = mount,
           .default_text = "n",
           .summary = "return when the directory can be used, and serve it behind",
           .details = "What there is to tell from then on goes to the log file."},
    Option{.name = "finish",
           .type = Type::path,
           .section = Section::command_line,
           .commands = mount,
           .summary = "unmount this directory, and wait for the process of the mount to end",
           .details =
               "Of one that restore --instant has made: waits until it is whole; if a server "
               "runs there, it is unmounted when that is stopped."},
    Option{.name = "mount-cache-size",
           .type = Type::size,
           .commands = look | recover_table | drill | mount | restore,
           .default_text = "256MiB",
           .minimum = 16 * kMiB,
           .maximum = 1 * kTiB,
           .summary = "memory for what a mount has fetched"},
    Option{.name = "mount-spool-size",
           .type = Type::size,
           .commands = look | recover_table | drill | mount | restore,
           .default_text = "8GiB",
           .minimum = 64 * kMiB,
           .maximum = 4 * kPiB,
           .summary = "disk space for large files that a mount must decode as a whole",
           .details =
               "They are files without a name in TMPDIR, or else in /var/tmp. A file that is "
               "larger cannot be read."},
    Option{.name = "remount",
           .type = Type::path,
           .section = Section::command_line,
           .commands = mount,
           .summary = "serve a directory again that restore --instant has made",
           .details = "After the process that did, or the machine, was stopped. Returns when a "
                      "server can be started there."},
};

}  // namespace chronos::config::options

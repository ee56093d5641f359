#pragma once

#include <array>

#include "chronos/config/options/sets.h"

/// Options of WAL.
namespace chronos::config::options {

inline constexpr std::array kArchiveOptions{
    Option{.name = "archive-async",
           .type = Type::boolean,
           .commands = archive_get | archive_push,
           .default_text = "n",
           .summary = "move WAL segments ahead of time, several at once"},
    Option{.name = "archive-get-queue-max",
           .type = Type::size,
           .commands = archive_get,
           .default_text = "128MiB",
           .minimum = 0,
           .maximum = 4 * kPiB,
           .summary = "WAL to fetch ahead, in bytes",
           .details = "Segments are fetched into spool-path while the server replays the ones "
                      "before, or while one after the other is asked for without a recovery; 0 "
                      "turns this off."},
    Option{.name = "archive-header-check",
           .type = Type::boolean,
           .commands = archive_push,
           .default_text = "y",
           .summary = "compare version and system id of a segment with the stanza, and look at its "
                      "pages"},
    Option{.name = "archive-missing-retry",
           .type = Type::boolean,
           .commands = archive_get,
           .default_text = "y",
           .summary = "look once more for a segment that was missing"},
    Option{.name = "archive-push-batch-size",
           .type = Type::size,
           .commands = archive_push,
           .default_text = "16GiB",
           .minimum = 1 * kMiB,
           .maximum = 4 * kPiB,
           .summary = "WAL to push in one asynchronous run, in bytes"},
    Option{.name = "archive-push-queue-max",
           .type = Type::size,
           .commands = archive_push,
           .minimum = 0,
           .maximum = 4 * kPiB,
           .aliases = "archive-queue-max",
           .summary = "drop WAL when more than this waits, in bytes",
           .details = "Keeps pg_wal from filling the disk at the price of a gap in the archive: no "
                      "backup can be recovered across it. Each dropped segment is recorded in "
                      "spool-path, and in the repository once that can be reached; what cannot be "
                      "recorded is not dropped."},
    Option{.name = "archive-timeout",
           .type = Type::time,
           .commands = drill | archive_get | archive_push | backup | check,
           .default_text = "1m",
           .minimum = 100,
           .maximum = 1 * kDay,
           .summary = "time to wait for a WAL segment"},
    Option{.name = "ls",
           .type = Type::boolean,
           .section = Section::command_line,
           .commands = archive_get,
           .default_text = "n",
           .summary = "list the archived WAL, what is missing, and to where one can recover"},
};

}  // namespace chronos::config::options

#pragma once

#include <array>

#include "chronos/config/options/sets.h"

/// Options of drills.
namespace chronos::config::options {

inline constexpr std::array kDrillOptions{
    Option{.name = "amcheck",
           .type = Type::boolean,
           .section = Section::command_line,
           .commands = drill,
           .default_text = "n",
           .summary = "check every table and B-tree index of the restored cluster",
           .details = "With the extension amcheck, which comes with the server's contrib modules."},
    Option{
        .name = "assert",
        .type = Type::list,
        .section = Section::command_line,
        .commands = drill,
        .summary = "question to the restored cluster: SQL that must return true, or SQL => value",
        .details = "May be repeated. \"\\connect name\" in front chooses a database other than "
                   "pg1-database. Asked as a role that can read every table and write none."},
    Option{.name = "assert-file",
           .type = Type::path,
           .commands = drill,
           .summary = "file of such questions, each ending with a semicolon"},
    Option{.name = "bin-path",
           .type = Type::path,
           .commands = look | recover_table | drill,
           .help_default = "looked for",
           .summary = "directory of the server's programs",
           .details =
               "Without it they are looked for on the PATH, with pg_config and where packages "
               "install them; the version must be that of the backup."},
    Option{.name = "drill-path",
           .type = Type::path,
           .commands = look | recover_table | drill | check | maintenance,
           .default_text = "/var/tmp",
           .summary = "where drills make their scratch directories",
           .details = "The file system needs room for the whole cluster."},
    Option{.name = "exec",
           .type = Type::list,
           .section = Section::command_line,
           .commands = drill,
           .summary = "shell command that must succeed while the restored server runs",
           .details = "PGHOST, PGPORT, PGUSER and PGDATABASE lead it to that server."},
    Option{
        .name = "instant",
        .type = Type::boolean,
        .section = Section::command_line,
        .commands = drill | restore,
        .default_text = "n",
        .summary = "restore only what a server begins with: it reads the rest from the repository",
        .details =
            "Of a drill: nothing is restored, as a look has it, and with what that needs: see "
            "docs/look.md. Proves what is read, and says how much that was. Of a restore: "
            "returns when a server can be started; what that asks for is fetched then, and the "
            "rest behind it. Until all is there a process of this command serves the data "
            "directory, and no server starts in it without; then it is a directory as any, as "
            "soon as no server runs in it."},
    Option{.name = "keep",
           .type = Type::boolean,
           .section = Section::command_line,
           .commands = drill,
           .default_text = "n",
           .summary = "leave the restored cluster behind, stopped"},
    Option{.name = "list",
           .type = Type::boolean,
           .section = Section::command_line,
           .commands = drill,
           .default_text = "n",
           .summary = "show the drills that there were"},
    Option{.name = "marker",
           .type = Type::boolean,
           .section = Section::command_line,
           .commands = drill,
           .default_text = "n",
           .summary = "mark the running cluster first, and recover to exactly that mark",
           .details = "Writes a restore point and waits until its WAL is in the repository: so the "
                      "whole way from the server to a restored cluster is part of the drill."},
    Option{.name = "port",
           .type = Type::integer,
           .section = Section::command_line,
           .commands = look | recover_table | drill,
           .default_text = "5432",
           .minimum = 1,
           .maximum = 65535,
           .summary = "port of the drill's server, which names its socket only"},
    Option{.name = "preload",
           .type = Type::string,
           .commands = look | recover_table | drill,
           .summary = "shared_preload_libraries of the drill's server",
           .details = "None are loaded by default. Needed where tables cannot be read without, as "
                      "with timescaledb."},
    Option{.name = "recovery-timeout",
           .type = Type::time,
           .commands = look | recover_table | drill,
           .default_text = "12h",
           .minimum = 1 * kSecond,
           .maximum = 7 * kDay,
           .summary = "how long the recovery of a drill may take"},
    Option{.name = "setting",
           .type = Type::hash,
           .commands = look | recover_table | drill,
           .summary = "setting of the drill's server: name=value"},
    Option{.name = "to",
           .type = Type::path,
           .section = Section::command_line,
           .commands = drill | mount,
           .help_default = "of a drill: a new one in drill-path",
           .summary = "directory to restore into, new or empty, or to mount on, empty"},
};

}  // namespace chronos::config::options

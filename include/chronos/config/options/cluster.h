#pragma once

#include <array>

#include "chronos/config/options/sets.h"

/// Options of the cluster.
namespace chronos::config::options {

inline constexpr std::array kClusterOptions{
    Option{.name = "online",
           .type = Type::boolean,
           .section = Section::command_line,
           .commands = backup | health | stanza_create | stanza_upgrade,
           .default_text = "y",
           .summary = "the cluster is running"},
    Option{.name = "pg",
           .type = Type::integer,
           .section = Section::command_line,
           .commands = backup | check,
           .internal = true,
           .minimum = 1,
           .maximum = 256,
           .summary = "key of the cluster"},
    Option{.name = "pg-database",
           .type = Type::string,
           .group = Group::pg,
           .section = Section::stanza,
           .commands = look | recover_table | drill | backup | check | health | stanza_create |
                       stanza_upgrade,
           .default_text = "postgres",
           .summary = "database to connect to"},
    Option{.name = "pg-path",
           .type = Type::path,
           .group = Group::pg,
           .section = Section::stanza,
           .commands = look | recover_table | drill | archive_get | archive_push | backup | check |
                       expire | health | mount | repair | restore | replica | serve | stanza_claim |
                       stanza_create | stanza_delete | stanza_upgrade,
           .required = archive_get | backup | check | restore | replica | stanza_claim |
                       stanza_create | stanza_upgrade | stanza_delete,
           .aliases = "db-path db?-path",
           .summary = "data directory"},
    Option{.name = "pg-port",
           .type = Type::integer,
           .group = Group::pg,
           .section = Section::stanza,
           .commands = look | recover_table | drill | backup | check | health | restore | replica |
                       stanza_create | stanza_delete | stanza_upgrade,
           .default_text = "5432",
           .minimum = 0,
           .maximum = 65535,
           .aliases = "db-port db?-port",
           .summary = "port of the server"},
    Option{.name = "pg-socket-path",
           .type = Type::string,
           .group = Group::pg,
           .section = Section::stanza,
           .commands = look | recover_table | drill | backup | check | health | restore | replica |
                       stanza_create | stanza_delete | stanza_upgrade,
           .aliases = "db-socket-path db?-socket-path",
           .summary = "directory of the socket, or host"},
    Option{.name = "pg-user",
           .type = Type::string,
           .group = Group::pg,
           .section = Section::stanza,
           .commands = look | recover_table | drill | backup | check | health | stanza_create |
                       stanza_upgrade,
           .summary = "database user"},
    Option{.name = "pg-version-force",
           .type = Type::string,
           .section = Section::stanza,
           .commands = archive_get | archive_push | backup | check | restore | replica |
                       stanza_create | stanza_delete | stanza_upgrade,
           .summary = "version of the cluster, without looking"},
};

}  // namespace chronos::config::options

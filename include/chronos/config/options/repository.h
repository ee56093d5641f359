#pragma once

#include <array>

#include "chronos/config/options/sets.h"

/// Options of a repository: what and where it is.
namespace chronos::config::options {

inline constexpr std::array kRepositoryOptions{
    Option{.name = "repo",
           .type = Type::integer,
           .section = Section::command_line,
           .commands = look | recover_table | drill | archive_get | annotate | backup | expire |
                       health | hold | info | maintenance | mount | rekey | repair | restore |
                       replica | repo_get | repo_ls | repo_usage | stanza_delete | unhold | verify,
           .minimum = 1,
           .maximum = 256,
           .help_default = "all, or the first one",
           .summary = "key of the repository to use"},
    Option{.name = "repo-cipher-pass",
           .type = Type::string,
           .group = Group::repo,
           .commands = kRepository,
           .required = kRepository,
           .secret = true,
           .depends_on = "repo-cipher-type",
           .depends_values = "aes-256-cbc",
           .aliases = "repo-cipher-pass",
           .summary = "passphrase of the repository"},
    Option{
        .name = "repo-cipher-pass-file",
        .type = Type::path,
        .group = Group::repo,
        .commands = kRepository,
        .depends_on = "repo-cipher-type",
        .depends_values = "aes-256-cbc",
        .summary = "file that holds the passphrase",
        .details = "Read when repo-cipher-pass is not set; a line feed at its end does not count."},
    Option{.name = "repo-cipher-pass-previous",
           .type = Type::string,
           .group = Group::repo,
           .commands = kRepository,
           .secret = true,
           .depends_on = "repo-cipher-type",
           .depends_values = "aes-256-cbc",
           .summary = "passphrase of the repository until rekey has changed it",
           .details =
               "Opens what is not rewritten yet; nothing is written with it. pgBackRest does "
               "not know this option."},
    Option{.name = "repo-cipher-pass-previous-file",
           .type = Type::path,
           .group = Group::repo,
           .commands = kRepository,
           .depends_on = "repo-cipher-type",
           .depends_values = "aes-256-cbc",
           .summary = "file that holds the previous passphrase"},
    Option{.name = "repo-cipher-type",
           .type = Type::string,
           .group = Group::repo,
           .commands = kRepository,
           .default_text = "none",
           .allowed = "none aes-256-cbc",
           .aliases = "repo-cipher-type",
           .summary = "encryption of the repository"},
    Option{.name = "repo-path",
           .type = Type::path,
           .group = Group::repo,
           .commands = kRepository,
           .default_text = "/var/lib/pgbackrest",
           .aliases = "repo-path",
           .summary = "directory, or key prefix, of the repository"},
    Option{.name = "repo-target-time",
           .type = Type::string,
           .group = Group::repo,
           .section = Section::command_line,
           .commands = look | recover_table | drill | archive_get | info | mount | restore |
                       replica | repo_get | repo_ls | verify,
           .depends_on = "repo",
           .summary = "read a versioned object store as of this time"},
    Option{.name = "repo-type",
           .type = Type::string,
           .group = Group::repo,
           .commands = kRepository,
           .default_text = "posix",
           .allowed = "posix cifs s3",
           .aliases = "repo-type",
           .summary = "kind of storage"},
};

}  // namespace chronos::config::options

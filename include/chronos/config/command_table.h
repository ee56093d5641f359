#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "chronos/config/command.h"

namespace chronos::config {

/// A row for each command, with all that is known of it before it runs: the compiler sees whether
/// one is forgotten anywhere (src/cli/dispatch.cpp).
inline constexpr std::array kCommands{
    CommandInfo{.id = CommandId::annotate,
                .name = "annotate",
                .summary = "Add, change or remove annotations of a backup.",
                .log_file = true,
                .changes_repositories = true,
                .details = "Each --annotation=key=value is merged into those the backup has. An "
                           "empty value removes the key."},
    CommandInfo{.id = CommandId::archive_get,
                .name = "archive-get",
                .summary = "Get a WAL segment from the archive.",
                .parameters = true,
                .per_segment = true,
                .details = "Used as restore_command: chronos --stanza=main archive-get %f \"%p\". "
                           "The exit status is 1 only if the repository says that there is no such "
                           "segment; other failures stop the recovery rather than end it early."},
    CommandInfo{.id = CommandId::archive_push,
                .name = "archive-push",
                .summary = "Push a WAL segment to the archive.",
                .parameters = true,
                .per_segment = true,
                .engine_roles = "archive stream",
                .details = "Used as archive_command: chronos --stanza=main archive-push %p. A "
                           "segment is acknowledged only once it is durable in every repository."},
    CommandInfo{.id = CommandId::backup,
                .name = "backup",
                .summary = "Back up a database cluster.",
                .log_file = true,
                .changes_repositories = true,
                .details = "A full backup stands alone. A differential one builds on the last "
                           "full backup, an incremental one on the last backup of any type."},
    CommandInfo{.id = CommandId::check,
                .name = "check",
                .summary = "Check the configuration.",
                .details = "Looks at the settings of the server and the repository, then switches "
                           "WAL once and waits for the segment to arrive."},
    CommandInfo{.id = CommandId::config_list,
                .name = "config-list",
                .summary = "Show every option with its value and where that comes from.",
                .quiet = true,
                .details = "Reads what every other command would read: command line, environment "
                           "and configuration file. Secrets are shown as <redacted>. "
                           "--output=json is for programs."},
    CommandInfo{.id = CommandId::drill,
                .name = "drill",
                .summary = "Prove that a backup can be restored.",
                .log_file = true,
                .details = "Restores a backup into a scratch directory, starts it as a server that "
                           "only the drill can reach, asks it what --assert, --assert-file, "
                           "--amcheck and --exec say, and removes everything again. The report is "
                           "printed and kept in the repository; --list shows former ones. The exit "
                           "status is 0 only if all went well. See docs/drills.md."},
    CommandInfo{.id = CommandId::engine,
                .name = "engine",
                .summary = "Serve the server module.",
                .internal = true,
                .parameters = true,
                .quiet = true,
                .every_option = true},
    CommandInfo{.id = CommandId::expire,
                .name = "expire",
                .summary = "Expire backups that exceed retention.",
                .log_file = true,
                .changes_repositories = true,
                .details = "--dry-run changes nothing and lists every object with what would "
                           "happen to it and why. --set and --oldest expire what they name "
                           "instead of what retention says; a held backup stays in any case."},
    CommandInfo{.id = CommandId::health,
                .name = "health",
                .summary = "Say whether backups are what they should be.",
                .quiet = true,
                .details = "A row per rule: age, duration and outcome of backups, gaps and lag of "
                           "WAL, what would be lost, disk and repository. The exit status is 1 if "
                           "a rule is critical. The server is asked too unless --no-online is "
                           "given or no data directory is configured."},
    CommandInfo{.id = CommandId::help,
                .name = "help",
                .summary = "Get help.",
                .parameters = true,
                .quiet = true,
                .standalone = true,
                .every_option = true},
    CommandInfo{.id = CommandId::hold,
                .name = "hold",
                .summary = "Keep a backup from being expired until it is released.",
                .log_file = true,
                .changes_repositories = true,
                .details = "A held backup stays, with what it depends on and the WAL it needs, "
                           "whatever retention says and whoever asks chronos to expire it. "
                           "pgBackRest's own expire does not know holds. Without --set the holds "
                           "are listed."},
    CommandInfo{.id = CommandId::info,
                .name = "info",
                .summary = "Show the backups of a repository.",
                .quiet = true,
                .details = "Without --stanza every stanza of every repository is listed. --set "
                           "adds the details of one backup, --output=json is for programs."},
    CommandInfo{.id = CommandId::look,
                .name = "look",
                .summary = "Look at the cluster as it was, in a read-only server of the moment.",
                .log_file = true,
                .details = "Starts a server on the backup without restoring it: what it reads is "
                           "fetched then, and verified. It recovers to the target of --type and "
                           "--target, can be reached by a socket that is printed as a line for "
                           "psql, and is gone with this command, which SIGINT or SIGTERM ends. See "
                           "docs/look.md."},
    CommandInfo{.id = CommandId::maintenance,
                .name = "maintenance",
                .summary = "Tidy up what crashed processes left in a repository.",
                .log_file = true,
                .changes_repositories = true,
                .details = "Aborts uploads in parts that were begun longer than --upload-age ago "
                           "and never ended: a bucket charges for them and shows them in no "
                           "listing. Removes scratch directories of drills that were killed, below "
                           "--drill-path. --dry-run only lists all that."},
    CommandInfo{.id = CommandId::mount,
                .name = "mount",
                .summary = "Show a backup as a directory that is usable at once.",
                .log_file = true,
                .details = "The directory of --to has the files of the backup as a restore would "
                           "make them, read-only; what is read is fetched then, and verified "
                           "before it is handed out. What is damaged or cannot be had is an I/O "
                           "error, with the reason in the log. Stays in the foreground, unless "
                           "--background is given, until the directory is unmounted: by "
                           "--finish=PATH, fusermount3 -u or umount, or SIGTERM. See "
                           "docs/mount.md."},
    CommandInfo{.id = CommandId::mounts,
                .name = "mounts",
                .summary = "List the backups that are mounted on this machine.",
                .quiet = true,
                .details = "Also those whose process is gone, which \"chronos mount "
                           "--finish=PATH\" ends. --output=json is for programs."},
    CommandInfo{.id = CommandId::recover_table,
                .name = "recover-table",
                .summary = "Bring tables back from the past into a schema of their own.",
                .parameters = true,
                .log_file = true,
                .details = "Each table is given as [database.]schema.table. A server that nobody "
                           "else reaches recovers from the mounted backup to the target of --type "
                           "and --target; the tables, with their partitions, indexes, constraints "
                           "and sequences, are copied into a new schema of the live database, and "
                           "everything else is removed again. Nothing that is there is changed. "
                           "See docs/recover-table.md."},
    CommandInfo{.id = CommandId::rekey,
                .name = "rekey",
                .summary = "Change the passphrase of a repository.",
                .log_file = true,
                .changes_repositories = true,
                .details = "Encrypts the info files of every stanza with a new passphrase; no "
                           "backup and no WAL is rewritten. See docs/rekey.md for the procedure."},
    CommandInfo{.id = CommandId::repair,
                .name = "repair",
                .summary = "Mend the files that say what is in a repository.",
                .log_file = true,
                .changes_repositories = true,
                .details = "Finds info files and manifests that cannot be read, or do not say what "
                           "is there, and says how they can be mended from each other. Nothing is "
                           "changed without --force, and nothing is deleted with it. The exit "
                           "status is 0 if nothing is left to do, 2 if --force would do something, "
                           "3 if something cannot be mended. See docs/repair.md."},
    CommandInfo{.id = CommandId::replica,
                .name = "replica",
                .summary = "Make a standby of a running primary from the repository.",
                .log_file = true,
                .details = "Restores the cluster as restore --type=standby does, for a server that "
                           "catches up by the archive and then streams from the primary of "
                           "--primary-conninfo. That one is asked first, as the standby will ask "
                           "it: nothing is changed if it does not let a standby in, is another "
                           "cluster, or is not where the archive leads to. With --delta a former "
                           "primary becomes a standby again, whatever it has written since. See "
                           "docs/replica.md."},
    CommandInfo{.id = CommandId::repo_get,
                .name = "repo-get",
                .summary = "Get a file from a repository.",
                .parameters = true,
                .quiet = true},
    CommandInfo{.id = CommandId::repo_ls,
                .name = "repo-ls",
                .summary = "List files in a repository.",
                .parameters = true,
                .quiet = true},
    CommandInfo{.id = CommandId::repo_usage,
                .name = "repo-usage",
                .summary = "Show what a repository stores and how much of it.",
                .quiet = true,
                .details = "A line for each backup and each archive, by storage class where the "
                           "repository has classes. --output=json is for programs."},
    CommandInfo{.id = CommandId::restore,
                .name = "restore",
                .summary = "Restore a database cluster.",
                .log_file = true,
                .details = "Restores the latest backup of the first repository that has one, or "
                           "the one named by --set, and configures the recovery. With --type=time "
                           "or --type=lsn the backup that precedes the target is selected."},
    CommandInfo{.id = CommandId::serve,
                .name = "serve",
                .summary = "Serve health, metrics and a dashboard over HTTP.",
                .quiet = true,
                .details = "Needs the repository and the configuration, but no server. Paths: / "
                           "for people, /health, /healthz, /readyz, /metrics (Prometheus) and "
                           "/api/status.json. Ends with SIGTERM."},
    CommandInfo{.id = CommandId::stanza_claim,
                .name = "stanza-claim",
                .summary = "Make this server the one that the stanza belongs to.",
                .log_file = true,
                .changes_repositories = true,
                .details = "A stanza takes WAL and backups of one server. A copy of its data "
                           "directory, elsewhere and under the same configuration, is refused "
                           "while the original is alive. After a move this ends the protection "
                           "of the former server, which is refused from then on."},
    CommandInfo{.id = CommandId::stanza_create,
                .name = "stanza-create",
                .summary = "Create the stanza in every repository.",
                .log_file = true,
                .changes_repositories = true},
    CommandInfo{.id = CommandId::stanza_delete,
                .name = "stanza-delete",
                .summary = "Delete a stanza.",
                .log_file = true,
                .changes_repositories = true},
    CommandInfo{.id = CommandId::stanza_upgrade,
                .name = "stanza-upgrade",
                .summary = "Tell the stanza of a new major version of the cluster.",
                .log_file = true,
                .changes_repositories = true},
    CommandInfo{.id = CommandId::start,
                .name = "start",
                .summary = "Allow processes to run again.",
                .log_file = true},
    CommandInfo{.id = CommandId::stop,
                .name = "stop",
                .summary = "Keep processes from running.",
                .log_file = true},
    CommandInfo{.id = CommandId::unhold,
                .name = "unhold",
                .summary = "Release a held backup.",
                .log_file = true,
                .changes_repositories = true},
    CommandInfo{.id = CommandId::verify,
                .name = "verify",
                .summary = "Verify the contents of a repository.",
                .log_file = true,
                .details = "Reads every stored file and every WAL segment and proves that each "
                           "backup can be restored: checksums, sizes, references, block maps, and "
                           "WAL without a hole from each backup to the end of the archive. The "
                           "exit status is 28 if anything is wrong. The next run reads what is "
                           "new; --full reads everything. --output=text prints a summary as "
                           "pgBackRest does and each finding, --output=json is for programs. See "
                           "docs/verify.md."},
    CommandInfo{.id = CommandId::version,
                .name = "version",
                .summary = "Get the version.",
                .quiet = true,
                .standalone = true},
};

/// Nothing is searched for by id: each row is where its id says.
constexpr bool stand_in_the_order_of_their_ids() {
    for (std::size_t i = 0; i < kCommands.size(); ++i)
        if (static_cast<std::size_t>(kCommands[i].id) != i) return false;
    return kCommands.size() == kCommandCount;
}
static_assert(stand_in_the_order_of_their_ids());

/// The command that an engine of that role works for, by whose sections and defaults, if there is
/// one. A role is called as its command, or as the row says.
constexpr std::optional<CommandId> command_of_role(std::string_view role) {
    for (const CommandInfo& info : kCommands)
        for (std::string_view words = info.engine_roles; !words.empty();) {
            const std::size_t end = words.find(' ');
            if (words.substr(0, end) == role) return info.id;
            words = end == std::string_view::npos ? "" : words.substr(end + 1);
        }
    for (const CommandInfo& info : kCommands)
        if (info.name == role) return info.id;
    return std::nullopt;
}

}  // namespace chronos::config

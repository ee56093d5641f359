#pragma once

namespace chronos::extension {

/// What a job can be: a row of a table, and nothing else knows the types apart.
struct JobType {
    const char* name;                    ///< as in SQL
    const char* title;                   ///< in messages: "full backup"
    const char* command;                 ///< of the command line
    const char* fixed_option = nullptr;  ///< nullptr: none
    /// Options that may be asked for in SQL, up to a nullptr. No path, no address, no secret: who
    /// may start jobs is not therefore the operating system's `postgres`.
    const char* options[12] = {};
    /// The SQL function that such jobs are asked for by, as it says who may: start_job() and
    /// schedules know none of them. nullptr: these are enough.
    const char* function = nullptr;
    /// The engine role "backup", whose statements run in the worker's session. All others run in
    /// the role "job", which needs no server.
    bool in_session = false;
    /// Takes locks of the repository: such jobs run one after the other.
    bool exclusive = false;
    /// Connects to this server like any client, and writes into it: it is told where that is, and
    /// has the time to take back what it has made.
    bool at_home = false;
    /// The command knows --pg1-path, and --process-max.
    bool takes_pg_path = false;
    bool takes_process_max = false;
};

constexpr JobType table_job(const char* name, const char* title, const char* function) {
    return {.name = name,
            .title = title,
            .command = "recover-table",
            .function = function,
            .at_home = true,
            .takes_pg_path = true,
            .takes_process_max = true};
}

constexpr JobType backup_job(const char* name, const char* title, const char* fixed_option) {
    return {.name = name,
            .title = title,
            .command = "backup",
            .fixed_option = fixed_option,
            .options = {"annotation", "delta", "exclude", "expire-auto", "process-max", "repo",
                        "resume", "start-fast"},
            .in_session = true,
            .exclusive = true,
            .takes_pg_path = true,
            .takes_process_max = true};
}

/// In the order of what backups cover. What is said of commands and options here is compared with
/// their table by test/unit/config/job_types_test.cpp: this header is of no world, and includes
/// nothing.
inline constexpr JobType kJobTypes[] = {
    backup_job("full", "full backup", "--type=full"),
    backup_job("diff", "diff backup", "--type=diff"),
    backup_job("incr", "incr backup", "--type=incr"),
    {.name = "verify",
     .title = "verify",
     .command = "verify",
     .options = {"full", "process-max", "rate-limit", "repo", "set"},
     .takes_process_max = true},
    {.name = "expire",
     .title = "expire",
     .command = "expire",
     .options = {"dry-run", "process-max", "repo", "set"},
     .exclusive = true,
     .takes_pg_path = true,
     .takes_process_max = true},
    {.name = "maintenance",
     .title = "maintenance",
     .command = "maintenance",
     .options = {"dry-run", "repo", "upload-age"}},
    {.name = "drill",
     .title = "drill",
     .command = "drill",
     .options = {"amcheck", "assert", "instant", "process-max", "reason", "repo", "set", "target",
                 "target-timeline", "type"},
     .takes_pg_path = true,
     .takes_process_max = true},
    table_job("recover_table", "recovery of tables", "chronos.recover_table()"),
    table_job("find_drop", "search for a drop", "chronos.find_drop()"),
};

}  // namespace chronos::extension

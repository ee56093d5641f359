#pragma once

namespace chronos::extension {

/// What a job can be: a row of a table, and nothing else knows the types apart.
struct JobType {
    const char* name;          ///< as in SQL
    const char* title;         ///< in messages: "full backup"
    const char* command;       ///< of the command line
    const char* fixed_option;  ///< nullptr: none
    /// Options that may be asked for in SQL, "|" before, between and after them. No path, no
    /// address, no secret: who may start jobs is not therefore the operating system's `postgres`.
    const char* options;
    /// The engine role "backup", whose statements run in the worker's session. All others run in
    /// the role "job", which needs no server.
    bool in_session;
    /// Takes locks of the repository: such jobs run one after the other.
    bool exclusive;
    /// The command knows --pg1-path, and --process-max.
    bool takes_pg_path;
    bool takes_process_max;
};

/// nullptr if there is none of that name.
const JobType* find_job_type(const char* name);
/// "full, diff, incr, ...", or only those that are backups. In static memory, until the next call.
const char* job_type_names(bool backups_only);
/// True if a job of the first type does what one of the second is there for: a full backup covers
/// every backup, a diff an incr, and each type itself.
bool job_type_covers(const JobType* done, const JobType* wanted);
bool job_type_takes(const JobType* type, const char* option);

}  // namespace chronos::extension

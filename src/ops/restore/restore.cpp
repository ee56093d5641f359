#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/ops/restore/restore.h"
#include "chronos/os/durable.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/local/spool.h"
#include "ops/restore/copy.h"
#include "ops/restore/destination.h"
#include "ops/restore/left_out_pages.h"
#include "ops/restore/mapping.h"
#include "ops/restore/parameters.h"
#include "ops/restore/recovery.h"
#include "ops/restore/save_current.h"
#include "ops/restore/selective.h"
#include "ops/restore/settings.h"
#include "ops/restore/start_hint.h"
#include "ops/restore/target_file.h"
#include "ops/restore/timeline.h"

namespace chronos::ops::restore {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kControlSizeMax = 1u << 16;

std::string marker_path(const RestorePlan& plan) {
    return data_directory(plan.manifest) + "/backup.manifest";
}

Result<std::vector<std::unique_ptr<repo::Lock>>> take_locks(const RestoreRequest& request) {
    std::vector<std::unique_ptr<repo::Lock>> locks;
    for (const repo::Repository& repository : request.repositories)
        locks.push_back(CHRONOS_TRY(
            repo::Lock::acquire({request.lock_path, request.stanza, repo::LockType::restore,
                                 repository.key, request.exec_id})));
    return locks;
}

/// Marks the directory as one that --delta may clean if this restore does not come to its end.
Result<> write_marker(const RestorePlan& plan) {
    repo::Manifest manifest = plan.manifest;
    manifest.cipher_pass.clear();  // it would lie in the data directory in clear text
    return TargetFile::replace_with_text(
        {.path = marker_path(plan), .attributes = {0600, unix_now(), {}}},
        repo::format_manifest(manifest));
}

/// Makes a cluster that starts only with the backup_label of an online backup: else it would take
/// the checkpoint that pg_control happens to name, and lose what the WAL adds.
Result<> invalidate_control_file(const RestorePlan& plan, const Ownership& ownership) {
    const repo::ManifestFile* file = plan.manifest.find_file(kControlFile);
    if (file == nullptr || !plan.manifest.options.online) return {};
    const std::string path = path_of(plan.manifest, kControlFile) + kControlTemporarySuffix;
    std::string content = CHRONOS_TRY(os::read_small(path, kControlSizeMax));
    content = CHRONOS_TRY_DOING(pgdata::invalidate_checkpoint(std::move(content)),
                                "prepare '" + path + "'");
    return TargetFile::replace_with_text(
        {.path = path,
         .attributes = {file->mode, file->timestamp, ownership.owner_of(file->user, file->group)},
         .sync = true},
        content);
}

Result<> publish_control_file(const RestoreRequest& request, const RestorePlan& plan) {
    if (plan.manifest.find_file(kControlFile) == nullptr) return {};
    log_info(
        "restore global/pg_control (performed last to ensure aborted restores cannot be "
        "started)");
    const std::string path = path_of(plan.manifest, kControlFile);
    CHRONOS_TRY(refuse_running(data_directory(plan.manifest)));
    const std::string published =
        request.left_in_backup == nullptr
            ? path
            : os::parent_directory(path) + "/" + request.left_in_backup->control_name();
    return os::publish(path + kControlTemporarySuffix, published);
}

std::vector<std::string> roots_of(const RestorePlan& plan) {
    std::vector<std::string> roots;
    for (const Destination& destination : destinations_of(plan.manifest))
        roots.push_back(destination.path);
    return roots;
}

std::vector<std::string> directories_of(const RestorePlan& plan) {
    std::vector<std::string> directories = roots_of(plan);
    for (const repo::ManifestPath& path : plan.manifest.paths)
        if (path.name != "pg_tblspc") directories.push_back(path_of(plan.manifest, path.name));
    return directories;
}

/// Whether one call will make all that is written from now on durable. Nothing of a restore is of
/// use before all of it is there, and what makes it usable - the rename of global/pg_control -
/// comes after that call: a power failure leaves a directory that cannot be started, or a whole
/// cluster.
Result<bool> watch_all(os::FileSystems& file_systems, const RestorePlan& plan) {
    bool covered = true;
    for (const std::string& root : roots_of(plan))
        covered = CHRONOS_TRY(file_systems.watch(root)) && covered;
    return covered;
}

/// Where files were synced one by one, their names are left to do.
Result<> sync_names(const RestorePlan& plan) {
    for (const std::string& directory : directories_of(plan))
        CHRONOS_TRY(os::sync_directory(directory));
    return {};
}

/// What the user should know now that the restore is done.
std::string what_is_next(const RestoreRequest& request, const RestorePlan& plan) {
    const std::string& directory = data_directory(plan.manifest);
    std::string text = start_hint(directory, directory + "/" + kOutsideDirectory, plan.outside,
                                  pgdata::local_config_source());
    const bool pauses = request.target_action == TargetAction::pause &&
                        (plan.type == RecoveryType::immediate || plan.type == RecoveryType::time ||
                         plan.type == RecoveryType::xid || plan.type == RecoveryType::lsn ||
                         plan.type == RecoveryType::name);
    if (pauses)
        text +=
            "once started the server stays read-only at the target: look at the data, then "
            "run 'select pg_wal_replay_resume()' to open it (--target-action=promote opens it "
            "without asking); a table that is dropped right behind the target is locked until "
            "then\n";
    return text;
}

/// A server that was started since the plan was made must not find itself in a directory of another
/// name.
Result<> move_current_aside(const RestoreRequest& request, const RestorePlan& plan) {
    const std::string& directory = data_directory(plan.manifest);
    StartBarrier barrier = CHRONOS_TRY(StartBarrier::close(directory));
    std::vector<std::string> saved;
    std::vector<Destination> destinations = destinations_of(plan.manifest);
    for (Destination& other : other_tablespaces(plan.manifest, directory))
        destinations.push_back(std::move(other));
    Result<> moved = save_current(destinations, request.now != 0 ? request.now : unix_now(), saved);
    // The data directory is the first that is moved.
    const auto opened = barrier.open(saved.empty() ? directory : saved.front());
    return moved ? opened : moved;
}

Result<> refuse_problems(const RestorePlan& plan) {
    for (const RestoreProblem& problem : plan.problems) {
        if (problem.certain) return problem.error;
        log_warn(problem.error.message());
    }
    return {};
}

/// What was read beside the copying. What it adds to the plan nobody has seen yet.
Result<> add_what_the_wal_needs(const RestoreRequest& request, WalReading& reading,
                                const Cancellation& cancel, RestorePlan& plan) {
    const std::size_t said = plan.warnings.size();
    const auto before = plan.other_settings;
    const auto required = plan.required_parameters.values;
    if (const auto barrier = reading.finish(cancel, plan)) {
        const bool ends_before =
            barrier->begin >= plan.manifest.lsn_stop.value_or(Lsn{}) &&
            (plan.type == RecoveryType::immediate ||
             (plan.type == RecoveryType::lsn &&
              Lsn::parse(request.target).value_or(Lsn{}) <= barrier->last_before()));
        plan.no_reading_ahead = plan.no_reading_ahead || ends_before;
        add_barrier(*barrier, ends_before, plan);
    }
    // The configuration is in the repository: it is read once more only for a reason.
    if (plan.required_parameters.values != required) plan_parameters(request, plan);
    for (std::size_t i = said; i < plan.warnings.size(); ++i) log_warn(plan.warnings[i]);
    for (const auto& [name, value] : plan.other_settings)
        if (const auto known = before.find(name); known == before.end() || known->second != value)
            log_info("the WAL was written with a higher " + name + ": recovery gets " + value);
    // There was none before the copying that would have been certain.
    for (const RestoreProblem& problem : plan.problems)
        if (problem.certain) return problem.error;
    return {};
}

}  // namespace

Result<> prepare_recovery(const RestoreRequest& request, RestorePlan& plan,
                          const Cancellation& cancel) {
    for (const std::string& note : plan.notes) log_info(note);
    for (const std::string& warning : plan.warnings) log_warn(warning);
    CHRONOS_TRY(refuse_problems(plan));
    CHRONOS_TRY(repo::remove_spools({request.spool_path, request.stanza, request.pg_path}));
    if (const auto reading = WalReading::start(plan))
        CHRONOS_TRY(add_what_the_wal_needs(request, *reading, cancel, plan));
    return write_recovery_files(request, plan, Ownership(plan.manifest, request.pg_path),
                                /*sync=*/false);
}

Result<RestoreResult> run_restore(const RestoreRequest& request, RestorePlan plan,
                                  const Cancellation& cancel, const ProgressReceiver& progress) {
    for (const std::string& note : plan.notes) log_info(note);
    for (const std::string& warning : plan.warnings) log_warn(warning);
    CHRONOS_TRY(refuse_problems(plan));
    const auto locks = CHRONOS_TRY(take_locks(request));
    CHRONOS_TRY(repo::remove_spools({request.spool_path, request.stanza, request.pg_path}));
    const Ownership ownership(plan.manifest, request.pg_path);
    CopyRequest copy;
    copy.request = &request;
    copy.plan = &plan;
    copy.ownership = &ownership;
    copy.zeroed_databases = CHRONOS_TRY(databases_to_zero(request, plan.manifest));
    if (copy.zeroed_databases.empty() &&
        !(request.db_include.empty() && request.db_exclude.empty()))
        log_info("nothing to filter - all user databases have been selected");

    CHRONOS_TRY(cancel.check());
    if (plan.save_current) CHRONOS_TRY(move_current_aside(request, plan));
    CHRONOS_TRY(prepare_destinations(plan, ownership));
    os::FileSystems file_systems;
    const bool covered = CHRONOS_TRY(watch_all(file_systems, plan));
    CHRONOS_TRY(write_marker(plan));
    copy.sync_files = request.durable && !covered;
    copy.report = [&](const Progress& now) {
        for (const auto& lock : locks) lock->report_progress(now.bytes_total, now.bytes_done);
        if (progress) progress(now);
    };
    const auto reading = WalReading::start(plan);
    const CopyResult copied = CHRONOS_TRY(copy_files(copy, cancel));
    if (reading) CHRONOS_TRY(add_what_the_wal_needs(request, *reading, cancel, plan));
    CHRONOS_TRY(make_pages_left_out(request, plan, copy.zeroed_databases, copy.sync_files, cancel,
                                    progress));
    CHRONOS_TRY(write_recovery_files(request, plan, ownership, copy.sync_files));
    CHRONOS_TRY(check_settings(request, plan));
    CHRONOS_TRY(invalidate_control_file(plan, ownership));
    if (request.left_in_backup != nullptr)
        CHRONOS_TRY(request.left_in_backup->all_made(data_directory(plan.manifest),
                                                     is_without_prefetch_for_now(request, plan)));
    CHRONOS_TRY(cancel.check());
    if (unlink(marker_path(plan).c_str()) != 0)
        return system_error(ErrorKind::file_remove, "unable to remove '" + marker_path(plan) + "'",
                            errno);
    if (progress)
        progress(
            {"sync", copied.size_bytes, copied.size_bytes, copied.file_count, copied.file_count});
    if (request.durable) CHRONOS_TRY(covered ? file_systems.sync() : sync_names(plan));
    CHRONOS_TRY(publish_control_file(request, plan));
    note_restore(request, plan);
    log_info("restore size = " + format_size(copied.size_bytes) +
             ", file total = " + std::to_string(copied.file_count));
    return RestoreResult{copied.size_bytes, copied.file_count, what_is_next(request, plan)};
}

}  // namespace chronos::ops::restore

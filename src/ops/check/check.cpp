#include "chronos/ops/check/check.h"

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/db/config_places.h"
#include "chronos/db/server.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/info.h"
#include "chronos/repo/side/outside_config.h"
#include "chronos/repo/side/verify_result.h"
#include "chronos/repo/stanza.h"
#include "chronos/repo/wal_archive.h"
#include "ops/check/storage.h"

namespace chronos::ops::check {
namespace {

constexpr const char* kModule = "chronos_backup";

/// The tests of one run and what they have found so far.
class Run {
public:
    Run(const CheckRequest& request, db::Connection& connection, const ProgressReceiver& progress,
        const Cancellation& cancel)
        : request_(request), connection_(connection), progress_(progress), cancel_(cancel) {}

    Result<std::vector<CheckFinding>> all();

private:
    Result<bool> test_role();
    void test_cluster();
    void test_settings();
    void test_configuration();
    void test_archive_settings();
    void test_module_loaded();
    void test_repository(const repo::Repository& repository);
    void test_backups(const std::string& test, const repo::BackupInfo& info);
    void test_verified(const repo::Repository& repository, const std::string& pass);
    Result<> test_wal();
    Result<> test_segment(const repo::Repository& repository, const std::string& segment);

    void ok(std::string test, std::string message) {
        findings_.push_back({std::move(test), CheckStatus::ok, std::move(message), "", {}});
    }
    void note(std::string test, std::string message, std::string hint) {
        findings_.push_back(
            {std::move(test), CheckStatus::note, std::move(message), std::move(hint), {}});
    }
    void fail(std::string test, const Error& error) {
        findings_.push_back(
            {std::move(test), CheckStatus::failure, error.message(), error.hint(), error.kind()});
    }

    const CheckRequest& request_;
    db::Connection& connection_;
    const ProgressReceiver& progress_;
    const Cancellation& cancel_;
    db::ServerFacts facts_;
    std::optional<pgdata::ControlFile> control_;
    std::vector<repo::Repository> sound_;  ///< repositories whose info files match the cluster
    bool archiving_ = false;
    std::vector<CheckFinding> findings_;
};

std::string repo_name(const repo::Repository& repository) {
    return "repo" + std::to_string(repository.key);
}

bool same_directory(const std::string& a, const std::string& b) {
    std::error_code code;
    return std::filesystem::equivalent(a, b, code) && !code;
}

Result<std::vector<CheckFinding>> Run::all() {
    const auto phase = [&](const char* name) {
        if (progress_) progress_(Progress{name});
    };
    phase("server");
    const bool may_ask = CHRONOS_TRY(test_role());
    auto facts = db::read_server_facts(connection_);
    // The reason stands in the findings already.
    if (!facts && !may_ask && facts.error().kind() == ErrorKind::db_query)
        return std::move(findings_);
    facts_ = CHRONOS_TRY(std::move(facts));
    test_cluster();
    test_settings();
    test_configuration();
    test_archive_settings();
    test_module_loaded();
    phase("repository");
    for (const repo::Repository& repository : request_.repositories) {
        CHRONOS_TRY(cancel_.check());
        std::ranges::move(check_storage(repository, request_.stanza),
                          std::back_inserter(findings_));
        if (control_) test_repository(repository);
    }
    phase("wal");
    CHRONOS_TRY(test_wal());
    return std::move(findings_);
}

/// Of the role that the command connects as. False if it lacks something.
Result<bool> Run::test_role() {
    const std::string role = request_.role.empty() ? "this role" : "role '" + request_.role + "'";
    const auto missing = db::missing_grants(connection_, request_.role);
    // What cannot be looked at is no finding: what follows will tell.
    if (!missing && missing.error().kind() == ErrorKind::db_query) return true;
    if (!missing) return missing.error();
    if (missing->empty()) {
        ok("role", role + " may do what backups and checks need");
        return true;
    }
    std::string list;
    for (const std::string& grant : *missing) list += (list.empty() ? "" : ", ") + grant;
    Error error = Error(ErrorKind::db_query, role + " lacks what backups and checks need: " + list)
                      .with_hint(
                          "A superuser can GRANT each of these to it, in the database that "
                          "the command connects to; docs/sql-api.md has the statements.");
    fail("role", error);
    return false;
}

void Run::test_cluster() {
    const std::string& directory =
        request_.pgdata.empty() ? facts_.data_directory : request_.pgdata;
    const std::string way_out =
        "If it is that server's data that is to be backed up: pg1-path=" + facts_.data_directory +
        " in the configuration.";
    Result<pgdata::ControlFile> control = pgdata::read_control_file(directory);
    if (!control) return fail("cluster", Error(control.error()).with_hint(way_out));
    if (control->system_id != facts_.system_id || control->major() != facts_.major() ||
        !same_directory(directory, facts_.data_directory))
        return fail("cluster",
                    Error(ErrorKind::db_mismatch, "the server runs in '" + facts_.data_directory +
                                                      "', not in '" + directory +
                                                      "' or not the same cluster")
                        .with_hint("The pg1-path and pg1-port settings likely reference different"
                                   " clusters.")
                        .with_hint(way_out));
    control_ = *control;
    ok("cluster", "PostgreSQL " + control->version + ", system-id " +
                      std::to_string(control->system_id) + ", in '" + facts_.data_directory + "'");
}

void Run::test_settings() {
    if (facts_.wal_level == "minimal")
        fail("wal_level", Error(ErrorKind::archive_disabled,
                                "wal_level is minimal: such WAL cannot be used for recovery")
                              .with_hint("Set wal_level = replica and restart the server."));
    else
        ok("wal_level", facts_.wal_level);
    if (facts_.max_wal_senders == 0)
        note("max_wal_senders", "max_wal_senders is 0: no standby can follow this server",
             "Backups do not need it.");
    if (facts_.archive_timeout_s == 0)
        note("archive_timeout",
             "archive_timeout is 0: on a quiet server a segment may wait for hours before it is"
             " archived",
             "Set archive_timeout = '1min' or what loss of data you can bear.");
    else
        ok("archive_timeout", std::to_string(facts_.archive_timeout_s) + "s");
}

/// Where a server has its configuration elsewhere, its files alone do not start it again.
void Run::test_configuration() {
    const auto places = db::config_places(connection_);
    if (!places) return;
    if (places->config_file.empty())
        return note("configuration",
                    "this role may not see where the configuration of the server is",
                    "Grant it pg_read_all_settings: what lies outside of the data directory is kept"
                    " beside each backup.");
    std::vector<std::string> paths;
    const repo::OutsideConfig config =
        repo::find_outside_config(*places, facts_.data_directory, paths);
    if (!paths.empty())
        note("configuration",
             "configuration outside of the data directory cannot be read: " + join(paths, ", "),
             "It is in no backup. Make it readable for the user who takes backups.");
    if (config.empty()) return;
    std::vector<std::string> kept = config.directories;
    for (const repo::OutsideFile& file : config.files) kept.push_back(file.path);
    note("configuration",
         "the configuration lies outside of the data directory: " + join(kept, ", "),
         "A copy is kept beside each backup; a restore puts it into <data directory>/chronos_config"
         " and prints the command that starts the server with it.");
}

void Run::test_archive_settings() {
    if (!request_.archive_check)
        return note("archiving", "not checked as archive-check is off", "");
    const Result<> archiving = db::check_archiving(facts_, request_.archive_mode_check);
    if (!archiving) return fail("archiving", archiving.error());
    archiving_ = true;
    ok("archiving", facts_.archive_library.empty()
                        ? "archive_command = '" + facts_.archive_command + "'"
                        : "archive_library = '" + facts_.archive_library + "'");
}

// The archiver loads archive_library by itself, so archiving works without the preload; the jobs,
// the schedule and the views do not.
void Run::test_module_loaded() {
    const bool archives = facts_.archive_module() == kModule;
    const bool preloaded = facts_.shared_preload_libraries.find(kModule) != std::string::npos;
    if (archives && !preloaded)
        note("shared_preload_libraries",
             "archive_library is chronos_backup, but shared_preload_libraries does not name it",
             "Add chronos_backup to shared_preload_libraries for backups from SQL, and restart.");
    else if (preloaded && !archives)
        note("archive_library",
             "shared_preload_libraries names chronos_backup, but archive_library does not",
             "Set archive_library = 'chronos_backup' to archive without a process per segment.");
    else if (preloaded)
        ok("module", "shared_preload_libraries and archive_library name chronos_backup");
}

void Run::test_repository(const repo::Repository& repository) {
    const std::string test = repo_name(repository) + " info";
    log_info("check " + repo_name(repository) + " configuration (primary)");
    const Result<> valid =
        repo::validate_stanza(repository, request_.stanza, repo::ClusterIdentity::of(*control_));
    if (!valid) return fail(test, valid.error());
    const Result<repo::BackupInfo> backup = repo::load_backup_info(repository, request_.stanza);
    if (!backup) return fail(test, backup.error());
    sound_.push_back(repository);
    ok(test, "stanza '" + request_.stanza + "' of this cluster in '" +
                 repository.storage->describe("") + "'");
    test_backups(repo_name(repository) + " backups", *backup);
    if (!backup->backups.empty()) test_verified(repository, backup->cipher_pass);
}

void Run::test_backups(const std::string& test, const repo::BackupInfo& info) {
    std::size_t full = 0;
    for (const repo::BackupEntry& backup : info.backups)
        full += backup.type == repo::BackupType::full && backup.history_id == info.current_id;
    if (full == 0)
        note(test, "no full backup yet: archived WAL alone restores nothing",
             "Take one: chronos backup --type=full.");
    else if (info.backups.back().error.value_or(false))
        note(test,
             "the latest backup, " + info.backups.back().label +
                 ", has pages that were damaged in the cluster: no restore takes it by default",
             "'info --set=" + info.backups.back().label + "' names the files.");
    else
        ok(test,
           std::to_string(info.backups.size()) + " backups, latest " + info.backups.back().label);
}

// No test of this command reads a backup: that they can be restored is what verify found.
void Run::test_verified(const repo::Repository& repository, const std::string& pass) {
    const std::string test = repo_name(repository) + " verify";
    const auto unfinished = repo::load_unfinished_verify(repository, request_.stanza, pass);
    if (unfinished && *unfinished)
        note(test,
             "the last verify, at " + format_local_time((*unfinished)->finished) +
                 ", could not come to its end: " + (*unfinished)->reason,
             "Run verify once that is mended.");
    const auto last = repo::load_verify_summary(repository, request_.stanza, pass);
    if (!last) return note(test, last.error().message(), "");
    if (!*last)
        return note(test, "the repository was never verified",
                    "Do it: chronos verify, or chronos.verify() in SQL.");
    const std::string when = " when it was verified at " + format_local_time((*last)->finished);
    if ((*last)->failures == 0)
        return ok(test, "all of " + std::to_string((*last)->backups) + " backups and " +
                            std::to_string((*last)->wal_segments) + " WAL segments were sound" +
                            when);
    fail(test, Error(ErrorKind::file_invalid, "the repository had " +
                                                  std::to_string((*last)->failures) + " problems" +
                                                  when + ", the first: " + (*last)->first_failure)
                   .with_hint("Run verify to see all of them."));
}

Result<> Run::test_wal() {
    if (!archiving_ || !control_ || sound_.empty()) return {};
    if (facts_.in_recovery) {
        note("wal", "switch wal not performed because this is a standby", "");
        return {};
    }
    const Result<Lsn> end = db::switch_wal(connection_, "chronos archive check");
    if (!end) {
        fail("wal", end.error());
        return {};
    }
    // Not the one of pg_control, which follows a promotion only at the next checkpoint.
    const Result<std::string> current = db::current_wal_file(connection_);
    if (!current) {
        fail("wal", current.error());
        return {};
    }
    const Timeline timeline = pgdata::is_wal_segment(*current)
                                  ? pgdata::timeline_of_segment(*current)
                                  : control_->timeline;
    const std::string segment =
        pgdata::wal_segment_name_before(timeline, *end, control_->wal_segment_size);
    for (const repo::Repository& repository : sound_)
        CHRONOS_TRY(test_segment(repository, segment));
    return {};
}

Result<> Run::test_segment(const repo::Repository& repository, const std::string& segment) {
    const std::string test = repo_name(repository) + " wal";
    log_info("check " + repo_name(repository) + " archive for WAL (primary)");
    const repo::ArchiveInfo info =
        CHRONOS_TRY(repo::load_archive_info(repository, request_.stanza));
    const Result<repo::ArchivedSegment> found =
        repo::wait_for_archived_segment(repository, request_.stanza, info.current().archive_id(),
                                        segment, request_.archive_timeout, cancel_);
    CHRONOS_TRY(cancel_.check());
    if (!found)
        fail(test, found.error());
    else
        ok(test, "WAL segment " + segment + " successfully archived to '" +
                     repository.storage->describe(found->object) + "' on " + repo_name(repository));
    return {};
}

}  // namespace

Result<std::vector<CheckFinding>> run_check(const CheckRequest& request, db::Connection& connection,
                                            const ProgressReceiver& progress,
                                            const Cancellation& cancel) {
    return Run(request, connection, progress, cancel).all();
}

Result<> check_outcome(const std::vector<CheckFinding>& findings) {
    for (const CheckFinding& finding : findings) {
        if (finding.ok()) continue;
        Error error(finding.kind.value_or(ErrorKind::internal),
                    finding.test + ": " + finding.message);
        if (finding.hint.empty()) return error;
        return std::move(error).with_hint(finding.hint);
    }
    return {};
}

}  // namespace chronos::ops::check

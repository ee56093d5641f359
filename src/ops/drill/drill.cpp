#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "chronos/base/log.h"
#include "chronos/pgdata/data_directory.h"
#include "ops/drill/checks.h"
#include "ops/drill/scratch.h"
#include "ops/drill/server.h"
#include "ops/drill/stopwatch.h"

namespace chronos::ops::drill {
namespace {

/// `what` is the command: "drill", "look".
Result<> refuse_root(const std::string& what) {
    if (geteuid() != 0) return {};
    return Error(ErrorKind::access,
                 "chronos " + what + " cannot run as root, because PostgreSQL does not")
        .with_hint(
            "Run it as the owner of the data directory, e.g. runuser -u postgres -- chronos " +
            what + ".");
}

/// The kernel takes paths of sockets of about a hundred bytes only.
Result<> check_socket_path(const Scratch& scratch) {
    const std::string longest = scratch.socket() + "/.s.PGSQL.65535";
    if (longest.size() < sizeof(sockaddr_un::sun_path)) return {};
    return Error(ErrorKind::option_invalid_value,
                 "'" + scratch.path + "' is too long for a path with a socket below it")
        .with_hint("--to or drill-path may name a directory with a shorter path.");
}

/// What libpq would take from the environment leads to the original server, not to this one.
void forget_server_of_environment() {
    for (const char* name : {"PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE",
                             "PGSERVICEFILE", "PGOPTIONS", "PGSSLMODE", "PGTARGETSESSIONATTRS",
                             "PGREQUIREAUTH", "PGCHANNELBINDING", "PGGSSENCMODE", "PGREQUIREPEER"})
        unsetenv(name);
}

/// A verdict on the backup, unless the drill itself was stopped.
Result<> fail(DrillReport& report, const char* phase, Error error) {
    if (error.kind() == ErrorKind::cancelled) return error;
    report.failed_phase = phase;
    report.failure = error.message();
    report.failure_hint = error.hint();
    report.failure_code = static_cast<int>(error.kind());
    return {};
}

void judge_checks(DrillReport& report) {
    std::size_t failed = 0;
    for (const CheckOutcome& check : report.checks) failed += check.passed ? 0 : 1;
    report.passed = failed == 0;
    if (report.passed) return;
    report.failed_phase = "check";
    report.failure =
        std::to_string(failed) + " of " + std::to_string(report.checks.size()) + " checks failed";
    report.failure_code = static_cast<int>(ErrorKind::runtime);
}

class Drill {
public:
    Drill(const DrillRequest& request, const ProgressReceiver& progress, const Cancellation& cancel)
        : request_(request), progress_(progress), cancel_(cancel) {
        report_.stanza = request.stanza;
        report_.started = unix_now();
    }

    Result<DrillReport> run(ScratchDirectory& directory, const Restore& restore) {
        const Scratch& scratch = directory.scratch();
        const Stopwatch restoring;
        const Result<std::shared_ptr<void>> restored = restore(scratch, report_.backup);
        report_.restore_seconds = restoring.seconds();
        if (restored)
            CHRONOS_TRY(serve(scratch));
        else
            CHRONOS_TRY(fail(report_, "restore", restored.error()));
        report_.finished = unix_now();
        // What could not be restored is nothing to keep.
        if (request_.keep && restored) {
            CHRONOS_TRY(directory.keep());
            report_.kept_path = scratch.path;
        }
        return std::move(report_);
    }

private:
    Result<> serve(const Scratch& scratch) {
        const Stopwatch recovering;
        auto started = DrillServer::start(request_, scratch, report_.backup);
        if (!started) return fail(report_, "start", started.error());
        DrillServer& server = *started;
        const Result<> recovered = server.wait(progress_, cancel_);
        report_.recovery_seconds = recovering.seconds();
        if (request_.keep) report_.start_command = server.start_command();
        if (!recovered) return fail(report_, "recover", recovered.error());
        const Stopwatch checking;
        Result<> checked = read_facts(request_, server, cancel_, report_);
        if (checked) checked = run_checks(request_, server, scratch, progress_, cancel_, report_);
        report_.check_seconds = checking.seconds();
        server.stop();
        if (!checked) return fail(report_, "check", checked.error());
        judge_checks(report_);
        return {};
    }

    const DrillRequest& request_;
    const ProgressReceiver& progress_;
    const Cancellation& cancel_;
    DrillReport report_;
};

/// What is done before there is a directory.
Result<> prepare(const DrillRequest& request, const std::string& what) {
    CHRONOS_TRY(refuse_root(what));
    CHRONOS_TRY(check_settings(request));
    CHRONOS_TRY(check_place(request));
    if (const auto swept = sweep(request.scratch_parent, /*dry_run=*/false); !swept)
        log_warn(swept.error().text());
    return {};
}

/// Whether it is still on its way to the target.
Result<bool> is_on_its_way(db::Connection& connection) {
    const db::Rows rows =
        CHRONOS_TRY(connection.query("SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN "
                                     "NOT pg_catalog.pg_is_wal_replay_paused() ELSE false END"));
    return rows.at(0).at(0) == "t";
}

/// Of transactions that the target cuts off: who drops a table has it to himself, and whom he keeps
/// waiting until his commit would wait for ever where recovery stands still in front of that.
Result<bool> has_locks_of_the_past(db::Connection& connection) {
    const db::Rows rows = CHRONOS_TRY(connection.query(
        "SELECT count(*) > 0 FROM pg_catalog.pg_locks WHERE granted AND "
        "mode = 'AccessExclusiveLock' AND pid IN (SELECT pid FROM pg_catalog.pg_stat_activity "
        "WHERE backend_type = 'startup')"));
    return rows.at(0).at(0) == "t";
}

Result<bool> is_recovering(db::Connection& connection) {
    const db::Rows rows = CHRONOS_TRY(connection.query("SELECT pg_catalog.pg_is_in_recovery()"));
    return rows.at(0).at(0) == "t";
}

/// What is known once it has let us in.
void complete(DrillServer& server, const Stopwatch& watch, Look& look) {
    look.user = server.superuser();
    look.programs = server.programs();
    look.environment = plain_environment();
    look.seconds = watch.seconds();
}

Result<Look> come_to_target(const DrillRequest& request, DrillServer& server,
                            const Stopwatch& watch, Look look, const ProgressReceiver& progress,
                            const Cancellation& cancel) {
    CHRONOS_TRY(server.wait(progress, cancel));
    const Deadline deadline(request.recovery_timeout);
    const auto connection = CHRONOS_TRY(server.connect(request.database, cancel));
    for (bool opening = false;;) {
        const auto on_its_way = is_on_its_way(*connection);
        if (!on_its_way) {
            // It has ended at the target that it did not find: its log says so.
            CHRONOS_TRY(cancel.sleep(std::chrono::milliseconds(500)));
            CHRONOS_TRY(server.check_alive());
            return on_its_way.error();
        }
        if (!*on_its_way) {
            const bool stopped = CHRONOS_TRY(is_recovering(*connection));
            if (!stopped || !CHRONOS_TRY(has_locks_of_the_past(*connection))) break;
            // It opens then, and those transactions never were.
            if (!opening) {
                log_info("transactions that end behind the target have locks: the server opens");
                CHRONOS_TRY(connection->query("SELECT pg_catalog.pg_wal_replay_resume()"));
            }
            opening = true;
        }
        if (deadline.passed())
            return Error(ErrorKind::archive_timeout,
                         "the server did not come to its target within " +
                             std::to_string(request.recovery_timeout->count() / 1000) + "s")
                .with_hint("--recovery-timeout allows it more.");
        CHRONOS_TRY(cancel.sleep(std::chrono::milliseconds(50)));
    }
    complete(server, watch, look);
    look.recovering = CHRONOS_TRY(is_recovering(*connection));
    return look;
}

/// Until it is asked to end.
Result<> stay(DrillServer& server, const Cancellation& cancel) {
    while (cancel.sleep(std::chrono::milliseconds(200))) CHRONOS_TRY(server.check_alive());
    return {};
}

/// From the empty directory to the end of the server, which `use` is made of.
Result<> serve_shown(const DrillRequest& request, const std::string& what, const Show& show,
                     DrillServer::Use kind,
                     const std::function<Result<>(DrillServer&, const Stopwatch&, Look)>& use) {
    CHRONOS_TRY(prepare(request, what));
    const Stopwatch watch;
    const auto directory =
        CHRONOS_TRY(ScratchDirectory::create(request.scratch_parent, "", request.stanza));
    const Scratch& scratch = directory.scratch();
    CHRONOS_TRY(check_socket_path(scratch));
    forget_server_of_environment();
    Look look;
    const std::shared_ptr<void> shown = CHRONOS_TRY(show(scratch, look.backup));
    DrillServer server = CHRONOS_TRY(DrillServer::start(request, scratch, look.backup, kind));
    look.directory = scratch.path;
    look.socket = scratch.socket();
    look.port = request.port;
    look.database = request.database;
    const Result<> used = use(server, watch, look);
    // Who looks is told why the session ends; what was read is all that was wanted of another one.
    if (kind == DrillServer::Use::look)
        server.stop();
    else
        server.abandon();
    return used;
}

}  // namespace

Result<> run_look(const DrillRequest& request, const Show& show,
                  const std::function<Result<>(const Look&)>& ready,
                  const ProgressReceiver& progress, const Cancellation& cancel) {
    return serve_shown(request, "look", show, DrillServer::Use::look,
                       [&](DrillServer& server, const Stopwatch& watch, Look look) -> Result<> {
                           look = CHRONOS_TRY(come_to_target(request, server, watch,
                                                             std::move(look), progress, cancel));
                           CHRONOS_TRY(ready(look));
                           return stay(server, cancel);
                       });
}

Result<> run_opened(const DrillRequest& request, const Show& show,
                    const std::function<Result<>(const Look&)>& work,
                    const ProgressReceiver& progress, const Cancellation& cancel) {
    return serve_shown(request, "recover-table", show, DrillServer::Use::drill,
                       [&](DrillServer& server, const Stopwatch& watch, Look look) -> Result<> {
                           CHRONOS_TRY(server.wait(progress, cancel));
                           CHRONOS_TRY(server.connect(request.database, cancel));
                           complete(server, watch, look);
                           const Result<> worked = work(look);
                           // Whoever works sees a lost connection; the log says why.
                           if (!worked) CHRONOS_TRY(server.check_alive());
                           return worked;
                       });
}

Result<> check_place(const DrillRequest& request) {
    for (const auto& [option, path] :
         {std::pair{"drill-path", request.scratch_parent}, std::pair{"--to", request.to}}) {
        const std::string cluster = pgdata::data_directory_around(path);
        if (cluster.empty()) continue;
        return Error(ErrorKind::option_invalid_value,
                     std::string(option) + " '" + path + "' lies in the data directory '" +
                         cluster + "': its backups would hold what a drill restores")
            .with_hint("Choose a directory outside of it, with room for the whole cluster.");
    }
    return {};
}

Result<DrillReport> run_drill(const DrillRequest& request, const Restore& restore,
                              const ProgressReceiver& progress, const Cancellation& cancel) {
    CHRONOS_TRY(prepare(request, "drill"));
    auto directory =
        CHRONOS_TRY(ScratchDirectory::create(request.scratch_parent, request.to, request.stanza));
    CHRONOS_TRY(check_socket_path(directory.scratch()));
    forget_server_of_environment();
    return Drill(request, progress, cancel).run(directory, restore);
}

}  // namespace chronos::ops::drill

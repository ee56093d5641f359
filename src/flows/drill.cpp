#include "chronos/flows/drill.h"

#include <memory>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/db/server.h"
#include "chronos/repo/info.h"
#include "chronos/repo/wal_archive.h"
#include "flows/shown.h"

namespace chronos::flows {
namespace {

using ops::drill::DrillReport;
using ops::drill::RestoredBackup;
using ops::drill::Scratch;
using ops::restore::RestorePlan;
using ops::restore::RestoreRequest;

Result<> restore_backup(const DrillRequest& drill, const Scratch& scratch, RestoredBackup& backup,
                        const ProgressReceiver& progress, const Cancellation& cancel) {
    const RestoreRequest request = restore_into(
        CHRONOS_TRY(drill.restore(scratch.data(), scratch.spool())), scratch, drill.marker);
    backup.type = ops::restore::recovery_type_name(
        request.type.value_or(ops::restore::RecoveryType::default_));
    backup.target = request.target;
    RestorePlan plan = CHRONOS_TRY(ops::restore::plan_restore(request));
    describe(plan, request, backup);
    CHRONOS_TRY(check_space(plan));
    const auto result =
        CHRONOS_TRY(ops::restore::run_restore(request, std::move(plan), cancel, progress));
    backup.size_bytes = result.size_bytes;
    backup.file_count = result.file_count;
    return {};
}

Result<DrillReport> drill_a_restore(const DrillRequest& request, const ProgressReceiver& progress,
                                    const Cancellation& cancel) {
    return ops::drill::run_drill(
        request.drill,
        [&](const Scratch& scratch, RestoredBackup& backup) -> Result<std::shared_ptr<void>> {
            CHRONOS_TRY(restore_backup(request, scratch, backup, progress, cancel));
            return std::shared_ptr<void>();
        },
        progress, cancel);
}

Result<DrillReport> drill_what_is_shown(const DrillRequest& request,
                                        const ProgressReceiver& progress,
                                        const Cancellation& cancel) {
    Showing showing({request.restore, *request.instant, AtTarget::open, request.marker}, cancel);
    DrillReport report = CHRONOS_TRY(
        ops::drill::run_drill(showing.asked_of(request.drill), showing.show(), progress, cancel));
    if (report.backup.fetched_bytes) report.backup.fetched_bytes = showing.figures().fetched_bytes;
    if (!report.passed && report.failed_phase != "check")
        if (const std::string hint = showing.hint(); !hint.empty())
            report.failure_hint += (report.failure_hint.empty() ? "" : "\n") + hint;
    return report;
}

void judge_marker(const std::string& marker, DrillReport& report) {
    const bool reached = report.passed || report.failed_phase == "check";
    report.checks.insert(report.checks.begin(), {"marker", "restore point " + marker, "reached",
                                                 reached ? "reached" : "not reached", reached, 0});
}

}  // namespace

Result<> write_marker(db::Connection& connection, const Marker& marker,
                      const Cancellation& cancel) {
    const Lsn end = CHRONOS_TRY(db::switch_wal(connection, marker.name));
    const db::Rows rows =
        CHRONOS_TRY(connection.query("SELECT pg_catalog.pg_walfile_name($1::pg_lsn)", {end.str()}));
    const std::string segment = rows.at(0).at(0).value_or("");
    log_info("wrote restore point '" + marker.name + "', wait for WAL segment " + segment);
    const auto info = CHRONOS_TRY(repo::load_archive_info(marker.repository, marker.stanza));
    CHRONOS_TRY(repo::wait_for_archived_segment(marker.repository, marker.stanza,
                                                info.current().archive_id(), segment,
                                                marker.archive_timeout, cancel));
    return {};
}

RestoreRequest restore_into(RestoreRequest request, const Scratch& scratch,
                            const std::optional<std::string>& marker) {
    request.pg_path = scratch.data();
    request.spool_path = scratch.spool();
    request.lock_path = scratch.lock();
    request.tablespace_map_all = scratch.tablespaces();
    request.durable = false;
    request.writes_nowhere_else = true;
    if (marker) {
        request.type = ops::restore::RecoveryType::name;
        request.target = *marker;
    }
    // Without a target recovery ends at the end of the WAL and promotes anyway.
    if (request.type.value_or(ops::restore::RecoveryType::default_) !=
        ops::restore::RecoveryType::default_)
        request.target_action = ops::restore::TargetAction::promote;
    return request;
}

Result<> check_space(const RestorePlan& plan) {
    constexpr std::uint64_t kServer = std::uint64_t{256} << 20;
    for (const ops::restore::RestoreSpace& space : plan.space) {
        const std::uint64_t needed = space.needed_bytes + space.needed_bytes / 10 + kServer;
        if (needed > space.free_bytes)
            return Error(ErrorKind::file_write, "a drill in '" + space.path + "' needs " +
                                                    format_size(needed) + ", free are " +
                                                    format_size(space.free_bytes))
                .with_hint("drill-path and --to name other directories.");
    }
    return {};
}

Result<DrillReport> run_drill(const DrillRequest& request, const ProgressReceiver& progress,
                              const Cancellation& cancel) {
    DrillReport report =
        CHRONOS_TRY(request.instant ? drill_what_is_shown(request, progress, cancel)
                                    : drill_a_restore(request, progress, cancel));
    if (request.marker) judge_marker(*request.marker, report);
    return report;
}

}  // namespace chronos::flows

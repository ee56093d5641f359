#include "chronos/flows/replica.h"

#include <algorithm>
#include <utility>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/timeline_history.h"

namespace chronos::flows {
namespace {

std::string number(std::uint64_t value) {
    return std::to_string(value);
}

pgdata::ServerParameters parameters_of(const db::SenderFacts& facts) {
    pgdata::ServerParameters parameters;
    const auto settings = pgdata::ServerParameters::settings(facts.version_num / 10000);
    for (std::size_t i = 0; i < settings.size(); ++i)
        if (const auto known = facts.parameters.find(std::string(settings[i].name));
            known != facts.parameters.end())
            parameters.values[i] = known->second;
    return parameters;
}

Result<> check_sender(const db::SenderFacts& facts) {
    if (facts.wal_level == "minimal")
        return Error(ErrorKind::db_mismatch,
                     "the server runs with wal_level = minimal: no standby can follow it")
            .with_hint("Set wal_level = replica there, and restart it.");
    return {};
}

/// Whether what is restored from the backup is on the way to where the primary is.
Result<> check_way(const ops::restore::RestorePlan& plan, const db::SenderFacts& facts,
                   bool timeline_given, db::Connection& primary) {
    const repo::Manifest& manifest = plan.manifest;
    if (manifest.system_id != facts.system_id)
        return Error(ErrorKind::db_mismatch, "the server is another cluster (system identifier " +
                                                 number(facts.system_id) + ") than backup " +
                                                 manifest.label + " (" +
                                                 number(manifest.system_id) + ")")
            .with_hint("Check --primary-conninfo and --stanza.");
    const Timeline leads_to = std::max(plan.target_timeline, plan.backup_timeline);
    if (leads_to == 0) return {};
    if (facts.timeline < leads_to)
        return Error(ErrorKind::db_mismatch,
                     "the server is on timeline " + number(facts.timeline) +
                         ", and the archive leads to timeline " + number(leads_to) +
                         ": a standby that goes there cannot follow this server")
            .with_hint("--primary-conninfo has to name the server that was promoted to timeline " +
                       number(leads_to) + ", or a standby of it.")
            .with_hint(timeline_given || plan.backup_timeline > facts.timeline
                           ? "If that is lost: --target-timeline and --set go back to timeline " +
                                 number(facts.timeline) + "."
                           : "If that one was a mistake: --target-timeline=" +
                                 number(facts.timeline) + " stays with this server.");
    const Lsn stop = manifest.lsn_stop.value_or(Lsn{});
    if (facts.timeline == leads_to) {
        if (facts.in_recovery == false && facts.timeline == plan.backup_timeline &&
            facts.end < stop)
            return Error(ErrorKind::db_mismatch,
                         "the server is at " + facts.end.str() + ", and backup " + manifest.label +
                             " of the same timeline ended at " + stop.str() +
                             " already: it is not the server that was backed up, or an older "
                             "state of it")
                .with_hint("Check --primary-conninfo.");
        return {};
    }
    // A promotion whose history has not reached the archive yet: the standby gets it by streaming.
    const std::string history = CHRONOS_TRY(db::timeline_history(primary, facts.timeline));
    const auto switches = CHRONOS_TRY(pgdata::parse_history_of(facts.timeline, history));
    const auto left = std::ranges::find(switches, leads_to, &pgdata::TimelineSwitch::parent);
    const bool of_backup = leads_to == plan.backup_timeline;
    if (left != switches.end() && (!of_backup || left->switch_lsn >= stop)) return {};
    return Error(
               ErrorKind::db_mismatch,
               "the server is on timeline " + number(facts.timeline) + ", which " +
                   (left == switches.end()
                        ? "does not come from timeline " + number(leads_to) +
                              ", where the archive leads to"
                        : "left timeline " + number(leads_to) + " at " + left->switch_lsn.str() +
                              ", before the end of backup " + manifest.label + " at " + stop.str()))
        .with_hint(of_backup ? "--set chooses a backup from before the promotion."
                             : "Check --primary-conninfo; --target-timeline and --set choose "
                               "another way.");
}

/// Whether it is to be made.
Result<bool> judge_slot(const ReplicaRequest& request, const db::SenderFacts& facts) {
    if (request.slot.empty()) return false;
    // The session is a stream afterwards.
    const auto session = CHRONOS_TRY(request.connect());
    auto state = db::probe_slot(*session, request.slot, facts);
    if (!state)
        return std::move(state).error().with_hint(
            "A standby needs a physical slot of its own that nobody streams from: --primary-slot "
            "with another name, and --create-slot makes it.");
    if (*state == db::SlotState::free) return false;
    if (request.create_slot) return true;
    return Error(ErrorKind::option_invalid,
                 "the primary has no replication slot '" + request.slot + "'")
        .with_hint("--create-slot makes it; so does SELECT pg_create_physical_replication_slot('" +
                   request.slot + "') there.");
}

Result<> check_slot_options(const ReplicaRequest& request) {
    if (request.create_slot && request.slot.empty())
        return Error(ErrorKind::option_invalid,
                     "option 'create-slot' not valid without option 'primary-slot'");
    if (!request.slot.empty() && !db::is_slot_name(request.slot))
        return Error(ErrorKind::option_invalid_value,
                     "'" + printable(request.slot) +
                         "' is no name of a replication slot: lower case letters, digits and "
                         "underscores, 63 at most");
    for (const char* name :
         {"primary_conninfo", "primary-conninfo", "primary_slot_name", "primary-slot-name",
          "recovery_target_timeline", "recovery-target-timeline"})
        if (request.restore.recovery_options.contains(name))
            return Error(ErrorKind::option_invalid,
                         "'" + std::string(name) +
                             "' setting is not valid for --recovery-option of a replica")
                .with_hint("Use --primary-conninfo, --primary-slot and --target-timeline.");
    return {};
}

}  // namespace

Result<> check_conninfo(const std::string& conninfo) {
    const auto parameters =
        CHRONOS_TRY_DOING(db::parse_conninfo(conninfo), "option 'primary-conninfo'");
    for (const char* secret : {"password", "sslpassword"})
        if (parameters.contains(secret))
            return Error(ErrorKind::option_invalid_value,
                         "option 'primary-conninfo' must not have a " + std::string(secret) +
                             " in it: others would see it")
                .with_hint(
                    "Put the password into a file of mode 0600, and passfile=FILE into the "
                    "option; or into ~/.pgpass of the user who runs the server. A line is "
                    "HOST:PORT:replication:USER:PASSWORD.");
    for (const char* wrong : {"replication", "dbname"})
        if (parameters.contains(wrong))
            return Error(ErrorKind::option_invalid_value,
                         "option 'primary-conninfo' must not "
                         "have '" +
                             std::string(wrong) +
                             "' in it: the standby sets that "
                             "itself");
    return {};
}

Result<ConnectAsStandby> connect_as_standby(const std::string& conninfo,
                                            const Cancellation& cancel) {
    const auto parameters = CHRONOS_TRY(db::parse_conninfo(conninfo));
    return ConnectAsStandby(
        [parameters, &cancel] { return db::connect_for_replication(parameters, cancel); });
}

Result<ReplicaPlan> plan_replica(const ReplicaRequest& request) {
    CHRONOS_TRY(check_conninfo(request.conninfo));
    CHRONOS_TRY(check_slot_options(request));
    ReplicaPlan plan;
    plan.place = db::conninfo_place(CHRONOS_TRY(db::parse_conninfo(request.conninfo)));
    const std::string asked = "primary at " + plan.place;
    const auto primary = CHRONOS_TRY(request.connect());
    plan.primary = CHRONOS_TRY_DOING(db::read_sender_facts(*primary), asked);
    CHRONOS_TRY_DOING(check_sender(plan.primary), asked);
    plan.request = request.restore;
    plan.request.type = ops::restore::RecoveryType::standby;
    plan.request.recovery_options["primary_conninfo"] = request.conninfo;
    // Also where there is none: the backup may be of a former standby, whose slot is its own.
    plan.request.recovery_options["primary_slot_name"] = request.slot;
    plan.request.parameters_at_least = parameters_of(plan.primary);
    plan.restore = CHRONOS_TRY(ops::restore::plan_restore(plan.request));
    CHRONOS_TRY_DOING(
        check_way(plan.restore, plan.primary, !request.restore.target_timeline.empty(), *primary),
        asked);
    plan.slot = request.slot;
    plan.slot_is_new = CHRONOS_TRY_DOING(judge_slot(request, plan.primary), asked);
    return plan;
}

Result<ops::restore::RestoreResult> run_replica(const ReplicaRequest& request, ReplicaPlan plan,
                                                const Cancellation& cancel,
                                                const ProgressReceiver& progress) {
    for (const ops::restore::RestoreProblem& problem : plan.restore.problems)
        if (problem.certain) return problem.error;
    if (plan.slot_is_new) {
        const auto primary = CHRONOS_TRY(request.connect());
        CHRONOS_TRY(db::create_slot(*primary, plan.slot));
        log_info("replication slot '" + plan.slot + "' was made on the primary");
    }
    auto restored =
        ops::restore::run_restore(plan.request, std::move(plan.restore), cancel, progress);
    if (restored || !plan.slot_is_new) return restored;
    const auto dropped = [&]() -> Result<> {
        const auto primary = CHRONOS_TRY(request.connect());
        return db::drop_slot(*primary, plan.slot);
    }();
    if (!dropped)
        log_warn(
            "replication slot '" + plan.slot +
            "' stays on the primary, where it holds nothing back: " + dropped.error().message());
    return restored;
}

}  // namespace chronos::flows

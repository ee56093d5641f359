#include <nlohmann/json.hpp>

#include "chronos/present/replica_plan_output.h"
#include "chronos/present/restore_plan_output.h"

namespace chronos::present {
namespace {

std::string line(std::string label, const std::string& value) {
    label = "    " + label + ":";
    label.resize(std::max<std::size_t>(label.size() + 1, 22), ' ');
    return label + value + "\n";
}

}  // namespace

std::string format_replica_plan(const flows::ReplicaPlan& plan) {
    std::string primary = plan.place + ", timeline " + std::to_string(plan.primary.timeline) +
                          ", WAL up to " + plan.primary.end.str();
    if (plan.primary.in_recovery == true)
        primary += "; it is a standby itself: this one follows it in a cascade";
    std::string text = line("primary", primary);
    text += line("slot", plan.slot.empty()  ? "none"
                         : plan.slot_is_new ? plan.slot + ", which is made on the primary"
                                            : plan.slot + ", which is there and free");
    std::string restore = ops::restore::format_restore_plan(plan.restore);
    // Behind the headline.
    restore.insert(restore.find('\n') + 1, text);
    return "replica: " + restore;
}

nlohmann::json replica_plan_object(const flows::ReplicaPlan& plan) {
    nlohmann::json object = restore_plan_object(plan.restore);
    nlohmann::json primary{{"place", plan.place},
                           {"system-id", plan.primary.system_id},
                           {"timeline", plan.primary.timeline},
                           {"lsn", plan.primary.end.str()},
                           {"standby", nullptr},
                           {"slot", nullptr},
                           {"slot-is-new", plan.slot_is_new}};
    if (plan.primary.in_recovery) primary["standby"] = *plan.primary.in_recovery;
    if (!plan.slot.empty()) primary["slot"] = plan.slot;
    object["primary"] = std::move(primary);
    return object;
}

std::string replica_outlook(const flows::ReplicaPlan& plan) {
    return "it catches up by the archive, and then streams from " + plan.place +
           (plan.slot.empty() ? "" : " (slot " + plan.slot + ")") +
           ": 'SELECT status FROM pg_stat_wal_receiver' on it says 'streaming' then\n";
}

}  // namespace chronos::present

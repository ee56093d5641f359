#include <nlohmann/json.hpp>

#include "chronos/present/json_text.h"
#include "chronos/present/random_access_json.h"
#include "chronos/present/restore_plan_output.h"

namespace chronos::present {
namespace {

using nlohmann::json;
using ops::restore::RestorePlan;
using ops::restore::RestoreProblem;
using ops::restore::RestoreSpace;

/// 0 is none that is known.
json timeline_or_null(Timeline timeline) {
    return timeline == 0 ? json(nullptr) : json(timeline);
}

json backup_object(const RestorePlan& plan) {
    const repo::Manifest& manifest = plan.manifest;
    return {
        {"label", manifest.label},
        {"random-access", random_access_object(plan.random_access)},
        {"reason", plan.reason},
        {"reference", manifest.references},
        {"repo-key", plan.repo_key},
        {"timestamp", {{"start", manifest.timestamp_start}, {"stop", manifest.timestamp_stop}}}};
}

json wal_object(const RestorePlan& plan) {
    const ops::restore::RestoreWal& wal = plan.wal;
    if (wal.first.empty()) return nullptr;
    return {{"count", wal.count},
            {"max", text_or_null(wal.last)},
            {"min", wal.first},
            {"missing", wal.missing},
            {"missing-total", wal.missing_count}};
}

json destinations(const RestorePlan& plan) {
    json list = json::array();
    for (const repo::ManifestTarget& target : plan.manifest.targets)
        list.push_back(
            {{"name", target.name},
             {"path", target.file.empty() ? target.path : target.path + "/" + target.file}});
    return list;
}

json space_list(const RestorePlan& plan) {
    json list = json::array();
    for (const RestoreSpace& space : plan.space)
        list.push_back(
            {{"free", space.free_bytes}, {"needed", space.needed_bytes}, {"path", space.path}});
    return list;
}

json part_object(const ops::restore::LeftPlan::Part& part) {
    return {{"file-total", part.file_count},
            {"size", part.size_bytes},
            {"stored-size", part.stored_bytes}};
}

json instant_object(const RestorePlan& plan) {
    if (!plan.left) return nullptr;
    return {{"at-once", part_object(plan.left->at_once)},
            {"left", part_object(plan.left->left)},
            {"random-access", random_access_object(plan.left->random_access)},
            {"recovery-prefetch", !plan.left->without_prefetch}};
}

json problem_list(const RestorePlan& plan) {
    json list = json::array();
    for (const RestoreProblem& problem : plan.problems)
        list.push_back({{"certain", problem.certain},
                        {"code", static_cast<int>(problem.error.kind())},
                        {"message", problem.error.text()}});
    return list;
}

}  // namespace

json restore_plan_object(const RestorePlan& plan) {
    return {
        {"backup", backup_object(plan)},
        {"destination", destinations(plan)},
        {"file-total", plan.file_count},
        {"instant", instant_object(plan)},
        {"problem", problem_list(plan)},
        {"set-aside", plan.set_aside},
        {"setting", plan.other_settings},
        {"size", plan.size_bytes},
        {"space", space_list(plan)},
        {"stored-size", plan.stored_size_bytes},
        {"target", text_or_null(plan.target_setting)},
        {"timeline",
         {{"backup", plan.backup_timeline}, {"target", timeline_or_null(plan.target_timeline)}}},
        {"type", ops::restore::recovery_type_name(plan.type)},
        {"wal", wal_object(plan)},
        {"warning", plan.warnings}};
}

}  // namespace chronos::present

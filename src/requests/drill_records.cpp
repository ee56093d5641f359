#include "chronos/requests/drill_records.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "chronos/base/log.h"
#include "chronos/ops/drill/record.h"
#include "chronos/present/json_text.h"
#include "chronos/repo/info.h"
#include "chronos/repo/side/drill.h"
#include "chronos/requests/repositories.h"

namespace chronos::requests {
namespace {

using nlohmann::json;
using ops::drill::DrillReport;

Result<> add_history(const repo::Repository& repository, const std::string& stanza, json& history) {
    const auto records = CHRONOS_TRY(repo::list_drills(repository, stanza));
    if (records.empty()) return {};
    const auto info = CHRONOS_TRY(repo::load_backup_info(repository, stanza));
    for (const repo::DrillRecord& entry : records) {
        const std::string text =
            CHRONOS_TRY(repo::read_drill(repository, stanza, entry.name, info.cipher_pass));
        json record = ops::drill::parse_record(text);
        if (record.is_null()) {
            log_warn("the record of a drill " + entry.name + " is no JSON object");
            continue;
        }
        record["stored-in"] = repository.key;
        record["record"] = entry.name;
        history.push_back(std::move(record));
    }
    return {};
}

}  // namespace

Result<json> drill_history(const Context& context) {
    json history = json::array();
    for (const repo::Repository& repository : CHRONOS_TRY(open_repositories(context.config)))
        CHRONOS_TRY_DOING(add_history(repository, context.config.stanza(), history),
                          "repo" + std::to_string(repository.key));
    std::stable_sort(history.begin(), history.end(), [](const json& a, const json& b) {
        return a.value("record", "") < b.value("record", "");
    });
    return history;
}

Result<std::string> save_drill_record(const Context& context, const DrillReport& report,
                                      const json& record) {
    const auto repositories = CHRONOS_TRY(open_repositories(context.config));
    const auto source =
        std::ranges::find(repositories, report.backup.repo_key, &repo::Repository::key);
    const repo::Repository& repository =
        source == repositories.end() ? repositories.front() : *source;
    const std::string exec_id = context.config.get_string("exec-id");
    const std::string id = exec_id.substr(exec_id.rfind('-') + 1);
    const std::string name = repo::drill_name(report.finished, report.passed, id);
    const auto info = CHRONOS_TRY(repo::load_backup_info(repository, report.stanza));
    CHRONOS_TRY(repo::save_drill(repository, report.stanza, name,
                                 present::text_of(record, 1) + "\n", info.cipher_pass));
    return name;
}

}  // namespace chronos::requests

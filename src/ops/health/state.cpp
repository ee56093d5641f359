#include "chronos/ops/health/state.h"

#include "chronos/base/log.h"
#include "chronos/base/text.h"

namespace chronos::ops::health {
namespace {

// The extension need not exist in the database at hand.
constexpr std::string_view kHasTable =
    "SELECT (pg_catalog.to_regclass('chronos.health_state') IS NOT NULL)::text";
constexpr std::string_view kLoad =
    "SELECT rule, state, extract(epoch FROM since)::bigint::text, announced"
    " FROM chronos.health_state";
constexpr std::string_view kSave =
    "INSERT INTO chronos.health_state AS s (rule, state, since, announced)"
    " VALUES ($1, $2, pg_catalog.to_timestamp($3::double precision), $4)"
    " ON CONFLICT (rule) DO UPDATE SET state = excluded.state, since = excluded.since,"
    " announced = excluded.announced"
    " WHERE (s.state, s.since, s.announced) IS DISTINCT FROM"
    " (excluded.state, excluded.since, excluded.announced)";
constexpr std::string_view kNotify = "SELECT pg_catalog.pg_notify('chronos_alert', $1)::text";

Result<> save_state(db::Connection& connection, const std::string& rule, const RuleMemory& memory) {
    CHRONOS_TRY(connection.query(
        kSave, {rule, std::string(rule_state_name(memory.state)), std::to_string(memory.since),
                std::string(rule_state_name(memory.announced))}));
    return {};
}

Result<> save_changed_states(db::Connection& connection, const RuleMemories& before,
                             const RuleMemories& memories) {
    for (const auto& [rule, memory] : memories) {
        const auto former = before.find(rule);
        if (former != before.end() && former->second.state == memory.state &&
            former->second.announced == memory.announced)
            continue;
        CHRONOS_TRY(save_state(connection, rule, memory));
    }
    return {};
}

void log_change(const Change& change) {
    const Rule& rule = change.rule;
    const std::string text = "health: " + rule.name + " is " +
                             std::string(rule_state_name(rule.state)) + " (was " +
                             std::string(rule_state_name(change.before)) + "): " + rule.message +
                             (rule.hint.empty() ? "" : "\nHINT: " + rule.hint);
    if (rule.state == RuleState::ok)
        log_info(text);
    else
        log_warn(text);
}

}  // namespace

Result<std::optional<RuleMemories>> load_states(db::Connection& connection) {
    const db::Rows there = CHRONOS_TRY(connection.query(kHasTable));
    if (there.size() != 1 || there[0].size() != 1 || there[0][0] != "true")
        return std::optional<RuleMemories>();
    RuleMemories memories;
    for (const db::Row& row : CHRONOS_TRY(connection.query(kLoad))) {
        if (row.size() != 4) continue;
        const auto state = parse_rule_state(row[1].value_or(""));
        const auto since = parse_unix_time(row[2].value_or(""));
        const auto announced = parse_rule_state(row[3].value_or(""));
        if (state && since && announced)
            memories[row[0].value_or("")] = {*state, *since, *announced};
    }
    return std::optional(std::move(memories));
}

Result<> tell_of_changes(const AlertRequest& request, db::Connection& connection,
                         std::vector<Rule>& rules, RuleMemories& memories,
                         const Cancellation& cancel) {
    const RuleMemories before = memories;
    for (const Change& change : note_states(rules, memories, request.now)) {
        log_change(change);
        CHRONOS_TRY(
            connection.query(kNotify, {generic_payload({request.stanza, change, request.now})}));
    }
    // Before somebody outside is asked to answer: what was logged is not to be logged again.
    CHRONOS_TRY(save_changed_states(connection, before, memories));
    AlertReceivers receivers(request.receivers, cancel);
    for (const Change& change : unannounced(rules, memories)) {
        if (!receivers.tell({request.stanza, change, request.now})) continue;
        RuleMemory& memory = memories[change.rule.name];
        memory.announced = change.rule.state;
        // At once: receivers take their time, and whoever is stopped meanwhile tells again what it
        // has not noted down.
        CHRONOS_TRY(save_state(connection, change.rule.name, memory));
    }
    return {};
}

}  // namespace chronos::ops::health

#include <nlohmann/json.hpp>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/ops/health/note.h"
#include "chronos/present/health_view.h"
#include "chronos/present/metrics.h"
#include "chronos/repo/side/owner.h"
#include "chronos/requests/alert.h"
#include "chronos/requests/health_look.h"
#include "chronos/requests/repositories.h"
#include "engine/connection.h"
#include "engine/roles.h"

namespace chronos::engine {
namespace {

using control::Message;
using ops::health::Change;
using ops::health::Rule;
using ops::health::RuleMemories;
using ops::health::RuleState;

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

Result<std::optional<RuleMemories>> load_memories(db::Connection& connection) {
    const db::Rows there = CHRONOS_TRY(connection.query(kHasTable));
    if (there.size() != 1 || there[0].size() != 1 || there[0][0] != "true")
        return std::optional<RuleMemories>();
    RuleMemories memories;
    for (const db::Row& row : CHRONOS_TRY(connection.query(kLoad))) {
        if (row.size() != 4) continue;
        const auto state = ops::health::parse_rule_state(row[1].value_or(""));
        const auto since = parse_unix_time(row[2].value_or(""));
        const auto announced = ops::health::parse_rule_state(row[3].value_or(""));
        if (state && since && announced)
            memories[row[0].value_or("")] = {*state, *since, *announced};
    }
    return std::optional(std::move(memories));
}

Result<> save_memories(db::Connection& connection, const RuleMemories& before,
                       const RuleMemories& memories) {
    for (const auto& [rule, memory] : memories) {
        const auto former = before.find(rule);
        if (former != before.end() && former->second.state == memory.state &&
            former->second.announced == memory.announced)
            continue;
        CHRONOS_TRY(connection.query(
            kSave, {rule, std::string(rule_state_name(memory.state)), std::to_string(memory.since),
                    std::string(rule_state_name(memory.announced))}));
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

/// The log and those who listen hear of a change once. Receivers outside may be out of reach: they
/// are told until they have answered.
Result<> tell_of_changes(requests::Context& context, db::Connection& connection,
                         present::HealthView& view, RuleMemories& memories) {
    const RuleMemories before = memories;
    const std::string& stanza = view.snapshot.stanza;
    for (const Change& change : note_states(view.rules, memories, view.now)) {
        log_change(change);
        CHRONOS_TRY(
            connection.query(kNotify, {requests::generic_payload({stanza, change, view.now})}));
    }
    // Before somebody outside is asked to answer: what was logged is not to be logged again.
    CHRONOS_TRY(save_memories(connection, before, memories));
    const RuleMemories saved = memories;
    requests::AlertReceivers receivers(context.config, context.cancel);
    for (const Change& change : unannounced(view.rules, memories))
        if (receivers.tell({stanza, change, view.now}))
            memories[change.rule.name].announced = change.rule.state;
    return save_memories(connection, saved, memories);
}

void send_rules(EngineChannel& channel, const std::vector<Rule>& rules) {
    for (const Rule& rule : rules)
        channel.send(Message("rule")
                         .with("rule", rule.name)
                         .with("state", rule_state_name(rule.state))
                         .with("value", rule.value)
                         .with("threshold", rule.threshold)
                         .with("message", printable(rule.message, 4096))
                         .with("hint", rule.hint)
                         .with("since", static_cast<std::uint64_t>(rule.since)));
}

void send_metrics(EngineChannel& channel, const present::HealthView& view) {
    for (const present::MetricFamily& family : present::metrics_of(view))
        for (const present::Sample& sample : family.samples) {
            nlohmann::json labels = nlohmann::json::object();
            for (const auto& [name, value] : sample.labels) labels[name] = printable(value, 1024);
            channel.send(Message("metric")
                             .with("name", family.name)
                             .with("type", family.type)
                             .with("help", family.help)
                             .with("labels", labels.dump())
                             .with("value", present::format_metric_value(sample.value)));
        }
}

/// Also keeps the stanza of a server that has nothing to archive for long. A standby uses none.
void look_at_owners(const std::vector<repo::Repository>& repositories, const std::string& pgdata,
                    present::HealthView& view) {
    if (!view.server || view.server->in_recovery || view.server->archive_mode == "off") return;
    const auto self = repo::identify_server(pgdata);
    if (!self) return;
    for (std::size_t i = 0; i < repositories.size(); ++i) {
        ops::health::RepositoryFacts& facts = view.snapshot.repositories[i];
        if (facts.history.empty() || facts.archives.empty() ||
            facts.archives.back().database.system_id != self->system_id)
            continue;
        const repo::StanzaOwner owner(repositories[i], view.snapshot.stanza);
        (void)owner.use(*self, repo::StanzaUse::archive);
        if (const auto another = owner.owned_by_another(*self)) facts.owner = *another;
        const auto refused = owner.recently_refused(*self);
        if (facts.owner.empty() && refused) facts.refused = *refused;
        const auto beside = owner.beside(*self, facts.archives.back().database.archive_id());
        if (beside && *beside) {
            facts.beside = (*beside)->server;
            facts.beside_timeline = (*beside)->timeline;
            facts.beside_is_newer = (*beside)->timeline > self->timeline;
        }
    }
}

}  // namespace

Result<> serve_health(requests::Context& context, EngineChannel& channel) {
    const config::Config& config = context.config;
    ControlConnection connection(channel, context.cancel);
    const std::string pgdata = config.get_string("pg1-path");
    const bool alert = config.get_bool("alert");
    const auto repositories = CHRONOS_TRY(requests::open_repositories(config));
    auto wal_memory = ops::health::read_wal_memory(pgdata);
    present::HealthView view;
    view.server = CHRONOS_TRY(ops::health::look_at_server(connection, pgdata, unix_now()));
    view.snapshot = requests::look_at_configured_repositories(config, repositories, wal_memory,
                                                              view.server->last_archived_wal);
    look_at_owners(repositories, pgdata, view);
    view.running = requests::look_for_running_backups(config, repositories);
    view.now = unix_now();
    view.rules =
        ops::health::evaluate(view.snapshot, view.server, requests::limits_of(config), view.now);
    auto memories = CHRONOS_TRY(load_memories(connection));
    RuleMemories remembered = memories.value_or(RuleMemories());
    if (alert && memories)
        CHRONOS_TRY(tell_of_changes(context, connection, view, remembered));
    else
        note_states(view.rules, remembered, view.now);
    if (alert) {
        ops::health::HealthNote note{*view.server, remembered, {}, 0};
        note.interval =
            std::chrono::duration_cast<std::chrono::seconds>(config.get_time("health-interval"))
                .count();
        // For show only: a schedule that cannot be read hides no finding.
        if (auto activity = ops::health::look_at_activity(connection))
            note.activity = std::move(activity).value();
        CHRONOS_TRY(ops::health::write_health_note(pgdata, note));
        CHRONOS_TRY(ops::health::write_wal_memory(pgdata, wal_memory));
    }
    send_rules(channel, view.rules);
    send_metrics(channel, view);
    channel.send(Message("done"));
    return {};
}

}  // namespace chronos::engine

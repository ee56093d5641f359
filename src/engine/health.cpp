#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/ops/health/alert.h"
#include "chronos/ops/health/note.h"
#include "chronos/ops/health/state.h"
#include "chronos/present/health_view.h"
#include "chronos/present/metrics.h"
#include "chronos/repo/side/owner.h"
#include "chronos/requests/health_look.h"
#include "chronos/requests/repositories.h"
#include "engine/connection.h"
#include "engine/roles.h"

namespace chronos::engine {
namespace {

using control::Message;
using ops::health::Rule;
using ops::health::RuleMemories;
using ops::health::RuleState;

void send_rules(Channel& channel, const std::vector<Rule>& rules) {
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

void send_metrics(Channel& channel, const present::HealthView& view) {
    for (const present::MetricFamily& family : present::metrics_of(view))
        for (const present::Sample& sample : family.samples)
            channel.send(Message("metric")
                             .with("name", family.name)
                             .with("type", family.type)
                             .with("help", family.help)
                             .with("labels", present::labels_json(sample))
                             .with("value", present::format_metric_value(sample.value)));
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

Result<> serve_health(requests::Context& context, Channel& channel) {
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
    auto memories = CHRONOS_TRY(ops::health::load_states(connection));
    RuleMemories remembered = memories.value_or(RuleMemories());
    if (alert && memories)
        CHRONOS_TRY(ops::health::tell_of_changes(
            {view.snapshot.stanza, view.now, requests::alert_settings(config)}, connection,
            view.rules, remembered, context.cancel));
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

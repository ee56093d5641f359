#include "chronos/ops/health/alert.h"

#include <nlohmann/json.hpp>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "ops/health/shell_command.h"

namespace chronos::ops::health {
namespace {

using nlohmann::json;

constexpr std::size_t kTextSizeMax = 1500;
constexpr std::size_t kNotificationSizeMax = 8000;
constexpr std::chrono::milliseconds kPostTimeout{10000};
constexpr std::chrono::milliseconds kCommandTimeout{30000};
constexpr const char* kPagerDutyUrl = "https://events.pagerduty.com/v2/enqueue";

/// Names on a file system need not be UTF-8, and an alert must not fail on one.
std::string payload_text(const json& payload) {
    return payload.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string short_text(const std::string& text) {
    return printable(text, kTextSizeMax);
}

const char* pagerduty_severity(RuleState state) {
    if (state == RuleState::critical) return "critical";
    return state == RuleState::warning ? "warning" : "info";
}

const char* slack_color(RuleState state) {
    if (state == RuleState::critical) return "danger";
    return state == RuleState::warning ? "warning" : "good";
}

json fields_of(const Alert& alert) {
    const Rule& rule = alert.change.rule;
    return {{"stanza", alert.stanza},
            {"rule", rule.name},
            {"state", rule_state_name(rule.state)},
            {"before", rule_state_name(alert.change.before)},
            {"value", rule.value},
            {"threshold", rule.threshold},
            {"message", short_text(rule.message)},
            {"hint", short_text(rule.hint)},
            {"since", rule.since},
            {"at", alert.at},
            {"summary", alert.summary()}};
}

std::vector<std::string> environment_of(const Alert& alert) {
    const Rule& rule = alert.change.rule;
    return {"ALERT_STANZA=" + alert.stanza,
            "ALERT_RULE=" + rule.name,
            "ALERT_STATE=" + std::string(rule_state_name(rule.state)),
            "ALERT_BEFORE=" + std::string(rule_state_name(alert.change.before)),
            "ALERT_MESSAGE=" + short_text(rule.message),
            "ALERT_SUMMARY=" + alert.summary()};
}

http::ClientOptions client_options(const AlertSettings& settings, const Cancellation& cancel) {
    http::ClientOptions options;
    options.io_timeout = kPostTimeout;
    options.user_agent = settings.user_agent;
    options.cancel = &cancel;
    return options;
}

}  // namespace

std::string Alert::summary() const {
    const Rule& rule = change.rule;
    return std::string(resolved() ? "resolved" : rule_state_name(rule.state)) + ": " + rule.name +
           " of " + stanza + ": " + short_text(rule.message);
}

std::string generic_payload(const Alert& alert) {
    json fields = fields_of(alert);
    std::string text = payload_text(fields);
    // Escapes can double a text. What is left says what has changed.
    if (text.size() < kNotificationSizeMax) return text;
    for (const char* long_one : {"message", "hint", "summary"}) fields[long_one] = "";
    return payload_text(fields);
}

std::string slack_payload(const Alert& alert) {
    const Rule& rule = alert.change.rule;
    const std::string body =
        short_text(rule.message) + (rule.hint.empty() ? "" : "\n" + short_text(rule.hint));
    return payload_text(
        {{"text", alert.summary()},
         {"attachments", json::array({{{"color", slack_color(rule.state)},
                                       {"title", rule.name + " of " + alert.stanza + " is " +
                                                     std::string(rule_state_name(rule.state))},
                                       {"text", body},
                                       {"ts", alert.at}}})}});
}

std::string pagerduty_payload(const Alert& alert, const std::string& routing_key) {
    const Rule& rule = alert.change.rule;
    json event{{"routing_key", routing_key},
               {"event_action", alert.resolved() ? "resolve" : "trigger"},
               {"dedup_key", "chronos/" + alert.stanza + "/" + rule.name}};
    // Resolving takes the key alone.
    if (!alert.resolved())
        event["payload"] = {{"summary", printable(alert.summary(), 1024)},
                            {"source", "chronos_backup " + alert.stanza},
                            {"severity", pagerduty_severity(rule.state)},
                            {"component", alert.stanza},
                            {"group", "backup"},
                            {"class", rule.name},
                            {"custom_details", fields_of(alert)}};
    return payload_text(event);
}

AlertReceivers::AlertReceivers(AlertSettings settings, const Cancellation& cancel)
    : settings_(std::move(settings)), client_(client_options(settings_, cancel)) {}

Result<> AlertReceivers::post(const std::string& url, const std::string& body) {
    http::Request request;
    request.method = "POST";
    request.url = url;
    request.headers = {{"content-type", "application/json"}};
    request.body = io::Bytes(reinterpret_cast<const std::byte*>(body.data()), body.size());
    const auto response = client_.perform(request, /*body_size_max=*/1 << 20);
    // The text of the error may name the URL, which is a secret.
    if (!response)
        return Error(response.error().kind(),
                     "no answer (" + std::string(error_class_name(response.error().kind())) + ")");
    if (response->status < 200 || response->status > 299)
        return Error(ErrorKind::service, "the answer is " + std::to_string(response->status));
    return {};
}

bool AlertReceivers::tell(const Alert& alert) {
    bool all_told = true;
    const auto note = [&](const char* who, const Result<>& told) {
        if (told) return;
        all_told = false;
        log_warn("an alert about " + alert.change.rule.name + " could not be delivered to " + who +
                 ": " + told.error().message());
    };
    const AlertSettings& to = settings_;
    if (!to.webhook_url.empty()) note("the webhook", post(to.webhook_url, generic_payload(alert)));
    if (!to.slack_url.empty()) note("Slack", post(to.slack_url, slack_payload(alert)));
    if (!to.pagerduty_key.empty())
        note("PagerDuty", post(to.pagerduty_url.empty() ? kPagerDutyUrl : to.pagerduty_url,
                               pagerduty_payload(alert, to.pagerduty_key)));
    if (!to.command.empty())
        note("the command", run_shell_command(to.command, generic_payload(alert),
                                              environment_of(alert), kCommandTimeout));
    return all_told;
}

}  // namespace chronos::ops::health

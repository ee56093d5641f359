#pragma once

#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/result.h"
#include "chronos/http/client.h"
#include "chronos/ops/health/health.h"

/// What is said to whom when the state of a health rule changes.
namespace chronos::ops::health {

struct Alert {
    std::string stanza;
    Change change;
    UnixTime at = 0;

    bool resolved() const { return change.rule.state == RuleState::ok; }
    /// "critical: backup_age of main: age of the last backup ... is 26h"
    std::string summary() const;
};

/// JSON, each as its receiver wants it. The generic one is also the payload of NOTIFY and the
/// standard input of a command: stanza, rule, state, before, value, threshold, message, hint,
/// since, summary. Within 8000 bytes, which is what NOTIFY takes.
std::string generic_payload(const Alert& alert);
std::string slack_payload(const Alert& alert);
/// Events API v2: trigger or resolve, with one key for a rule of a stanza.
std::string pagerduty_payload(const Alert& alert, const std::string& routing_key);

/// Who is told, each where it is not "". URLs and keys are secrets.
struct AlertSettings {
    std::string webhook_url;
    std::string slack_url;
    std::string pagerduty_key;
    std::string pagerduty_url;  ///< "": that of PagerDuty
    std::string command;        ///< for the shell
    std::string user_agent;
};

/// Everybody that settings name. No error or log line holds a URL or a key.
class AlertReceivers {
public:
    /// `cancel` outlives it.
    AlertReceivers(AlertSettings settings, const Cancellation& cancel);
    /// False if somebody could not be told; that is logged. Tells all of them in any case.
    bool tell(const Alert& alert);

private:
    Result<> post(const std::string& url, const std::string& body);

    const AlertSettings settings_;
    http::Client client_;
};

}  // namespace chronos::ops::health

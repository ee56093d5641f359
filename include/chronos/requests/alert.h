#pragma once

#include <string>
#include <vector>

#include "chronos/http/client.h"
#include "chronos/ops/health/health.h"
#include "chronos/requests/context.h"

/// What is said to whom when the state of a health rule changes.
namespace chronos::requests {

struct Alert {
    std::string stanza;
    ops::health::Change change;
    UnixTime at = 0;

    bool resolved() const { return change.rule.state == ops::health::RuleState::ok; }
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

/// Everybody that the options alert-* name. No error or log line holds a URL or a key: both are
/// secrets.
class AlertReceivers {
public:
    AlertReceivers(const config::Config& config, const Cancellation& cancel);
    /// False if somebody could not be told; that is logged. Tells all of them in any case.
    bool tell(const Alert& alert);

private:
    Result<> post(const std::string& url, const std::string& body);

    const config::Config& config_;
    const Cancellation& cancel_;
    http::Client client_;
};

/// Runs `command` by the shell with `input` on its standard input and `environment` ("NAME=value")
/// added to its own; what it prints goes to standard error. Kind execute if it fails or takes too
/// long, when it is killed.
Result<> run_shell_command(const std::string& command, const std::string& input,
                           const std::vector<std::string>& environment,
                           std::chrono::milliseconds timeout);

}  // namespace chronos::requests

#include "extension/job_hooks.h"
#include "chronos/base/error_kind.h"

#include "extension/engine_process.h"
#include "extension/settings.h"
#include "extension/text.h"

namespace chronos::extension {
namespace {

struct Hook {
    const char* setting;
    const char* command;
    const JobSlot* job;
    const char* state;
    const SessionResult* outcome;  ///< nullptr before the job
    bool (*cancelled)(void* context);
};

unsigned long long exit_status;

void take_status(void*, const char* verb) {
    if (strcmp(verb, "done") == 0) exit_status = engine_field_number("status", 1);
}

SessionResult failed(const char* message) {
    return {SessionOutcome::failed, exit_code(ErrorKind::internal), message,
            "The server log has what it printed."};
}

/// The shell sees what it needs to know as environment; only plain words become part of its text.
SessionResult run(const Hook* hook) {
    const char* id = psprintf("%lld", static_cast<long long>(hook->job->id));
    const SessionResult* outcome = hook->outcome;
    const char* fields[] = {"name",
                            hook->setting,
                            "command",
                            hook->command,
                            "timeout-ms",
                            psprintf("%lld", 1000LL * settings.job_command_timeout_s),
                            "escape-i",
                            id,
                            "escape-t",
                            hook->job->type,
                            "escape-s",
                            hook->state,
                            "escape-l",
                            hook->job->label,
                            "escape-c",
                            settings.stanza,
                            "env-job-id",
                            id,
                            "env-job-type",
                            hook->job->type,
                            "env-job-state",
                            hook->state,
                            "env-job-label",
                            hook->job->label,
                            "env-job-stanza",
                            settings.stanza,
                            "env-job-schedule",
                            hook->job->schedule,
                            "env-job-error",
                            outcome != nullptr ? outcome->message : "",
                            "env-job-hint",
                            outcome != nullptr ? outcome->hint : "",
                            nullptr};
    Arguments arguments = {};
    add_argument(&arguments, "engine");
    add_argument(&arguments, "hook");
    SessionPlan plan = {};
    plan.own_transactions = true;
    plan.on_message = take_status;
    plan.cancelled = hook->cancelled;
    plan.first_verb = "run";
    plan.first_fields = fields;
    exit_status = 0;
    SessionResult result = run_engine(&arguments, &plan);
    if (result.outcome == SessionOutcome::failed)
        return failed(psprintf("%s failed: %s", hook->setting, result.message));
    if (result.outcome == SessionOutcome::done && exit_status != 0)
        return failed(psprintf("%s failed with exit status %llu", hook->setting, exit_status));
    return result;
}

/// The setting may be replaced by a reload while its command runs. nullptr if there is none.
const char* command_of(const char* setting) {
    return setting != nullptr && *setting != '\0' ? pstrdup(setting) : nullptr;
}

}  // namespace

JobState state_of(SessionOutcome outcome) {
    switch (outcome) {
        case SessionOutcome::done: return JobState::succeeded;
        case SessionOutcome::cancelled: return JobState::cancelled;
        case SessionOutcome::skipped: return JobState::skipped;
        case SessionOutcome::failed: break;
    }
    return JobState::failed;
}

SessionResult run_start_hook(const JobSlot* job, bool (*cancelled)(void* context)) {
    const char* command = command_of(settings.job_start_command);
    if (command == nullptr) return {SessionOutcome::done, 0, "", ""};
    const Hook hook = {"job_start_command", command, job, "starting", nullptr, cancelled};
    return run(&hook);
}

void run_end_hook(const JobSlot* job, const SessionResult* outcome,
                  bool (*cancelled)(void* context)) {
    const char* command = command_of(settings.job_end_command);
    if (command == nullptr) return;
    const Hook hook = {"job_end_command", command,  job, job_state_name(state_of(outcome->outcome)),
                       outcome,           cancelled};
    const SessionResult result = run(&hook);
    if (result.outcome != SessionOutcome::done)
        ereport(WARNING, (errmsg("chronos: %s", result.outcome == SessionOutcome::cancelled
                                                    ? "job_end_command was cancelled"
                                                    : database_text(result.message))));
}

}  // namespace chronos::extension

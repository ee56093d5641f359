#include "extension/engine_process.h"
#include "extension/engine_session.h"
#include "extension/health.h"
#include "extension/postgres_api.h"
#include "extension/shared_state.h"
#include "extension/text.h"

/// health and metrics: rows of an engine that judges in the calling session.

namespace chronos::extension {
namespace {

Datum text_or_null(const char* key, bool* is_null) {
    const char* value = engine_field(key);
    *is_null = value == nullptr || *value == '\0';
    return *is_null ? 0 : text_datum(value);
}

void put_rule(ReturnSetInfo* rows) {
    constexpr const char* kTexts[] = {"rule", "state", "value", "threshold", "message", "hint"};
    Datum values[7] = {};
    bool nulls[7] = {};
    for (int i = 0; i < 6; ++i) values[i] = text_or_null(kTexts[i], &nulls[i]);
    const unsigned long long since = engine_field_number("since", 0);
    nulls[6] = since == 0;
    values[6] = TimestampTzGetDatum(time_t_to_timestamptz(static_cast<pg_time_t>(since)));
    tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
}

void put_metric(ReturnSetInfo* rows) {
    Datum values[5] = {};
    bool nulls[5] = {};
    values[0] = text_or_null("name", &nulls[0]);
    const char* labels = engine_field("labels");
    nulls[1] = labels == nullptr;
    if (labels != nullptr)
        values[1] = DirectFunctionCall1(jsonb_in, CStringGetDatum(database_json(labels)));
    const char* value = engine_field("value");
    nulls[2] = value == nullptr;
    if (value != nullptr) values[2] = DirectFunctionCall1(float8in, CStringGetDatum(value));
    values[3] = text_or_null("type", &nulls[3]);
    values[4] = text_or_null("help", &nulls[4]);
    tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
}

void collect_rule(void* context, const char* verb) {
    if (strcmp(verb, "rule") == 0) put_rule(static_cast<ReturnSetInfo*>(context));
}

void collect_metric(void* context, const char* verb) {
    if (strcmp(verb, "metric") == 0) put_metric(static_cast<ReturnSetInfo*>(context));
}

Datum judge(FunctionCallInfo fcinfo, void (*collect)(void*, const char*)) {
    require_preloaded();
    InitMaterializedSRF(fcinfo, 0);
    Arguments arguments;
    begin_arguments(&arguments, "health");
    add_health_options(&arguments);
    SessionPlan plan = {};
    plan.on_message = collect;
    plan.context = fcinfo->resultinfo;
    const SessionResult result = run_engine(&arguments, &plan);
    if (result.outcome != SessionOutcome::done)
        ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
                        errmsg("health could not be checked: %s", database_text(result.message)),
                        *result.hint != '\0' ? errhint("%s", database_text(result.hint)) : 0));
    return 0;
}

}  // namespace
}  // namespace chronos::extension

CHRONOS_FUNCTION(chronos_health) {
    using namespace chronos::extension;
    return judge(fcinfo, collect_rule);
}

CHRONOS_FUNCTION(chronos_metrics) {
    using namespace chronos::extension;
    return judge(fcinfo, collect_metric);
}

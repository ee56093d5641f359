#include "extension/audit.h"
#include "extension/engine_process.h"
#include "extension/engine_session.h"
#include "extension/postgres_api.h"
#include "extension/settings.h"
#include "extension/shared_state.h"
#include "extension/sql_version.h"
#include "extension/text.h"

/// SQL functions that work with an engine in the calling backend: what the repository and its
/// configuration say, check and stanza_create.

namespace chronos::extension {
namespace {

/// Output beyond that is no answer to a question somebody asks in SQL.
constexpr int kOutputSizeMax = 256 * 1024 * 1024;

[[noreturn]] void raise_failure(const char* what, const SessionResult* result) {
    ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
                    errmsg("%s failed: %s", what, database_text(result->message)),
                    *result->hint != '\0' ? errhint("%s", database_text(result->hint)) : 0));
}

struct CommandOutput {
    StringInfoData text;
    unsigned long long status;
};

void collect_output(void* context, const char* verb) {
    CommandOutput* output = static_cast<CommandOutput*>(context);
    if (strcmp(verb, "done") == 0) output->status = engine_field_number("status", 0);
    const char* text = strcmp(verb, "output") == 0 ? engine_field("text") : nullptr;
    if (text == nullptr) return;
    if (output->text.len + strlen(text) > kOutputSizeMax)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("the engine's answer is longer than %d bytes", kOutputSizeMax)));
    appendStringInfoString(&output->text, text);
}

/// What `chronos <command> <option>...` prints.
char* output_of(const char* command, const char* const* options) {
    Arguments arguments = {};
    add_argument(&arguments, "engine");
    add_argument(&arguments, "command");
    add_argument(&arguments, command);
    add_common_options(&arguments);
    for (; *options != nullptr; ++options) add_argument(&arguments, *options);
    CommandOutput output = {};
    initStringInfo(&output.text);
    SessionPlan plan = {};
    plan.on_message = collect_output;
    plan.context = &output;
    const SessionResult result = run_engine(&arguments, &plan);
    if (result.outcome != SessionOutcome::done) raise_failure(command, &result);
    if (output.status != 0)
        ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
                        errmsg("%s failed with exit status %llu", command, output.status)));
    return const_cast<char*>(database_json(output.text.data));
}

/// The form of a backup label; the engine says whether there is such a backup.
void check_label(const char* label) {
    const size_t valid = strspn(label, "0123456789_FDI-");
    if (*label != '\0' && label[valid] == '\0' && *label != '-') return;
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("\"%s\" is not a backup label", label),
                    errhint("The view chronos.backups lists them.")));
}

/// What changes a repository runs on the primary: a standby's engine would do it with the settings
/// of another machine, and the primary does it anyway.
void require_primary(const char* what) {
    if (!RecoveryInProgress()) return;
    ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
                    errmsg("%s is not possible while the server is in recovery", what),
                    errhint("Do it on the primary.")));
}

/// For functions that take NULL for some arguments and not for others.
void require_not_null(FunctionCallInfo fcinfo, int argument, const char* name) {
    if (!fcinfo->args[argument].isnull) return;
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
}

/// "--name=text" of an argument that is text.
const char* text_option(const char* name, Datum value) {
    return psprintf("--%s=%s", name, utf8_text(TextDatumGetCString(value)));
}

Datum to_jsonb(const char* text) {
    return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

struct Findings {
    ReturnSetInfo* rows;
    bool any_failure;
};

void put_finding(ReturnSetInfo* rows, const char* test, const char* status, const char* message,
                 const char* hint) {
    const bool has_hint = hint != nullptr && *hint != '\0';
    Datum values[] = {text_datum(test), BoolGetDatum(strcmp(status, "failure") != 0),
                      text_datum(status), text_datum(message), has_hint ? text_datum(hint) : 0};
    bool nulls[] = {false, false, false, false, !has_hint};
    tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
}

void collect_finding(void* context, const char* verb) {
    if (strcmp(verb, "finding") != 0) return;
    Findings* findings = static_cast<Findings*>(context);
    const char* test = engine_field("test");
    const char* status = engine_field("status");
    const char* message = engine_field("message");
    if (status != nullptr && strcmp(status, "failure") == 0) findings->any_failure = true;
    put_finding(findings->rows, test != nullptr ? test : "check", status != nullptr ? status : "ok",
                message != nullptr ? message : "", engine_field("hint"));
}

/// Words that --set of verify takes; the engine says whether there are such backups.
void check_sets(const char* sets) {
    const size_t valid = strspn(sets, "0123456789_FDI-,abcdefghijklmnopqrstuvwxyz");
    if (*sets != '\0' && sets[valid] == '\0' && *sets != '-') return;
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"%s\" names no backup", sets),
             errhint("A label, latest, oldest or latest-full; several with commas.")));
}

Datum text_or_null(const char* text, bool* is_null) {
    *is_null = text == nullptr || *text == '\0';
    return *is_null ? 0 : text_datum(text);
}

/// A row of verify(): status, repo_key, place, file, problem, message, consequence.
void put_verified(ReturnSetInfo* rows, const char* status, int repo_key, const char* message) {
    bool nulls[7] = {};
    nulls[1] = repo_key == 0;
    Datum values[7] = {text_datum(status), Int32GetDatum(repo_key)};
    values[2] = text_or_null(engine_field("where"), &nulls[2]);
    values[3] = text_or_null(engine_field("file"), &nulls[3]);
    values[4] = text_or_null(engine_field("problem"), &nulls[4]);
    values[5] = text_datum(message);
    values[6] = text_or_null(engine_field("consequence"), &nulls[6]);
    tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
}

/// The last row of a verify that found nothing wrong in the repositories.
void put_sound(ReturnSetInfo* rows) {
    const char* what = psprintf("%llu backups with %llu files and %llu WAL segments",
                                engine_field_number("backups", 0), engine_field_number("files", 0),
                                engine_field_number("wal", 0));
    const unsigned long long page_errors = engine_field_number("page_errors", 0);
    if (page_errors == 0)
        put_verified(rows, "ok", 0, psprintf("%s can be restored", what));
    else
        put_verified(rows, "note", 0,
                     psprintf("%s are as they were stored, but a restore takes %llu of the backups "
                              "with --no-checksum-page-error only: pages were damaged in the "
                              "cluster already",
                              what, page_errors));
}

void collect_verified(void* context, const char* verb) {
    ReturnSetInfo* rows = static_cast<ReturnSetInfo*>(context);
    const char* message = engine_field("message");
    if (strcmp(verb, "finding") == 0)
        put_verified(rows, engine_field("status"), static_cast<int>(engine_field_number("repo", 0)),
                     message != nullptr ? message : "");
    // Who asked wants to see that something was looked at.
    if (strcmp(verb, "done") == 0 && engine_field_number("failures", 0) == 0) put_sound(rows);
}

}  // namespace
}  // namespace chronos::extension

CHRONOS_FUNCTION(chronos_repository_info) {
    using namespace chronos::extension;
    require_preloaded();
    const char* options[] = {"--output=json", nullptr, nullptr};
    if (!PG_ARGISNULL(0)) {
        const char* label = text_to_cstring(PG_GETARG_TEXT_PP(0));
        check_label(label);
        options[1] = psprintf("--set=%s", label);
    }
    return to_jsonb(output_of("info", options));
}

CHRONOS_FUNCTION(chronos_wal_report) {
    using namespace chronos::extension;
    require_preloaded();
    const char* options[] = {"--wal", "--output=json", nullptr};
    return to_jsonb(output_of("info", options));
}

CHRONOS_FUNCTION(chronos_repository_usage) {
    using namespace chronos::extension;
    require_preloaded();
    const char* options[] = {"--output=json", nullptr};
    return to_jsonb(output_of("repo-usage", options));
}

CHRONOS_FUNCTION(chronos_configuration) {
    using namespace chronos::extension;
    require_preloaded();
    const char* options[] = {"--output=json", nullptr};
    return to_jsonb(output_of("config-list", options));
}

CHRONOS_FUNCTION(chronos_mount_list) {
    using namespace chronos::extension;
    require_preloaded();
    const char* options[] = {"--output=json", nullptr};
    return to_jsonb(output_of("mounts", options));
}

CHRONOS_FUNCTION(chronos_drill_history) {
    using namespace chronos::extension;
    require_preloaded();
    const char* options[] = {"--list", "--output=json", nullptr};
    return to_jsonb(output_of("drill", options));
}

CHRONOS_AUDITED(chronos_check, "check", calls) {
    using namespace chronos::extension;
    require_preloaded();
    InitMaterializedSRF(fcinfo, 0);
    Findings findings = {reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), false};
    Arguments arguments;
    begin_arguments(&arguments, "check");
    SessionPlan plan = {};
    plan.on_message = collect_finding;
    plan.context = &findings;
    const SessionResult result = run_engine(&arguments, &plan);
    if (result.outcome != SessionOutcome::done && !findings.any_failure)
        put_finding(findings.rows, "check", "failure", result.message, result.hint);
    if (*engine_version_difference() != '\0')
        put_finding(findings.rows, "version", "note", engine_version_difference(),
                    engine_version_remedy());
    const SqlVersion sql = compare_sql_version();
    if (sql.difference != nullptr)
        put_finding(findings.rows, "version", "note", sql.difference, sql.remedy);
    return 0;
}

CHRONOS_AUDITED(chronos_verify, "verify", calls) {
    using namespace chronos::extension;
    require_preloaded();
    require_not_null(fcinfo, 1, "full");
    InitMaterializedSRF(fcinfo, 0);
    Arguments arguments = {};
    add_argument(&arguments, "engine");
    add_argument(&arguments, "verify");
    add_common_options(&arguments);
    add_process_max(&arguments);
    if (!PG_ARGISNULL(0)) {
        check_sets(TextDatumGetCString(PG_GETARG_DATUM(0)));
        add_argument(&arguments, text_option("set", PG_GETARG_DATUM(0)));
    }
    if (PG_GETARG_BOOL(1)) add_argument(&arguments, "--full");
    SessionPlan plan = {};
    plan.on_message = collect_verified;
    plan.context = fcinfo->resultinfo;
    const SessionResult result = run_engine(&arguments, &plan);
    if (result.outcome != SessionOutcome::done) raise_failure("verify", &result);
    return 0;
}

CHRONOS_AUDITED(chronos_stanza_create, "stanza_create", calls) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary("the creation of a stanza");
    Arguments arguments;
    begin_arguments(&arguments, "stanza-create");
    SessionPlan plan = {};
    const SessionResult result = run_engine(&arguments, &plan);
    if (result.outcome != SessionOutcome::done) raise_failure("stanza creation", &result);
    PG_RETURN_VOID();
}

CHRONOS_AUDITED(chronos_expire, "expire", calls) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary("expire");
    require_not_null(fcinfo, 0, "dry_run");
    const char* options[5] = {"--output=json", psprintf("--pg1-path=%s", DataDir)};
    int count = 2;
    if (PG_GETARG_BOOL(0)) options[count++] = "--dry-run";
    if (!PG_ARGISNULL(1)) {
        check_label(TextDatumGetCString(PG_GETARG_DATUM(1)));
        options[count++] = text_option("set", PG_GETARG_DATUM(1));
    }
    return to_jsonb(output_of("expire", options));
}

CHRONOS_AUDITED(chronos_hold, "hold", calls) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary("hold");
    check_label(TextDatumGetCString(PG_GETARG_DATUM(0)));
    const char* options[] = {text_option("set", PG_GETARG_DATUM(0)),
                             text_option("reason", PG_GETARG_DATUM(1)), nullptr};
    output_of("hold", options);
    PG_RETURN_VOID();
}

CHRONOS_AUDITED(chronos_unhold, "unhold", calls) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary("unhold");
    check_label(TextDatumGetCString(PG_GETARG_DATUM(0)));
    const char* options[] = {text_option("set", PG_GETARG_DATUM(0)), nullptr};
    output_of("unhold", options);
    PG_RETURN_VOID();
}

CHRONOS_AUDITED(chronos_annotate, "annotate", calls) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary("annotate");
    require_not_null(fcinfo, 0, "label");
    require_not_null(fcinfo, 1, "key");
    check_label(TextDatumGetCString(PG_GETARG_DATUM(0)));
    const char* options[] = {
        text_option("set", PG_GETARG_DATUM(0)),
        psprintf("--annotation=%s=%s", utf8_text(TextDatumGetCString(PG_GETARG_DATUM(1))),
                 PG_ARGISNULL(2) ? "" : utf8_text(TextDatumGetCString(PG_GETARG_DATUM(2)))),
        nullptr};
    output_of("annotate", options);
    PG_RETURN_VOID();
}

CHRONOS_AUDITED(chronos_maintenance, "maintenance", calls) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary("maintenance");
    require_not_null(fcinfo, 0, "dry_run");
    const char* options[] = {"--output=json", PG_GETARG_BOOL(0) ? "--dry-run" : nullptr, nullptr};
    return to_jsonb(output_of("maintenance", options));
}

CHRONOS_AUDITED(chronos_rekey, "rekey", calls) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary("rekey");
    require_not_null(fcinfo, 0, "repo");
    const char* options[5] = {"--output=json", psprintf("--repo=%d", PG_GETARG_INT32(0))};
    int count = 2;
    // The engine would repeat it in its message: a passphrase, if that is what was given.
    if (!PG_ARGISNULL(2) && *TextDatumGetCString(PG_GETARG_DATUM(2)) != '/')
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("new_passphrase_file must be the absolute path of a file")));
    if (!PG_ARGISNULL(1)) options[count++] = text_option("phase", PG_GETARG_DATUM(1));
    if (!PG_ARGISNULL(2))
        options[count++] = text_option("new-cipher-pass-file", PG_GETARG_DATUM(2));
    return to_jsonb(output_of("rekey", options));
}

CHRONOS_AUDITED(chronos_stanza_upgrade, "stanza_upgrade", calls) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary("the upgrade of a stanza");
    // What the upgrade wants to know stands in pg_control: no connection is needed.
    const char* options[] = {"--no-online", psprintf("--pg1-path=%s", DataDir), nullptr};
    output_of("stanza-upgrade", options);
    PG_RETURN_VOID();
}

CHRONOS_AUDITED(chronos_stanza_claim, "stanza_claim", calls) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary("the claim of a stanza");
    const char* options[] = {psprintf("--pg1-path=%s", DataDir), nullptr};
    output_of("stanza-claim", options);
    PG_RETURN_VOID();
}

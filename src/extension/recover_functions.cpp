#include "chronos/base/error_kind.h"
#include "extension/audit.h"
#include "extension/job_calls.h"
#include "extension/postgres_api.h"
#include "extension/text.h"

/// recover_table and find_drop: what is asked of `chronos recover-table`. Who may have which table
/// that command decides, when it knows who owned it: it is told who asks.

namespace chronos::extension {
namespace {

/// Adds --name=text; nothing if there is none.
void add_option(StringInfo lines, const char* name, const char* argument, const char* text) {
    if (text == nullptr) return;
    for (const char* c = text; *c != '\0'; ++c)
        if (static_cast<unsigned char>(*c) < ' ')
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("%s must be a text on one line", argument)));
    appendStringInfo(lines, "--%s=%s\n", name, text);
}

const char* text_or_null(FunctionCallInfo fcinfo, int argument) {
    return PG_ARGISNULL(argument) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

bool is_true(FunctionCallInfo fcinfo, int argument) {
    return !PG_ARGISNULL(argument) && PG_GETARG_BOOL(argument);
}

/// "2026-11-20 08:11:30.000000+00", whatever the session makes of times.
const char* target_time(TimestampTz time) {
    pg_tm parts = {};
    fsec_t microseconds = 0;
    if (TIMESTAMP_NOT_FINITE(time) ||
        timestamp2tm(time, nullptr, &parts, &microseconds, nullptr, nullptr) != 0 ||
        parts.tm_year < 1 || parts.tm_year > 9999)
        ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
                        errmsg("target must be a time of the past")));
    return psprintf("%04d-%02d-%02d %02d:%02d:%02d.%06d+00", parts.tm_year, parts.tm_mon,
                    parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, microseconds);
}

const char* database_name(const char* given) {
    if (given == nullptr) return get_database_name(MyDatabaseId);
    get_database_oid(given, /*missing_ok=*/false);
    return given;
}

/// Where a name without a schema is meant: in this database's table of that name that the session
/// sees, or, as it may be gone, where the session would make one.
const char* schema_of(const char* table, const char* database) {
    if (strcmp(database, get_database_name(MyDatabaseId)) == 0) {
        const Oid relation = RelnameGetRelid(table);
        if (OidIsValid(relation)) return get_namespace_name(get_rel_namespace(relation));
        List* path = fetch_search_path(/*includeImplicit=*/false);
        const char* first = path != NIL ? get_namespace_name(linitial_oid(path)) : nullptr;
        if (first != nullptr) return first;
    }
    ereport(ERROR, (errcode(ERRCODE_INVALID_SCHEMA_NAME),
                    errmsg("no schema was given for table \"%s\"", table),
                    errhint("For example 'public.orders'.")));
}

/// Always between double quotes: nothing of it is taken for an option.
void append_name(StringInfo lines, const char* name) {
    appendStringInfoChar(lines, '"');
    for (; *name != '\0'; ++name) {
        if (static_cast<unsigned char>(*name) < ' ')
            ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
                            errmsg("a name of a table must be a text on one line")));
        if (*name == '"') appendStringInfoChar(lines, '"');
        appendStringInfoChar(lines, *name);
    }
    appendStringInfoChar(lines, '"');
}

/// "public.*", which is not the table public."*".
bool names_whole_schema(const char* source) {
    const size_t length = strlen(source);
    return length > 2 && strcmp(source + length - 2, ".*") == 0;
}

/// A name as SQL has it, [schema.]table or database.schema.table; the table may be * of a schema.
void append_table(StringInfo lines, text* source, const char* database) {
    List* parts = textToQualifiedNameList(source);
    const int count = list_length(parts);
    const char* table = strVal(llast(parts));
    const char* schema = count > 1 ? strVal(list_nth(parts, count - 2)) : nullptr;
    if (count > 3)
        ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
                        errmsg("\"%s\" is no name of a table", text_to_cstring(source))));
    if (count == 3 && strcmp(strVal(linitial(parts)), database) != 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("\"%s\" is not a table of database \"%s\"", text_to_cstring(source),
                               database),
                        errhint("The argument \"database\" names another one.")));
    append_name(lines, database);
    appendStringInfoChar(lines, '.');
    append_name(lines, schema != nullptr ? schema : schema_of(table, database));
    appendStringInfoChar(lines, '.');
    if (count > 1 && names_whole_schema(text_to_cstring(source)))
        appendStringInfoChar(lines, '*');
    else
        append_name(lines, table);
    appendStringInfoChar(lines, '\n');
}

/// Who may have the tables is who asks, and never who connects.
void append_asking(StringInfo lines) {
    appendStringInfo(lines, "--for-role=%u\n", GetUserId());
}

struct Target {
    int count;
    const char* type;
    const char* value;
};

void take_target(Target* target, const char* type, const char* value) {
    if (value == nullptr) return;
    ++target->count;
    target->type = type;
    target->value = value;
}

/// Arguments 1, 2 and 6 to 10 of recover_table().
void append_target(StringInfo lines, FunctionCallInfo fcinfo) {
    const bool before_drop = is_true(fcinfo, 2);
    const bool exclusive = is_true(fcinfo, 10);
    Target target = {};
    take_target(&target, "time", PG_ARGISNULL(1) ? nullptr : target_time(PG_GETARG_TIMESTAMPTZ(1)));
    take_target(&target, "name", text_or_null(fcinfo, 7));
    take_target(&target, "lsn",
                PG_ARGISNULL(8) ? nullptr
                                : DatumGetCString(DirectFunctionCall1(
                                      pg_lsn_out, LSNGetDatum(PG_GETARG_LSN(8)))));
    take_target(
        &target, "xid",
        PG_ARGISNULL(9) ? nullptr : psprintf("%lld", static_cast<long long>(PG_GETARG_INT64(9))));
    if (target.count + (before_drop ? 1 : 0) > 1)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("only one of target, before_drop, target_name, target_lsn and "
                               "target_xid can say the moment")));
    if (before_drop && (!PG_ARGISNULL(6) || exclusive))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("before_drop looks for the backup and the moment itself")));
    if (exclusive && target.count == 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("target_exclusive needs a target")));
    if (before_drop) appendStringInfoString(lines, "--before-drop\n");
    if (target.count > 0) {
        appendStringInfo(lines, "--type=%s\n", target.type);
        add_option(lines, "target", "target_name", target.value);
    }
    if (exclusive) appendStringInfoString(lines, "--target-exclusive\n");
    add_option(lines, "set", "label", text_or_null(fcinfo, 6));
}

/// Functions in it have the rights that they had then: also of a superuser who is none any more.
void require_filter_permitted(FunctionCallInfo fcinfo) {
    if (PG_ARGISNULL(4) || superuser_arg(GetUserId())) return;
    ereport(ERROR,
            (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
             errmsg("permission denied to choose rows by a condition"),
             errdetail("Functions in it would run with the rights that roles had at that time."),
             errhint("Bring all rows back, and choose among them then; or ask a superuser.")));
}

int64 submit_recovery(FunctionCallInfo fcinfo, const Datum* sources, int count) {
    require_preloaded();
    require_primary_for_jobs();
    require_filter_permitted(fcinfo);
    const char* database = database_name(text_or_null(fcinfo, 5));
    StringInfoData lines;
    initStringInfo(&lines);
    append_asking(&lines);
    append_target(&lines, fcinfo);
    add_option(&lines, "into", "into_schema", text_or_null(fcinfo, 3));
    add_option(&lines, "where", "filter", text_or_null(fcinfo, 4));
    if (is_true(fcinfo, 11)) appendStringInfoString(&lines, "--plan\n");
    if (is_true(fcinfo, 12)) appendStringInfoString(&lines, "--privileges\n");
    if (is_true(fcinfo, 13)) appendStringInfoString(&lines, "--with-dependencies\n");
    add_option(&lines, "reason", "reason", text_or_null(fcinfo, 14));
    for (int i = 0; i < count; ++i) append_table(&lines, DatumGetTextPP(sources[i]), database);
    return submit_job(find_job_type("recover_table"), &lines, "arguments");
}

void raise_unless_found(const JobSlot* job) {
    if (job->state == JobState::succeeded) return;
    if (job->state == JobState::cancelled)
        ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("the search was cancelled")));
    ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
                    errmsg("the search failed: %s", database_text(job->error)),
                    job->hint[0] != '\0' ? errhint("%s", database_text(job->hint)) : 0));
}

Datum row_of_drop(FunctionCallInfo fcinfo, const JobSlot* job) {
    TupleDesc columns = nullptr;
    if (get_call_result_type(fcinfo, nullptr, &columns) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "find_drop() returns a row");
    Datum values[] = {TimestampTzGetDatum(job->dropped_at), Int64GetDatum(int64{job->drop_xid}),
                      DirectFunctionCall1(pg_lsn_in, CStringGetDatum(job->drop_lsn)),
                      text_datum(job->label), Int64GetDatum(job->id)};
    bool nulls[lengthof(values)] = {};
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls));
}

[[noreturn]] void refuse_no_table() {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("no table was named"),
                    errhint("For example 'public.orders'.")));
}

}  // namespace
}  // namespace chronos::extension

CHRONOS_AUDITED(chronos_recover_table, "recover_table", calls) {
    using namespace chronos::extension;
    if (PG_ARGISNULL(0)) refuse_no_table();
    const Datum source = PG_GETARG_DATUM(0);
    PG_RETURN_INT64(submit_recovery(fcinfo, &source, 1));
}

CHRONOS_AUDITED(chronos_recover_tables, "recover_table", calls) {
    using namespace chronos::extension;
    if (PG_ARGISNULL(0)) refuse_no_table();
    Datum* sources = nullptr;
    bool* nulls = nullptr;
    int count = 0;
    deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &sources, &nulls,
                      &count);
    for (int i = 0; i < count; ++i)
        if (nulls[i]) refuse_no_table();
    if (count == 0) refuse_no_table();
    PG_RETURN_INT64(submit_recovery(fcinfo, sources, count));
}

CHRONOS_AUDITED(chronos_find_drop, "find_drop", calls) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary_for_jobs();
    if (PG_ARGISNULL(0)) refuse_no_table();
    StringInfoData lines;
    initStringInfo(&lines);
    append_asking(&lines);
    appendStringInfoString(&lines, "--before-drop\n--plan\n");
    append_table(&lines, PG_GETARG_TEXT_PP(0), database_name(text_or_null(fcinfo, 1)));
    const int64 id = submit_job(find_job_type("find_drop"), &lines, "arguments");
    JobSlot job;
    await_own_job(id, &job);
    raise_unless_found(&job);
    return row_of_drop(fcinfo, &job);
}

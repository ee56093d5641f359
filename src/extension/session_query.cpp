#include "extension/engine_process.h"
#include "extension/engine_session.h"
#include "extension/session_settings.h"
#include "extension/text.h"

namespace chronos::extension {
namespace {

constexpr int kParametersMax = 16;

/// What the parser finds out about $1, $2, ...: engines send text without types, as libpq does.
struct Parameters {
    Oid* types;
    int count;
};

void infer_types(ParseState* parse_state, void* parameters) {
    Parameters* inferred = static_cast<Parameters*>(parameters);
    setup_parse_variable_parameters(parse_state, &inferred->types, &inferred->count);
}

ParamListInfo parameter_values(const Oid* types) {
    ParamListInfo values = makeParamList(kParametersMax);
    for (int i = 0; i < kParametersMax; ++i) {
        ParamExternData* value = &values->params[i];
        const char* text = engine_field(psprintf("p%d", i + 1));
        value->pflags = PARAM_FLAG_CONST;
        value->ptype = types[i];
        value->isnull = text == nullptr || !OidIsValid(types[i]);
        if (value->isnull) continue;
        Oid input_function;
        Oid io_parameter;
        getTypeInputInfo(types[i], &input_function, &io_parameter);
        value->value =
            OidInputFunctionCall(input_function, pstrdup(database_text(text)), io_parameter, -1);
    }
    return values;
}

void queue_or_raise(const char* verb, const char* const* fields) {
    const Failure failure = engine_queue(verb, fields);
    if (failure.happened)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s", failure.message)));
}

void queue_row(HeapTuple tuple, TupleDesc columns) {
    const char** fields =
        static_cast<const char**>(palloc(sizeof(char*) * (2 * columns->natts + 1)));
    for (int i = 0; i < columns->natts; ++i) {
        fields[2 * i] = psprintf("%d", i + 1);
        const char* value = SPI_getvalue(tuple, columns, i + 1);
        fields[2 * i + 1] = value != nullptr ? utf8_text(value) : nullptr;
    }
    fields[2 * columns->natts] = nullptr;
    queue_or_raise("row", fields);
}

void queue_rows(const char* id) {
    const uint64 count = SPI_tuptable != nullptr ? SPI_tuptable->numvals : 0;
    const int columns = SPI_tuptable != nullptr ? SPI_tuptable->tupdesc->natts : 0;
    const char* fields[] = {
        "id",   id, "columns", psprintf("%d", columns), "count", psprintf(UINT64_FORMAT, count),
        nullptr};
    queue_or_raise("rows", fields);
    for (uint64 i = 0; i < count; ++i) queue_row(SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
}

void execute(const char* id, const char* sql) {
    // Room for all from the start: the parser would let a larger array die with its own memory.
    Oid types[kParametersMax] = {};
    Parameters inferred = {types, kParametersMax};
    SPIPlanPtr plan = SPI_prepare_params(sql, infer_types, &inferred, 0);
    if (plan == nullptr)
        ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
                        errmsg("could not prepare a statement of the engine: %s",
                               SPI_result_code_string(SPI_result))));
    SPIExecuteOptions options = {};
    options.params = parameter_values(types);
    const int code = SPI_execute_plan_extended(plan, &options);
    if (code < 0)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("could not run a statement of the engine: %s",
                               SPI_result_code_string(code))));
    queue_rows(id);
}

/// Of the statement at hand, in a session that is not ours.
int settings_level;

void begin(bool own_transaction) {
    if (own_transaction) {
        SetCurrentStatementStartTimestamp();
        StartTransactionCommand();
    } else {
        BeginInternalSubTransaction(nullptr);
        settings_level = settle_statement();
    }
    SPI_connect();
    PushActiveSnapshot(GetTransactionSnapshot());
}

void commit(bool own_transaction) {
    PopActiveSnapshot();
    SPI_finish();
    if (own_transaction) {
        CommitTransactionCommand();
        pgstat_report_stat(true);
        pgstat_report_activity(STATE_IDLE, nullptr);
    } else {
        unsettle(settings_level);
        ReleaseCurrentSubTransaction();
    }
}

void roll_back(bool own_transaction) {
    if (own_transaction) {
        AbortCurrentTransaction();
        pgstat_report_activity(STATE_IDLE, nullptr);
    } else {
        RollbackAndReleaseCurrentSubTransaction();
    }
}

/// The engine must not take a cancelled query for one that failed by itself.
bool is_cancel(const ErrorData* error) {
    return error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
           error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN;
}

void queue_failure(const char* id, const ErrorData* error) {
    const char* fields[] = {"id",       id,
                            "sqlstate", unpack_sql_state(error->sqlerrcode),
                            "message",  utf8_text(error->message),
                            nullptr};
    queue_or_raise("query-failed", fields);
}

}  // namespace

void answer_query(bool own_transaction) {
    MemoryContext context = CurrentMemoryContext;
    ResourceOwner owner = CurrentResourceOwner;
    MemoryContext scratch = AllocSetContextCreate(context, "chronos query", ALLOCSET_DEFAULT_SIZES);
    MemoryContextSwitchTo(scratch);
    const char* id = engine_field("id");
    const char* sql = engine_field("sql");
    id = pstrdup(id != nullptr ? id : "0");
    sql = pstrdup(sql != nullptr ? database_text(sql) : "");
    ErrorData* volatile error = nullptr;
    pgstat_report_activity(STATE_RUNNING, sql);
    PG_TRY();
    {
        begin(own_transaction);
        execute(id, sql);
        commit(own_transaction);
        MemoryContextSwitchTo(scratch);
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(scratch);
        error = CopyErrorData();
        FlushErrorState();
        roll_back(own_transaction);
        MemoryContextSwitchTo(scratch);
    }
    PG_END_TRY();
    CurrentResourceOwner = owner;
    if (error != nullptr) {
        engine_unqueue();
        if (is_cancel(error)) {
            MemoryContextSwitchTo(context);
            ReThrowError(error);
        }
        queue_failure(id, error);
    }
    MemoryContextSwitchTo(context);
    MemoryContextDelete(scratch);
}

}  // namespace chronos::extension

#include <libpq-fe.h>

#include "chronos/base/late_library.h"

namespace {
constinit chronos::LateLibrary pq(CHRONOS_PQ_LIBRARY);
}

CHRONOS_LATE(pq, PGconn*, PQconnectdbParams,
             (const char* const* names, const char* const* values, int expand),
             (names, values, expand))
CHRONOS_LATE(pq, void, PQfinish, (PGconn * connection), (connection))
CHRONOS_LATE(pq, ConnStatusType, PQstatus, (const PGconn* connection), (connection))
CHRONOS_LATE(pq, int, PQsocket, (const PGconn* connection), (connection))
CHRONOS_LATE(pq, char*, PQerrorMessage, (const PGconn* connection), (connection))
CHRONOS_LATE(pq, int, PQconnectionNeedsPassword, (const PGconn* connection), (connection))
CHRONOS_LATE(pq, const char*, PQparameterStatus, (const PGconn* connection, const char* name),
             (connection, name))
CHRONOS_LATE(pq, int, PQsetClientEncoding, (PGconn * connection, const char* encoding),
             (connection, encoding))
CHRONOS_LATE(pq, PQnoticeProcessor, PQsetNoticeProcessor,
             (PGconn * connection, PQnoticeProcessor processor, void* context),
             (connection, processor, context))
CHRONOS_LATE(pq, int, PQsendQueryParams,
             (PGconn * connection, const char* command, int count, const Oid* types,
              const char* const* values, const int* lengths, const int* formats, int result_format),
             (connection, command, count, types, values, lengths, formats, result_format))
CHRONOS_LATE(pq, int, PQsendQuery, (PGconn * connection, const char* command),
             (connection, command))
CHRONOS_LATE(pq, PQconninfoOption*, PQconninfoParse, (const char* text, char** message),
             (text, message))
CHRONOS_LATE(pq, void, PQconninfoFree, (PQconninfoOption * options), (options))
CHRONOS_LATE(pq, int, PQconsumeInput, (PGconn * connection), (connection))
CHRONOS_LATE(pq, int, PQisBusy, (PGconn * connection), (connection))
CHRONOS_LATE(pq, PGresult*, PQgetResult, (PGconn * connection), (connection))
CHRONOS_LATE(pq, PGcancel*, PQgetCancel, (PGconn * connection), (connection))
CHRONOS_LATE(pq, int, PQcancel, (PGcancel * cancel, char* text, int size), (cancel, text, size))
CHRONOS_LATE(pq, void, PQfreeCancel, (PGcancel * cancel), (cancel))
CHRONOS_LATE(pq, ExecStatusType, PQresultStatus, (const PGresult* result), (result))
CHRONOS_LATE(pq, char*, PQresultErrorMessage, (const PGresult* result), (result))
CHRONOS_LATE(pq, char*, PQresultErrorField, (const PGresult* result, int code), (result, code))
CHRONOS_LATE(pq, int, PQntuples, (const PGresult* result), (result))
CHRONOS_LATE(pq, int, PQnfields, (const PGresult* result), (result))
CHRONOS_LATE(pq, int, PQgetisnull, (const PGresult* result, int row, int column),
             (result, row, column))
CHRONOS_LATE(pq, int, PQgetlength, (const PGresult* result, int row, int column),
             (result, row, column))
CHRONOS_LATE(pq, char*, PQgetvalue, (const PGresult* result, int row, int column),
             (result, row, column))
CHRONOS_LATE(pq, void, PQclear, (PGresult * result), (result))
CHRONOS_LATE(pq, int, PQsetnonblocking, (PGconn * connection, int nonblocking),
             (connection, nonblocking))
CHRONOS_LATE(pq, int, PQflush, (PGconn * connection), (connection))
CHRONOS_LATE(pq, int, PQgetCopyData, (PGconn * connection, char** piece, int async),
             (connection, piece, async))
CHRONOS_LATE(pq, int, PQputCopyData, (PGconn * connection, const char* piece, int size),
             (connection, piece, size))
CHRONOS_LATE(pq, int, PQputCopyEnd, (PGconn * connection, const char* error), (connection, error))
CHRONOS_LATE(pq, char*, PQcmdTuples, (PGresult * result), (result))
CHRONOS_LATE(pq, void, PQfreemem, (void* memory), (memory))
CHRONOS_LATE(pq, char*, PQencryptPasswordConn,
             (PGconn * connection, const char* password, const char* user, const char* algorithm),
             (connection, password, user, algorithm))

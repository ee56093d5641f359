#pragma once

/// The only door to the server: no other file includes its headers, and what differs between
/// PostgreSQL 15 to 19 is settled here. A file that includes this one is on the server's
/// side of the line that engine_process.h describes: any call in it may end in a longjmp, so it
/// holds no object with a destructor and includes no C++ library header.

extern "C" {
#include "postgres.h"

#include "fmgr.h"
// clang-format off: the order of the server's headers is theirs
#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogarchive.h"
#include "access/xlogrecovery.h"
#include "catalog/namespace.h"
#include "catalog/pg_database.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type_d.h"
#include "commands/dbcommands.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "parser/parse_param.h"
#include "pgstat.h"
#include "pgtime.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "postmaster/bgwriter.h"
#include "postmaster/interrupt.h"
#include "postmaster/postmaster.h"
#include "storage/condition_variable.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/pg_lsn.h"
#include "utils/pidfile.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "archive/archive_module.h"
#endif
#include "postmaster/pgarch.h"
// clang-format on
}

// port.h makes them macros for its own functions, which breaks std:: names behind this header.
#undef printf
#undef fprintf
#undef sprintf
#undef snprintf
#undef vprintf
#undef vfprintf
#undef vsprintf
#undef vsnprintf
#undef strerror
#undef strerror_r

/// An SQL-callable function. 15 does not export what PG_FUNCTION_INFO_V1 declares.
#define CHRONOS_FUNCTION(name)                \
    extern "C" {                              \
    PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
    PG_FUNCTION_INFO_V1(name);                \
    }                                         \
    Datum name([[maybe_unused]] PG_FUNCTION_ARGS)

// 19 wants its own names for what older versions take from <signal.h>.
#ifndef PG_SIG_IGN
#define PG_SIG_IGN SIG_IGN
#endif

namespace chronos::extension {

/// What a process waits for, as pg_stat_activity shows it. From 17 on an extension can name it.
enum class Wait { archive, engine, job, launcher };
uint32 wait_event(Wait wait);

}  // namespace chronos::extension

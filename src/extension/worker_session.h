#pragma once

#include "extension/postgres_api.h"

namespace chronos::extension {

/// Connects a background worker to chronos.database, as the cluster's first superuser, with the
/// settings of sessions that nobody may cut short. Raises FATAL if there is no such database.
void connect_worker();

/// For the rest of this transaction: a table that somebody has locked is given up after a while. A
/// record or a schedule must not hold up jobs.
void limit_lock_waits();

/// A transaction with SPI connected, for what is written beside the work proper. begin_record()
/// says whether the extension and so chronos.<table> is there to write into.
bool begin_record(const char* table);
void commit_record();

/// Calls `write`; an error is a warning "could not record <what>", and its transaction is rolled
/// back.
void try_to_record(const char* what, void (*write)(int64), int64 argument);

}  // namespace chronos::extension

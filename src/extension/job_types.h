#pragma once

#include "extension/job_type_table.h"

namespace chronos::extension {

/// nullptr if there is none of that name.
const JobType* find_job_type(const char* name);
/// The same of those that anybody may be asked for who may start jobs; nullptr for others.
const JobType* find_startable_type(const char* name);
/// "full, diff, incr, ...": those that are startable, or only those that are backups. In static
/// memory, until the next call.
const char* job_type_names(bool backups_only);
/// True if a job of the first type does what one of the second is there for: a full backup covers
/// every backup, a diff an incr, and each type itself.
bool job_type_covers(const JobType* done, const JobType* wanted);
bool job_type_takes(const JobType* type, const char* option);

}  // namespace chronos::extension

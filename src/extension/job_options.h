#pragma once

#include "extension/job_types.h"
#include "extension/postgres_api.h"

namespace chronos::extension {

/// Appends `--annotation=key=value` lines for the members of an object of texts. Raises if it is
/// none.
void append_annotations(StringInfo lines, Jsonb* annotations);

/// Appends a line for each option of the object: {"name": "text or number"} is --name=value, true
/// is --name, false --no-name; an array repeats the option, an object is {"key": "value"} pairs as
/// of --annotation. Raises for an option that jobs of the type do not take from SQL.
void append_options(StringInfo lines, const JobType* type, Jsonb* options);

/// Questions of a drill are answered from the data of all tables, be it with yes or no: who may ask
/// them is a decision of its own. Raises an error if the options have some and `role` may not.
void require_may_ask(const JobType* type, Jsonb* options, Oid role);

/// Whether somebody of that name may still ask them when a schedule of his is due: he may have made
/// it before there was such a rule, or have lost the right since.
bool may_still_ask(const JobType* type, Jsonb* options, const char* role);

}  // namespace chronos::extension

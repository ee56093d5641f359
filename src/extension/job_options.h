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

/// Some options are a decision of their own, which an operator does not make: questions of a drill
/// are answered from the data of all tables, and what a backup excludes no restore brings back.
/// Raises an error if there is such an option and `role` may not.
void require_permitted(const JobType* type, Jsonb* options, Oid role);

struct Refusal {
    const char* what;  ///< "role ... is not permitted" `what`
    const char* hint;
};

/// Whether somebody of that name may still have such options when a schedule of his is due: he may
/// have made it before there was such a rule, or have lost the right since. `refusal` says why not.
bool still_permitted(const JobType* type, Jsonb* options, const char* role, Refusal* refusal);

}  // namespace chronos::extension

#pragma once

#include <vector>

#include "chronos/base/result.h"
#include "chronos/db/connection.h"
#include "ops/table/needs.h"
#include "ops/table/past.h"

namespace chronos::ops::table {

/// Whether TableRequest::for_role may have the tables, which the session at home may in any case:
/// as a superuser, or by the privileges of every one who owned one of them at the target and of who
/// owns it now, and where it may make a schema itself. What decides is what the live database says
/// of roles, by their numbers: a name may have been given to somebody else since. Kind access.
Result<> check_rights(db::Connection& home, db::Connection& past, const TableRequest& request,
                      const std::vector<PastTable>& tables);
/// Whether it may have what comes along with them, which the live database has not: by the
/// privileges of every one who owned something of it. After check_rights(). Kind access.
Result<> check_rights_to_needs(db::Connection& home, db::Connection& past,
                               const TableRequest& request, const std::vector<Need>& needs);

}  // namespace chronos::ops::table

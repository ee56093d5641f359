#pragma once

#include <string>

#include "chronos/pgdata/server_config.h"
#include "chronos/repo/outside_config.h"

namespace chronos::ops {

/// What starts the cluster that was restored to `directory`, whose configuration lay outside of it;
/// `place` has its files as they were at the backup. Of a cluster of pg_createcluster (Debian,
/// PGDG) that is pg_ctlcluster, if the configuration which `now` shows in /etc is that of this
/// directory, or could be put there.
std::string start_hint(const std::string& directory, const std::string& place,
                       const repo::OutsideConfig& outside, const pgdata::ConfigSource& now);

}  // namespace chronos::ops

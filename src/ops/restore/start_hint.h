#pragma once

#include <string>

#include "chronos/pgdata/server_config.h"
#include "chronos/repo/side/outside_config.h"

namespace chronos::ops::restore {

/// Whether both lead to one directory, which need not be there yet.
bool is_same_directory(const std::string& a, const std::string& b);

/// Some lines for people: what starts the cluster that was restored to `directory`, whose
/// configuration lay outside of it; `place` has its files as they were at the backup. Of a cluster
/// of pg_createcluster (Debian, PGDG) that is pg_ctlcluster, if the configuration which `now` shows
/// in /etc is that of this directory, or could be put there. What a server would read and this
/// machine does not have is put back by the command first. "" where nothing but `pg_ctl -D` is
/// needed.
std::string start_hint(const std::string& directory, const std::string& place,
                       const repo::OutsideConfig& outside, const pgdata::ConfigSource& now);

}  // namespace chronos::ops::restore

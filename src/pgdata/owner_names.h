#pragma once

#include <sys/types.h>

#include <map>

#include "chronos/base/owner_name.h"

namespace chronos::pgdata {

/// Names of users and groups. A look-up may ask a directory service, so each id is asked for once.
/// One thread.
class OwnerNames {
public:
    OwnerName user(uid_t id);
    OwnerName group(gid_t id);

private:
    std::map<uid_t, OwnerName> users_;
    std::map<gid_t, OwnerName> groups_;
};

}  // namespace chronos::pgdata

#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>

namespace chronos::pgdata {

/// Names of users and groups. A look-up may ask a directory service, so each id is asked for once.
/// One thread.
class OwnerNames {
public:
    const std::optional<std::string>& user(uid_t id);
    const std::optional<std::string>& group(gid_t id);

private:
    std::map<uid_t, std::optional<std::string>> users_;
    std::map<gid_t, std::optional<std::string>> groups_;
};

}  // namespace chronos::pgdata

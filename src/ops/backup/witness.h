#pragma once

#include <map>
#include <string>

#include "chronos/storage/storage.h"

namespace chronos::ops::backup {

/// Remembers objects as this run wrote them, and tells later whether somebody else has been there:
/// whoever goes on with an unfinished backup, or removes it, does not leave them as they are.
/// Another implementation of the format knows nothing of ours but what lies there.
class Witness {
public:
    Result<> note(storage::Storage& storage, const std::string& name);
    /// Kind lock_acquire if one of them is gone or another one.
    Result<> check(storage::Storage& storage) const;

private:
    struct Look {
        std::uint64_t size = 0;
        UnixTime modified = 0;
    };
    std::map<std::string, Look> looks_;
};

}  // namespace chronos::ops::backup

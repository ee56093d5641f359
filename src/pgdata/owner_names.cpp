#include "pgdata/owner_names.h"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

namespace chronos::pgdata {
namespace {

/// `look_up` is getpwuid_r or getgrgid_r: it tells with ERANGE that its space is too small.
template <class Entry, class LookUp, class Name>
std::optional<std::string> name_of(LookUp look_up, Name name) {
    constexpr std::size_t kSizeMax = std::size_t{1} << 20;
    Entry entry{};
    for (std::vector<char> space(4096); space.size() <= kSizeMax; space.resize(space.size() * 2)) {
        Entry* found = nullptr;
        const int code = look_up(&entry, space.data(), space.size(), &found);
        if (code == ERANGE) continue;
        if (code != 0 || found == nullptr) return std::nullopt;
        return std::string(name(*found));
    }
    return std::nullopt;
}

}  // namespace

OwnerName OwnerNames::user(uid_t id) {
    const auto [at, added] = users_.try_emplace(id);
    if (added)
        at->second =
            name_of<passwd>([&](auto... arguments) { return getpwuid_r(id, arguments...); },
                            [](const passwd& entry) { return entry.pw_name; });
    return at->second;
}

OwnerName OwnerNames::group(gid_t id) {
    const auto [at, added] = groups_.try_emplace(id);
    if (added)
        at->second =
            name_of<::group>([&](auto... arguments) { return getgrgid_r(id, arguments...); },
                             [](const ::group& entry) { return entry.gr_name; });
    return at->second;
}

}  // namespace chronos::pgdata

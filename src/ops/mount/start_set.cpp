#include "ops/mount/start_set.h"

#include <string_view>

#include "chronos/base/text.h"

namespace chronos::ops::mount {
namespace {

enum class Role { start, catalog, neither };

Role role_of(std::string_view name) {
    constexpr std::string_view kData = "pg_data/", kDatabases = "base/", kWal = "pg_wal/";
    if (!name.starts_with(kData)) return Role::neither;  // a tablespace
    name.remove_prefix(kData.size());
    if (name.starts_with(kWal)) return Role::neither;
    if (!name.starts_with(kDatabases)) return Role::start;
    const std::string_view file = name.substr(name.rfind('/') + 1);
    if (file == "PG_VERSION" || file == "pg_filenode.map") return Role::start;
    // Those that initdb has made; who was rewritten since has another number, and is asked for.
    constexpr std::uint64_t kFirstOfUsers = 16384;
    const auto number = parse_uint(file);
    return number && *number < kFirstOfUsers ? Role::catalog : Role::neither;
}

}  // namespace

std::vector<const repo::ManifestFile*> start_set(const repo::Manifest& manifest) {
    std::vector<const repo::ManifestFile*> files;
    std::uint64_t stored_bytes = 0;
    for (const Role role : {Role::start, Role::catalog})
        for (const repo::ManifestFile& file : manifest.files) {
            if (role_of(file.name.view()) != role) continue;
            if (role == Role::catalog && !file.bundled()) continue;
            if (stored_bytes + file.repo_size > kStartSetMax) return files;
            stored_bytes += file.repo_size;
            files.push_back(&file);
        }
    return files;
}

}  // namespace chronos::ops::mount

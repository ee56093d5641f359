#include "ops/restore/selective.h"

#include <algorithm>

#include "chronos/base/text.h"

namespace chronos::ops::restore {
namespace {

constexpr std::uint32_t kFirstUserOid = 16384;

/// The database directory that a file lies directly in, and the file's own name; oid 0 if none.
struct DatabaseFile {
    std::uint32_t oid = 0;
    std::string_view name;
};

DatabaseFile database_file(std::string_view file_name) {
    const auto parts = split(file_name, '/');
    const bool in_base = parts.size() == 4 && parts[0] == "pg_data" && parts[1] == "base";
    const bool in_tablespace = parts.size() == 5 && parts[0] == "pg_tblspc";
    if (!in_base && !in_tablespace) return {};
    const auto oid = parse_uint(parts[parts.size() - 2]);
    if (!oid || *oid > UINT32_MAX) return {};
    return {static_cast<std::uint32_t>(*oid), parts.back()};
}

bool is_system(const repo::Manifest& manifest, std::uint32_t oid) {
    if (oid < kFirstUserOid) return true;
    return std::any_of(manifest.databases.begin(), manifest.databases.end(), [&](const auto& item) {
        return item.oid == oid &&
               (item.name == "postgres" || item.name == "template0" || item.name == "template1");
    });
}

std::set<std::uint32_t> known_databases(const repo::Manifest& manifest) {
    std::set<std::uint32_t> known;
    for (const repo::ManifestFile& file : manifest.files) {
        const DatabaseFile part = database_file(file.name);
        if (part.oid != 0 && part.name == "PG_VERSION") known.insert(part.oid);
    }
    for (const repo::ManifestDatabase& database : manifest.databases)
        if (is_system(manifest, database.oid)) known.insert(database.oid);
    return known;
}

/// By oid or name; 0 if the backup has no such database.
std::uint32_t find_database(const repo::Manifest& manifest, const std::set<std::uint32_t>& known,
                            const std::string& text) {
    const auto oid = parse_uint(text);
    if (oid && *oid <= UINT32_MAX && known.contains(static_cast<std::uint32_t>(*oid)))
        return static_cast<std::uint32_t>(*oid);
    for (const repo::ManifestDatabase& database : manifest.databases)
        if (database.name == text && known.contains(database.oid)) return database.oid;
    return 0;
}

Result<std::set<std::uint32_t>> resolve(const std::vector<std::string>& list, const char* verb,
                                        const repo::Manifest& manifest,
                                        const std::set<std::uint32_t>& known) {
    std::set<std::uint32_t> oids;
    for (const std::string& text : list) {
        const std::uint32_t oid = find_database(manifest, known, text);
        if (oid == 0)
            return Error(ErrorKind::db_missing,
                         std::string("database to ") + verb + " '" + text + "' does not exist");
        oids.insert(oid);
    }
    return oids;
}

}  // namespace

Result<std::set<std::uint32_t>> databases_to_zero(const RestoreRequest& request,
                                                  const repo::Manifest& manifest) {
    if (request.db_include.empty() && request.db_exclude.empty()) return std::set<std::uint32_t>{};
    const auto known = known_databases(manifest);
    auto zeroed = CHRONOS_TRY(resolve(request.db_exclude, "exclude", manifest, known));
    const auto included = CHRONOS_TRY(resolve(request.db_include, "include", manifest, known));
    for (std::uint32_t oid : included) {
        if (is_system(manifest, oid))
            return Error(ErrorKind::db_invalid,
                         "system databases (template0, postgres, etc.) are included by default");
        if (zeroed.contains(oid))
            return Error(ErrorKind::db_invalid, "database to include '" + std::to_string(oid) +
                                                    "' is in the exclude list");
    }
    if (!included.empty())
        for (std::uint32_t oid : known)
            if (!is_system(manifest, oid) && !included.contains(oid)) zeroed.insert(oid);
    return zeroed;
}

bool is_zeroed(const std::set<std::uint32_t>& databases, std::string_view file_name) {
    if (databases.empty()) return false;
    const DatabaseFile part = database_file(file_name);
    return part.oid != 0 && part.name != "PG_VERSION" && databases.contains(part.oid);
}

}  // namespace chronos::ops::restore

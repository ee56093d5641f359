#include "flows/selection.h"

#include <optional>
#include <vector>

#include "chronos/base/text.h"
#include "chronos/pgdata/relation_files.h"
#include "chronos/repo/stored_file.h"

namespace chronos::flows {
namespace {

constexpr std::string_view kData = "pg_data/";
constexpr std::uint32_t kClass = 1259;  // pg_class

/// Large objects: they belong to no table.
constexpr bool is_large_object(std::uint32_t number) {
    return number == 2613 || number == 2683;
}

/// A file of a relation in the directory of a database.
struct DatabaseFile {
    std::uint32_t database = 0;
    std::uint32_t number = 0;
    std::string_view name;      ///< in that directory
    std::string_view relation;  ///< the path, without segment and fork
};

/// Of "base/<database>/<number>..." or "pg_tblspc/<oid>/PG_.../<database>/<number>...".
std::optional<DatabaseFile> database_file(std::string_view path, bool any_name = false) {
    const auto parts = split(path, '/');
    const bool in_base = parts.size() == 3 && parts[0] == "base";
    const bool in_tablespace = parts.size() == 5 && parts[0] == "pg_tblspc";
    if (!in_base && !in_tablespace) return std::nullopt;
    const auto database = parse_uint(parts[parts.size() - 2]);
    if (!database || *database > UINT32_MAX) return std::nullopt;
    DatabaseFile file{static_cast<std::uint32_t>(*database), 0, parts.back(), {}};
    const auto number = pgdata::number_of_relation_file(parts.back());
    if (!number && !any_name) return std::nullopt;
    file.number = number.value_or(0);
    const std::size_t directory = path.size() - parts.back().size();
    file.relation = path.substr(0, directory + parts.back().find_first_of("._"));
    if (parts.back().find_first_of("._") == std::string_view::npos) file.relation = path;
    return file;
}

/// As the server has it.
std::string_view path_of(std::string_view name) {
    if (name.starts_with(kData)) name.remove_prefix(kData.size());
    return name;
}

constexpr std::uint64_t kSegmentMax = std::uint64_t{1} << 30;

}  // namespace

bool Selection::is_zeroed(std::string_view name) const {
    return is_zeroed_relation(path_of(name));
}

bool Selection::is_zeroed_relation(std::string_view path) const {
    if (everything_) return false;
    const auto file = database_file(path);
    if (!file || relations_.contains(file->relation)) return false;
    const auto database = databases_.find(file->database);
    if (database == databases_.end()) return true;
    if (file->number < pgdata::kFirstUserNumber) return is_large_object(file->number);
    return !database->second.catalogs.contains(file->number);
}

bool Selection::is_asked(std::string_view path) const {
    const auto file = database_file(path);
    return !file || has_database(file->database);
}

Result<> Selection::find_catalogs(const repo::Repository& repository, const std::string& stanza,
                                  const repo::Manifest& manifest) {
    // By database: its map, and files by number.
    struct Files {
        const repo::ManifestFile* map = nullptr;
        std::multimap<std::uint32_t, const repo::ManifestFile*> relations;
    };
    std::map<std::uint32_t, Files> wanted;
    for (const repo::ManifestFile& file : manifest.files) {
        const auto found = database_file(path_of(file.name.view()), /*any_name=*/true);
        if (!found) continue;
        const auto database = databases_.find(found->database);
        if (database == databases_.end() || database->second.known) continue;
        Files& files = wanted[found->database];
        if (found->name == "pg_filenode.map") files.map = &file;
        if (found->number != 0 && found->name.find('_') == std::string_view::npos)
            files.relations.emplace(found->number, &file);
    }
    const auto read = [&](const repo::ManifestFile& file) {
        return repo::read_small_file(repository, stanza, manifest, file, kSegmentMax);
    };
    for (const auto& [oid, files] : wanted) {
        Database& database = databases_[oid];
        database.known = true;
        if (files.map == nullptr) continue;
        const std::string map = CHRONOS_TRY(read(*files.map));
        const auto add = [&](const pgdata::RelationFile& relation) {
            if (relation.oid < pgdata::kFirstUserNumber &&
                relation.number >= pgdata::kFirstUserNumber && !is_large_object(relation.oid))
                database.catalogs.insert(relation.number);
        };
        for (const auto& relation : CHRONOS_TRY(pgdata::parse_relation_map(io::bytes(map)))) {
            add(relation);
            if (relation.oid != kClass) continue;
            const auto [begin, end] = files.relations.equal_range(relation.number);
            for (auto segment = begin; segment != end; ++segment) {
                const std::string pages = CHRONOS_TRY(read(*segment->second));
                for (const auto& row : pgdata::relations_in_pages(io::bytes(pages))) add(row);
            }
        }
    }
    return {};
}

}  // namespace chronos::flows

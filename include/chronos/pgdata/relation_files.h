#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/io/stream.h"

namespace chronos::pgdata {

/// The first number that initdb gives to nothing: relations from here on are of users, but a
/// catalog that was rewritten has a file of such a number, too.
inline constexpr std::uint32_t kFirstUserNumber = 16384;

/// Of the name of a relation's file: "16412", "16412.1", "16412_vm"; nullopt of any other.
std::optional<std::uint32_t> number_of_relation_file(std::string_view file_name);

/// Which file a relation has.
struct RelationFile {
    std::uint32_t oid = 0;
    std::uint32_t number = 0;
    bool operator==(const RelationFile&) const = default;
};

/// pg_class and others that are not asked for in pg_class. Source: docs/format/cluster-files.md,
/// Relations. Kind format.
Result<std::vector<RelationFile>> parse_relation_map(io::Bytes content);

/// What the pages of pg_class say, in every version of a row that they still have, whether or not
/// somebody sees it: of PostgreSQL 12 and later. The pages may be of any moment, and torn.
std::vector<RelationFile> relations_in_pages(io::Bytes pages);

}  // namespace chronos::pgdata

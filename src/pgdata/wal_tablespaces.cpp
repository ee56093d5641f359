#include "chronos/pgdata/wal_tablespaces.h"

#include <filesystem>

#include "pgdata/little_endian.h"
#include "pgdata/wal_format.h"

namespace chronos::pgdata {
namespace {

namespace fs = std::filesystem;

constexpr std::uint8_t kCreate = 0x00;
constexpr std::uint8_t kInfoMask = 0xF0;

/// Where a data directory has the tablespace; "" if it has none of that number.
fs::path link_target(const std::string& pg_path, std::uint32_t oid) {
    std::error_code none;
    if (pg_path.empty()) return {};
    return fs::read_symlink(pg_path + "/pg_tblspc/" + std::to_string(oid), none);
}

/// Also of what is a file, or may not be looked at: only what is known to be missing is.
bool is_missing(const fs::path& path) {
    std::error_code code;
    const fs::file_status status = fs::symlink_status(path, code);
    return status.type() == fs::file_type::not_found;
}

}  // namespace

std::optional<TablespaceCreation> parse_tablespace_creation(io::Bytes record, Lsn begin) {
    if (record.size() < wal_record::kHeaderSize || record.size() > kTablespaceRecordMax)
        return std::nullopt;
    const auto info = std::to_integer<std::uint8_t>(record[wal_record::kInfoAt]);
    if (load<std::uint32_t>(record, 0) != record.size() ||
        std::to_integer<std::uint8_t>(record[wal_record::kManagerAt]) !=
            wal_record::kTablespaceManager ||
        (info & kInfoMask) != kCreate || !wal_record::is_intact(record))
        return std::nullopt;
    const auto at = wal_record::data_at(record, record.size());
    if (!at || *at + sizeof(std::uint32_t) >= record.size()) return std::nullopt;
    const std::string_view location = io::text(record.subspan(*at + sizeof(std::uint32_t)));
    return TablespaceCreation{begin, Lsn{load<std::uint64_t>(record, wal_record::kPreviousAt)},
                              load<std::uint32_t>(record, *at),
                              std::string(location.substr(0, location.find('\0')))};
}

bool is_elsewhere(const TablespaceCreation& creation) {
    return creation.location.starts_with('/');
}

std::string in_the_way_of(const TablespaceCreation& creation, const std::string& version_directory,
                          const std::string& pg_path) {
    if (!is_elsewhere(creation)) return "";
    const fs::path place = fs::path(creation.location) / version_directory;
    if (is_missing(place)) return "";
    std::error_code none;
    const fs::path own = link_target(pg_path, creation.oid);
    if (!own.empty() && fs::equivalent(own, creation.location, none)) return "";
    return place.string();
}

}  // namespace chronos::pgdata

#include "chronos/repo/wal_archive.h"

#include <algorithm>
#include <vector>

#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/info.h"

namespace chronos::repo {
namespace {

/// The directory of a file in the archive: anything that begins like a segment lies with it.
std::string directory_of(const std::string& stanza, const std::string& archive_id,
                         std::string_view name) {
    std::string directory = archive_path(stanza) + "/" + archive_id;
    if (name.size() >= pgdata::kWalSegmentNameSize &&
        is_hex_upper(name.substr(0, pgdata::kWalSegmentNameSize)))
        directory += "/" + std::string(wal_directory(name));
    return directory;
}

}  // namespace

std::optional<ArchivedName> parse_archived_name(std::string_view name) {
    constexpr std::string_view kPartial = ".partial";
    ArchivedName parsed;
    parsed.segment = name.substr(0, pgdata::kWalSegmentNameSize);
    if (!pgdata::is_wal_segment(parsed.segment)) return std::nullopt;
    name.remove_prefix(pgdata::kWalSegmentNameSize);
    parsed.partial = name.starts_with(kPartial);
    if (parsed.partial) name.remove_prefix(kPartial.size());
    if (!name.starts_with('-') || name.size() < 1 + crypto::kSha1TextSize) return std::nullopt;
    parsed.checksum = name.substr(1, crypto::kSha1TextSize);
    if (parsed.checksum.find_first_not_of("0123456789abcdef") != std::string_view::npos)
        return std::nullopt;
    const std::string_view extension = name.substr(1 + crypto::kSha1TextSize);
    parsed.compression = compress::compress_type_of_name(extension);
    if (extension != compress::compress_extension(parsed.compression)) return std::nullopt;
    return parsed;
}

bool is_archived_segment(std::string_view name) {
    const auto parsed = parse_archived_name(name);
    return parsed && !parsed->partial;
}

bool is_archived_segment(const storage::Entry& entry) {
    return entry.type == storage::EntryType::file && is_archived_segment(entry.name);
}

bool is_wal_directory(std::string_view name) {
    return name.size() == kWalDirectorySize && is_hex_upper(name);
}

std::string archived_file_object(const std::string& stanza, const std::string& archive_id,
                                 const std::string& name) {
    return directory_of(stanza, archive_id, name) + "/" + name;
}

std::string archived_segment_object(const std::string& stanza, const std::string& archive_id,
                                    const std::string& name, const std::string& checksum,
                                    compress::CompressType compression) {
    return directory_of(stanza, archive_id, name) + "/" + name + "-" + checksum +
           std::string(compress::compress_extension(compression));
}

Result<> check_archive_is_there(const Repository& repository, const std::string& stanza,
                                const std::vector<std::string>& archive_ids) {
    for (const std::string& id : archive_ids)
        if (!CHRONOS_TRY(repository.storage->list(archive_path(stanza) + "/" + id)).empty())
            return {};
    const auto info = load_backup_info(repository, stanza);
    if (!info && info.error().kind() == ErrorKind::not_found) return {};
    if (!info) return info.error();
    for (const std::string& id : archive_ids)
        for (const BackupEntry& backup : info->backups)
            if (id.ends_with("-" + std::to_string(backup.history_id)) &&
                !backup.archive_start.empty())
                return Error(ErrorKind::path_missing,
                             "nothing is in '" +
                                 repository.storage->describe(archive_path(stanza) + "/" + id) +
                                 "', though backup " + backup.label + " of repo" +
                                 std::to_string(repository.key) + " needs WAL from " +
                                 backup.archive_start + " on")
                    .with_hint("Is its disk mounted?")
                    .as_transient();
    return {};
}

Result<std::vector<ArchivedSegment>> list_archived_segment(const Repository& repository,
                                                           const std::string& stanza,
                                                           const std::string& archive_id,
                                                           const std::string& segment) {
    const std::string directory = directory_of(stanza, archive_id, segment);
    const std::vector<storage::Entry> entries =
        CHRONOS_TRY(repository.storage->list(directory, segment + "-"));
    std::vector<ArchivedSegment> found;
    for (const storage::Entry& entry : entries) {
        const auto name = parse_archived_name(entry.name);
        if (entry.type != storage::EntryType::file || !name) continue;
        found.push_back({.segment = segment,
                         .object = directory + "/" + entry.name,
                         .checksum = std::string(name->checksum),
                         .stored_size = entry.size,
                         .compression = name->compression});
    }
    return found;
}

Result<std::optional<ArchivedSegment>> find_archived_segment(const Repository& repository,
                                                             const std::string& stanza,
                                                             const std::string& archive_id,
                                                             std::string_view segment) {
    std::vector<ArchivedSegment> found =
        CHRONOS_TRY(list_archived_segment(repository, stanza, archive_id, std::string(segment)));
    if (found.empty()) return std::optional<ArchivedSegment>{};
    if (found.size() == 1) return std::optional(std::move(found.front()));
    std::vector<std::string> names;
    names.reserve(found.size());
    for (const ArchivedSegment& one : found)
        names.push_back(one.object.substr(one.object.rfind('/') + 1));
    return Error(ErrorKind::archive_duplicate, "duplicates found in archive for WAL segment " +
                                                   std::string(segment) + ": " + join(names, ", "))
        .with_hint("Are multiple primaries archiving to this stanza?");
}

Result<ArchivedSegment> wait_for_archived_segment(
    const Repository& repository, const std::string& stanza, const std::string& archive_id,
    std::string_view segment, std::chrono::milliseconds timeout, const Cancellation& cancel) {
    constexpr std::chrono::milliseconds kPollMax(1000);
    std::chrono::milliseconds poll(20);
    const Deadline deadline(timeout);
    for (;;) {
        std::optional<ArchivedSegment> found =
            CHRONOS_TRY(find_archived_segment(repository, stanza, archive_id, segment));
        if (found) return *std::move(found);
        if (deadline.passed()) break;
        CHRONOS_TRY(cancel.sleep(std::min(poll, deadline.remaining())));
        poll = std::min(poll * 2, kPollMax);
    }
    return Error(ErrorKind::archive_timeout, "WAL segment " + std::string(segment) +
                                                 " was not archived before the " +
                                                 std::to_string(timeout.count()) + "ms timeout")
        .with_hint(
            "Check the archive settings to ensure that all options are correct (especially"
            " the stanza).")
        .with_hint("Check the PostgreSQL server log for errors.")
        .with_hint("Run the 'start' command if the stanza was previously stopped.");
}

Result<std::string> read_archived_segment(const Repository& repository, const std::string& object,
                                          const std::string& pass) {
    io::MemorySink plain(std::size_t{1} << 30);
    CHRONOS_TRY(decode_object(
        repository, object, wal_encoding(repository, pass, compress::compress_type_of_name(object)),
        plain));
    return std::move(plain.content);
}

}  // namespace chronos::repo

#include "chronos/repo/wal_archive.h"

#include <algorithm>
#include <vector>

#include "chronos/base/text.h"

namespace chronos::repo {
namespace {

constexpr std::size_t kSegmentNameSize = 24;
constexpr std::size_t kDirectoryNameSize = 16;
constexpr std::size_t kChecksumSize = 40;

// "<segment>-<sha1>[.ext]"; other names beginning alike are backup history files.
bool is_stored_segment(std::string_view name) {
    if (name.size() < kSegmentNameSize + 1 + kChecksumSize || name[kSegmentNameSize] != '-')
        return false;
    const std::string_view checksum = name.substr(kSegmentNameSize + 1, kChecksumSize);
    const std::string_view rest = name.substr(kSegmentNameSize + 1 + kChecksumSize);
    return from_hex(checksum).has_value() &&
           compress::compress_extension(compress::compress_type_of_name(name)) == rest;
}

}  // namespace

Result<std::optional<ArchivedSegment>> find_archived_segment(const Repository& repository,
                                                             const std::string& stanza,
                                                             const std::string& archive_id,
                                                             std::string_view segment) {
    const std::string directory = archive_path(stanza) + "/" + archive_id + "/" +
                                  std::string(segment.substr(0, kDirectoryNameSize));
    std::vector<storage::Entry> entries =
        CHRONOS_TRY(repository.storage->list(directory, std::string(segment) + "-"));
    std::erase_if(entries, [](const auto& entry) { return !is_stored_segment(entry.name); });
    if (entries.empty()) return std::optional<ArchivedSegment>{};
    if (entries.size() > 1) {
        std::vector<std::string> names;
        for (const auto& entry : entries) names.push_back(entry.name);
        return Error(ErrorKind::archive_duplicate, "duplicates found in archive for WAL segment " +
                                                       std::string(segment) + ": " +
                                                       join(names, ", "))
            .with_hint("Are multiple primaries archiving to this stanza?");
    }
    const storage::Entry& entry = entries.front();
    ArchivedSegment found;
    found.segment = segment;
    found.object = directory + "/" + entry.name;
    found.checksum = entry.name.substr(kSegmentNameSize + 1, kChecksumSize);
    found.stored_size = entry.size;
    found.compression = compress::compress_type_of_name(entry.name);
    return std::optional(std::move(found));
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

}  // namespace chronos::repo

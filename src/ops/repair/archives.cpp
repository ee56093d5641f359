#include "ops/repair/archives.h"

#include <algorithm>

#include "chronos/base/text.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/wal_archive.h"

namespace chronos::ops::repair {
namespace {

/// Keeps the beginning and refuses the rest: of a segment only the header is wanted.
class HeadSink final : public io::Sink {
public:
    Result<> write(io::Bytes in) override {
        const std::size_t left = pgdata::kWalHeaderSize - head_.size();
        head_.insert(head_.end(), in.begin(), in.begin() + std::min(left, in.size()));
        if (head_.size() < pgdata::kWalHeaderSize) return {};
        return Error(ErrorKind::cancelled, "enough");
    }
    Result<> finish() override { return {}; }
    const std::vector<std::byte>& head() const { return head_; }

private:
    std::vector<std::byte> head_;
};

/// nullopt if it is not the beginning of a segment.
Result<std::optional<std::uint64_t>> system_id_of(const Place& place, const std::string& object) {
    const auto source = CHRONOS_TRY(place.storage.open(object));
    HeadSink head;
    repo::Decoder decompressor({.compress_type = compress::compress_type_of_name(object)}, head);
    std::vector<std::byte> buffer(io::kBufferSize);
    for (;;) {
        const std::size_t count = CHRONOS_TRY(source->read(buffer));
        if (count == 0 || !decompressor.write({buffer.data(), count})) break;
    }
    if (head.head().size() < pgdata::kWalHeaderSize) return std::optional<std::uint64_t>();
    const auto header = pgdata::parse_wal_header(head.head());
    return header ? std::optional(header->system_id) : std::optional<std::uint64_t>();
}

/// The first segments, because one may be damaged.
Result<> look_into(const Place& place, bool read_headers, FoundArchive& archive) {
    constexpr int kTries = 5;
    int tries = 0;
    const std::string directory = repo::archive_path(place.stanza) + "/" + archive.id;
    for (const storage::Entry& part : CHRONOS_TRY(place.storage.list(directory))) {
        if (!repo::is_wal_directory(part.name)) continue;
        for (const storage::Entry& entry :
             CHRONOS_TRY(place.storage.list(directory + "/" + part.name))) {
            if (!repo::parse_archived_name(entry.name)) continue;
            archive.has_wal = true;
            if (!read_headers) return {};
            archive.system_id =
                CHRONOS_TRY(system_id_of(place, directory + "/" + part.name + "/" + entry.name));
            if (archive.system_id || ++tries == kTries) return {};
        }
    }
    return {};
}

}  // namespace

Result<std::vector<FoundArchive>> find_archive_ids(const Place& place, bool read_headers) {
    std::vector<FoundArchive> archives;
    for (const storage::Entry& entry :
         CHRONOS_TRY(place.storage.list(repo::archive_path(place.stanza)))) {
        if (entry.type != storage::EntryType::path || !repo::is_archive_id(entry.name)) continue;
        const std::size_t dash = entry.name.find('-');
        FoundArchive archive;
        archive.id = entry.name;
        archive.version = entry.name.substr(0, dash);
        archive.history_id = parse_uint(std::string_view(entry.name).substr(dash + 1)).value_or(0);
        if (archive.history_id == 0) continue;
        CHRONOS_TRY(look_into(place, read_headers, archive));
        archives.push_back(std::move(archive));
    }
    std::ranges::sort(archives, {}, &FoundArchive::history_id);
    return archives;
}

}  // namespace chronos::ops::repair

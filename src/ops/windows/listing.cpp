#include "ops/windows/listing.h"

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/wal_archive.h"

namespace chronos::ops::windows {
namespace {

/// Takes the head of what passes and then says that it is enough.
class HeadSink final : public io::Sink {
public:
    Result<> write(io::Bytes in) override {
        const std::size_t wanted = pgdata::kWalHeaderSize - head.size();
        const io::Bytes part = in.first(std::min(wanted, in.size()));
        head.insert(head.end(), part.begin(), part.end());
        if (head.size() < pgdata::kWalHeaderSize) return {};
        return Error(ErrorKind::cancelled, "the head is read");
    }
    Result<> finish() override { return {}; }
    std::vector<std::byte> head;
};

/// "<directory>/<segment>-<sha1>[.ext]": the segment's name, "" if it is something else.
std::string_view segment_of(std::string_view name) {
    if (name.size() <= repo::kWalDirectorySize || name[repo::kWalDirectorySize] != '/') return {};
    name.remove_prefix(repo::kWalDirectorySize + 1);
    if (!repo::is_archived_segment(name)) return {};
    return name.substr(0, pgdata::kWalSegmentNameSize);
}

/// The only thing that names do not tell.
Result<std::uint32_t> read_segment_size(const repo::Repository& repository,
                                        const std::string& object, const std::string& pass) {
    HeadSink head;
    repo::Decoder decoder(
        repo::wal_encoding(repository, pass, compress::compress_type_of_name(object)), head);
    const auto source = CHRONOS_TRY(repository.storage->open(object));
    const auto pumped = io::pump(*source, decoder, 4096);
    if (!pumped && head.head.size() < pgdata::kWalHeaderSize) return pumped.error();
    return CHRONOS_TRY(pgdata::parse_wal_header(head.head)).segment_size;
}

/// A damaged segment must not hide the truth about all others.
std::uint32_t segment_size_of(const repo::Repository& repository, const std::string& object,
                              const std::string& pass) {
    constexpr std::uint32_t kDefault = std::uint32_t{16} << 20;
    const Result<std::uint32_t> size = read_segment_size(repository, object, pass);
    if (size) return *size;
    log_warn("segments are taken for ones of 16MB, because '" +
             repository.storage->describe(object) + "' cannot be read: " + size.error().message());
    return kDefault;
}

struct Segment {
    std::uint64_t number = 0;
    std::uint64_t size = 0;
    UnixTime modified = 0;
};

std::vector<Run> runs_of(const std::vector<Segment>& segments) {
    std::vector<Run> runs;
    for (const Segment& segment : segments) {
        if (runs.empty() || segment.number > runs.back().end)
            runs.push_back({segment.number, segment.number, 0, 0});
        Run& run = runs.back();
        run.end = segment.number + 1;
        run.stored_bytes += segment.size;
        run.last_stored = std::max(run.last_stored, segment.modified);
    }
    return runs;
}

/// A history that cannot be read hides what is behind the switch, not all the rest.
Result<> load_histories(const repo::Repository& repository, const std::string& stanza,
                        Listing& listing) {
    listing.timelines = CHRONOS_TRY(
        repo::load_timelines(repository, stanza, listing.place.archive_id, listing.cipher_pass));
    for (const auto& [timeline, why] : listing.timelines.damaged)
        log_warn("'" +
                 repository.storage->describe(repo::archived_file_object(
                     stanza, listing.place.archive_id, pgdata::timeline_history_name(timeline))) +
                 "' cannot be read: " + why);
    for (const auto& [timeline, way] : listing.timelines.ways)
        listing.histories[timeline] = pgdata::effective_switches(way.switches);
    return {};
}

}  // namespace

std::string Listing::name(Timeline timeline, std::uint64_t number) const {
    return pgdata::wal_segment_name(timeline, Lsn{number * segment_size}, segment_size);
}

std::uint64_t Listing::number(std::string_view segment) const {
    const std::uint64_t log = std::stoull(std::string(segment.substr(8, 8)), nullptr, 16);
    const std::uint64_t part = std::stoull(std::string(segment.substr(16, 8)), nullptr, 16);
    return log * ((std::uint64_t{1} << 32) / segment_size) + part;
}

const Run* Listing::run_of(Timeline timeline, std::uint64_t number) const {
    const auto found = runs.find(timeline);
    if (found == runs.end()) return nullptr;
    for (const Run& run : found->second)
        if (run.first <= number && number < run.end) return &run;
    return nullptr;
}

Result<Listing> list_archive(const repo::Repository& repository, const std::string& stanza,
                             const std::string& archive_id, const std::string& cipher_pass) {
    Listing listing{{repository.key, archive_id}, cipher_pass, 0, {}, {}, {}};
    CHRONOS_TRY(load_histories(repository, stanza, listing));
    const std::string directory = repo::archive_path(stanza) + "/" + archive_id;
    const auto entries = CHRONOS_TRY(repository.storage->list_tree(directory));
    std::map<Timeline, std::vector<Segment>> segments;
    for (const storage::Entry& entry : entries) {
        const std::string_view segment = segment_of(entry.name);
        if (segment.empty()) continue;
        if (listing.segment_size == 0)
            listing.segment_size =
                segment_size_of(repository, directory + "/" + entry.name, cipher_pass);
        segments[pgdata::timeline_of_segment(segment)].push_back(
            {listing.number(segment), entry.size, entry.modified});
    }
    // Sorted already: names of segments are in the order of their positions.
    for (const auto& [timeline, list] : segments) listing.runs[timeline] = runs_of(list);
    return listing;
}

}  // namespace chronos::ops::windows

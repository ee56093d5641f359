#include "ops/restore/parameters.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/io/worker_pool.h"
#include "chronos/pgdata/server_parameters.h"
#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_extent.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/stored_file.h"
#include "chronos/repo/wal_archive.h"
#include "chronos/storage/forwarding.h"
#include "chronos/storage/parallel.h"
#include "chronos/storage/readable.h"
#include "ops/restore/mapping.h"

namespace chronos::ops::restore {
namespace {

/// Longer than this nobody waits for a plan that finds a target, which would else be missed after
/// everything was restored.
constexpr std::chrono::seconds kTimeMax{30};
/// Raised settings alone are worth less: nobody shall wait for what is seldom there.
constexpr std::chrono::seconds kTimeMaxWithoutTarget{5};
/// No segment is larger.
constexpr std::size_t kSegmentSizeMax = std::size_t{1} << 30;

/// No segment is behind it.
constexpr const char* kNoEnd = "G";

/// Where something of an archive lies.
struct Place {
    const repo::Repository* repository = nullptr;
    std::string pass;  ///< of the archive
    std::string archive_id;
};

/// A segment as an object of an archive.
struct Copy {
    Place place;
    std::string object;
    std::string checksum;  ///< from the name
    compress::CompressType compression = compress::CompressType::none;
    std::uint64_t stored_size = 0;
};

/// A segment of the way: as archives have it, or without one what was streamed of it.
struct Segment {
    std::string name;
    std::vector<Copy> copies;  ///< if one is damaged, archive-get takes another
    std::vector<repo::WalPiece> pieces;
    Place streamed;          ///< where the pieces lie
    bool of_backup = false;  ///< as in WalKnowledge
    /// Where the way leaves the timeline in it: what is behind is not read.
    std::optional<Lsn> left;
};

}  // namespace

struct WalToRead {
    std::vector<repo::Repository> repositories;  ///< those that the segments point to
    std::string stanza;
    std::vector<Segment> segments;
    bool listed = true;  ///< those are all there are
    std::uint32_t segment_size = 0;
    pgdata::WalTarget target;
    std::optional<WalKnowledge::Barrier> barrier;  ///< that the names alone tell of
    Lsn replay_begin;
    std::string version_directory;  ///< of tablespaces: "PG_15_202209061"
    bool writes_nowhere_else = false;
    std::vector<std::string> moved_aside;  ///< such directories, by the restore itself
};

namespace {

/// Whether the WAL is asked for more than settings.
bool seeks_target(const RestorePlan& plan) {
    return plan.type == RecoveryType::time || plan.type == RecoveryType::xid ||
           plan.type == RecoveryType::name;
}

/// The last segment that recovery may read, as it ends on every timeline: that behind the one with
/// the target, should the record at the target begin there, or the server read ahead.
std::string last_wanted(const RestoreRequest& request, const RestorePlan& plan,
                        std::uint32_t segment_size) {
    if (plan.type == RecoveryType::immediate && !plan.manifest.archive_stop.empty())
        return pgdata::next_wal_segment(plan.manifest.archive_stop, segment_size).substr(8);
    if (plan.type != RecoveryType::lsn) return kNoEnd;
    const auto target = Lsn::parse(request.target);
    if (!target) return kNoEnd;
    return pgdata::wal_segment_name_before(1, Lsn{target->value + segment_size}, segment_size)
        .substr(8);
}

/// The legs of the way: of each timeline where it is left, if it is.
using Legs = std::map<Timeline, std::optional<Lsn>>;

Legs legs_of(const TimelinePath& path) {
    Legs legs{{path.backup, std::nullopt}, {path.target, std::nullopt}};
    for (const pgdata::TimelineSwitch& fork : path.switches) legs[fork.parent] = fork.switch_lsn;
    return legs;
}

/// What the archives hold of the way, from the segment on that the backup began in up to a last
/// one; each once.
class SegmentLister {
public:
    SegmentLister(const TimelinePath& path, std::string last, const RestorePlan& plan,
                  WalToRead& wal)
        : legs_(legs_of(path)), last_(std::move(last)), wal_(wal) {
        first_ = plan.manifest.archive_start.substr(8);
        stop_ = plan.manifest.archive_stop.empty() ? first_ : plan.manifest.archive_stop.substr(8);
    }

    void list(const std::vector<ArchiveLocation>& archives) {
        // A segment that is completed meanwhile is in both.
        for (std::size_t i = 0; i < archives.size(); ++i) list_streamed(archives[i], i);
        for (std::size_t i = 0; i < archives.size(); ++i)
            if (!list_archived(archives[i], i)) wal_.listed = false;
        for (auto& [name, segment] : segments_) wal_.segments.push_back(std::move(segment));
        judge_names();
    }

private:
    bool is_on_way(const std::string& name) const {
        const auto leg = legs_.find(pgdata::timeline_of_segment(name));
        if (leg == legs_.end() || name.substr(8) < first_ || name.substr(8) > last_) return false;
        return !leg->second ||
               name <= pgdata::wal_segment_name_before(leg->first, *leg->second, wal_.segment_size);
    }
    Place place_of(const ArchiveLocation& archive, std::size_t index) const {
        return {&wal_.repositories[index], archive.cipher_pass, archive.archive_id};
    }
    Segment& segment_of(const std::string& name) {
        Segment& segment = segments_[name];
        segment.name = name;
        segment.left = legs_.at(pgdata::timeline_of_segment(name));
        segment.of_backup = name.substr(8) < stop_;
        return segment;
    }
    void list_streamed(const ArchiveLocation& archive, std::size_t index) {
        auto pieces = repo::list_wal_pieces(*archive.repository, wal_.stanza, archive.archive_id);
        if (!pieces) {
            wal_.listed = false;
            return;
        }
        for (auto& [name, joined] : repo::joined_by_segment(*std::move(pieces))) {
            if (!is_on_way(name)) continue;
            Segment& segment = segment_of(name);
            // The one that goes farthest, as for archive-get.
            if (!segment.pieces.empty() && segment.pieces.back().end >= joined.back().end) continue;
            segment.pieces = std::move(joined);
            segment.streamed = place_of(archive, index);
        }
    }
    Result<> list_archived(const ArchiveLocation& archive, std::size_t index) {
        storage::Storage& storage = *archive.repository->storage;
        for (const storage::Entry& directory : CHRONOS_TRY(storage.list(archive.directory))) {
            if (!repo::is_wal_directory(directory.name) ||
                directory.name.substr(8) < first_.substr(0, 8) ||
                !legs_.contains(pgdata::timeline_of_segment(directory.name + "00000000")))
                continue;
            const std::string parent = archive.directory + "/" + directory.name;
            for (const storage::Entry& entry : CHRONOS_TRY(storage.list(parent))) {
                const auto name = repo::parse_archived_name(entry.name);
                if (!repo::is_archived_segment(entry) || !is_on_way(std::string(name->segment)))
                    continue;
                Segment& segment = segment_of(std::string(name->segment));
                segment.pieces.clear();
                segment.copies.push_back({place_of(archive, index), parent + "/" + entry.name,
                                          std::string(name->checksum), name->compression,
                                          entry.size});
            }
        }
        return {};
    }
    /// What archive-get refuses without reading any of it.
    std::string flaw_of(const Segment& segment) const {
        const auto differs = std::ranges::find_if(segment.copies, [&](const Copy& copy) {
            return copy.checksum != segment.copies.front().checksum;
        });
        const auto shown = [](const Copy& copy) {
            return "'" + copy.place.repository->storage->describe(copy.object) + "'";
        };
        if (differs != segment.copies.end())
            return "is in the archive with different content, as " + shown(segment.copies.front()) +
                   " and " + shown(*differs);
        if (!segment.copies.empty() && std::ranges::none_of(segment.copies, [](const Copy& copy) {
                return storage::may_read(*copy.place.repository->storage, copy.object);
            }))
            return "cannot be read, permission denied: " + shown(segment.copies.front());
        const bool empty =
            !segment.copies.empty() && std::ranges::all_of(segment.copies, [](const Copy& copy) {
                return copy.stored_size == 0;
            });
        return empty ? "is empty: " + shown(segment.copies.front()) : "";
    }
    void judge_names() {
        for (const Segment& segment : wal_.segments) {
            std::string flaw = flaw_of(segment);
            if (flaw.empty()) continue;
            const Lsn begin = pgdata::wal_segment_start(segment.name, wal_.segment_size);
            if (!wal_.barrier || begin < wal_.barrier->begin)
                wal_.barrier = WalKnowledge::Barrier{segment.name, begin, Lsn{}, std::move(flaw)};
        }
    }

    const Legs legs_;
    const std::string last_;
    std::string first_;
    std::string stop_;  ///< the backup ended in it
    WalToRead& wal_;
    std::map<std::string, Segment> segments_;
};

/// Keeps what comes until it is enough: then whoever writes is stopped.
class BoundedSink final : public io::Sink {
public:
    BoundedSink(std::size_t size_max, const std::function<bool()>& enough)
        : kept_(size_max), enough_(enough) {}
    Result<> write(io::Bytes in) override {
        if (enough_()) return Error(ErrorKind::cancelled, "no time is left for it");
        return kept_.write(in);
    }
    Result<> finish() override { return kept_.finish(); }
    std::string& content() { return kept_.content; }

private:
    io::MemorySink kept_;
    const std::function<bool()>& enough_;
};

Result<> read_object(const Place& place, const std::string& object,
                     compress::CompressType compression, io::Sink& content) {
    return repo::decode_object(*place.repository, object,
                               repo::wal_encoding(*place.repository, place.pass, compression),
                               content);
}

/// Kind checksum: it is not what its name says, nor is what cannot be decoded; archive-get takes
/// another copy then.
Result<std::string> read_copy(const WalToRead& wal, const Segment& segment, const Copy& copy,
                              const std::function<bool()>& enough) {
    BoundedSink sink(kSegmentSizeMax, enough);
    const auto read = read_object(copy.place, copy.object, copy.compression, sink);
    const bool undecodable = !read && (read.error().kind() == ErrorKind::format ||
                                       read.error().kind() == ErrorKind::checksum ||
                                       read.error().kind() == ErrorKind::crypto);
    if (!read && !undecodable) return read.error();
    std::string content = std::move(sink.content());
    const auto header = pgdata::parse_wal_header(io::bytes(content));
    if (undecodable || crypto::sha1_hex(io::bytes(content)) != copy.checksum || !header ||
        header->page_address != pgdata::wal_segment_start(segment.name, wal.segment_size))
        return Error(ErrorKind::checksum,
                     "'" + copy.place.repository->storage->describe(copy.object) + "' is damaged");
    return content;
}

/// Kind checksum if every copy is damaged.
Result<std::string> read_any_copy(const WalToRead& wal, const Segment& segment,
                                  const std::function<bool()>& enough) {
    std::optional<Error> damaged, unread;
    for (const Copy& copy : segment.copies) {
        auto content = read_copy(wal, segment, copy, enough);
        if (content) return content;
        (content.error().kind() == ErrorKind::checksum ? damaged : unread) =
            std::move(content).error();
    }
    return unread ? *std::move(unread) : *std::move(damaged);
}

Result<std::string> read_pieces(const WalToRead& wal, const Segment& segment,
                                const std::function<bool()>& enough) {
    std::string content;
    for (const repo::WalPiece& piece : segment.pieces) {
        const std::size_t size = piece.end - piece.begin;
        BoundedSink sink(size, enough);
        CHRONOS_TRY(read_object(segment.streamed,
                                piece.object(wal.stanza, segment.streamed.archive_id),
                                piece.compression, sink));
        if (sink.content().size() != size)
            return Error(ErrorKind::file_read, "a piece of " + segment.name + " is not whole");
        content += sink.content();
    }
    return content;
}

/// As the server gets it: behind what was streamed, or the way leaves, there are zeros.
Result<std::string> read_segment(const WalToRead& wal, const Segment& segment,
                                 const std::function<bool()>& enough) {
    std::string content = CHRONOS_TRY(segment.copies.empty() ? read_pieces(wal, segment, enough)
                                                             : read_any_copy(wal, segment, enough));
    if (segment.left) {
        const Lsn begin = pgdata::wal_segment_start(segment.name, wal.segment_size);
        const std::uint64_t kept =
            segment.left->value > begin.value ? segment.left->value - begin.value : 0;
        content.resize(std::min<std::uint64_t>(content.size(), kept));
    }
    content.resize(std::max<std::size_t>(content.size(), wal.segment_size));
    return content;
}

pgdata::WalTarget target_of(const RestorePlan& plan) {
    pgdata::WalTarget target;
    target.from = plan.manifest.lsn_stop.value_or(Lsn{});
    if (plan.type == RecoveryType::name) target.name = plan.target_setting;
    // The WAL knows the lower half of a transaction id, without the epoch.
    if (plan.type == RecoveryType::xid)
        target.xid = static_cast<std::uint32_t>(parse_uint(plan.target_setting).value_or(0));
    return target;
}

/// As the backup has it.
void add_control_file(const RestoreRequest& request, RestorePlan& plan) {
    const repo::ManifestFile* file = plan.manifest.find_file("pg_data/global/pg_control");
    if (file == nullptr) return;
    const auto content = repo::read_small_file(request.repositories[plan.repository_index],
                                               request.stanza, plan.manifest, *file, 1u << 16);
    if (!content) return;
    if (const auto found = pgdata::parameters_in_control_file(io::bytes(*content)))
        plan.required_parameters.raise(*found);
}

/// What was read, and what it asks for.
struct WalRead {
    WalKnowledge known;
    pgdata::ServerParameters parameters;
    std::size_t count = 0;
    std::size_t unread = 0;
};

bool goes_on_behind(const WalToRead& wal, std::size_t index) {
    return index + 1 < wal.segments.size() &&
           wal.segments[index + 1].name ==
               pgdata::next_wal_segment(wal.segments[index].name, wal.segment_size);
}

using WalBarrier = WalKnowledge::Barrier;

/// The segment ends early, though the next one follows.
std::optional<WalBarrier> damage_in(const WalToRead& wal, std::size_t index,
                                    const pgdata::WalExtent& extent) {
    const Segment& segment = wal.segments[index];
    if (!goes_on_behind(wal, index) || segment.copies.empty() || extent.whole) return std::nullopt;
    return WalBarrier{segment.name, extent.end, extent.last,
                      "is damaged from " + extent.end.str() + " on, and the WAL goes on behind it"};
}

/// The first of those tablespaces that the server must not make.
std::optional<WalBarrier> first_not_its_own(
    const WalToRead& wal, const Segment& segment,
    const std::vector<pgdata::TablespaceCreation>& created) {
    for (const pgdata::TablespaceCreation& creation : created) {
        if (creation.begin < wal.replay_begin || !pgdata::is_elsewhere(creation)) continue;
        const std::string place = pgdata::in_the_way_of(creation, wal.version_directory, "");
        const bool goes = std::ranges::find(wal.moved_aside, place) != wal.moved_aside.end();
        if (!wal.writes_nowhere_else && (place.empty() || goes)) continue;
        WalBarrier barrier{segment.name, creation.begin, std::nullopt, ""};
        barrier.tablespace = creation;
        // What is there would not be the only reason: to move it aside does not help.
        if (!wal.writes_nowhere_else) barrier.in_the_way = place;
        return barrier;
    }
    return std::nullopt;
}

/// Two segments follow each other by name, and their WAL does not.
std::optional<WalBarrier> broken_joint(const WalToRead& wal, std::size_t index,
                                       const std::vector<pgdata::WalExtent>& extents) {
    if (!goes_on_behind(wal, index) || !extents[index].whole) return std::nullopt;
    std::string flaw = pgdata::joint_flaw(extents[index].last_begun, extents[index + 1]);
    if (flaw.empty()) return std::nullopt;
    const std::string& next = wal.segments[index + 1].name;
    return WalBarrier{next, pgdata::wal_segment_start(next, wal.segment_size), extents[index].last,
                      std::move(flaw)};
}

/// The first one is where recovery ends.
void keep_first(std::optional<WalBarrier>& first, std::optional<WalBarrier> found) {
    if (found && (!first || found->begin < first->begin)) first = std::move(found);
}

WalRead read_wal(const WalToRead& wal, unsigned process_max, const std::function<bool()>& enough) {
    WalRead result;
    result.count = wal.segments.size();
    result.known.listed = wal.listed;
    result.known.barrier = wal.barrier;
    for (const Segment& segment : wal.segments)
        result.known.segments.push_back(
            {pgdata::wal_segment_start(segment.name, wal.segment_size), segment.of_backup});
    if (wal.segments.empty()) return result;
    std::mutex mutex;
    const Cancellation never;
    const storage::Storage& storage = *wal.repositories.front().storage;
    io::ByteBudget budget(storage::kBytesInFlightMax);
    std::vector<pgdata::WalExtent> extents(wal.segments.size());
    // What the backup itself needs comes last: only a tablespace, or damage, can be in it.
    const auto own =
        static_cast<std::size_t>(std::ranges::count(wal.segments, true, &Segment::of_backup));
    const auto begun = std::chrono::steady_clock::now();
    const auto look_at = [&](std::size_t turn) -> Result<> {
        const std::size_t index = (turn + own) % wal.segments.size();
        if (enough() ||
            (index < own && std::chrono::steady_clock::now() - begun > kTimeMaxWithoutTarget))
            return {};
        const io::ByteBudget::Share share(budget, wal.segment_size);
        const auto content = read_segment(wal, wal.segments[index], enough);
        if (!content && content.error().kind() == ErrorKind::checksum) {
            const Lsn begin = result.known.segments[index].begin;
            const std::lock_guard lock(mutex);
            keep_first(result.known.barrier,
                       WalBarrier{wal.segments[index].name, begin, Lsn{},
                                  "cannot be used: " + content.error().message()});
            return {};
        }
        // What else cannot be read recovery will say: here it is unread.
        if (!content) return {};
        const auto parameters = pgdata::parameters_in_wal(io::bytes(*content));
        auto found = pgdata::find_target_in_wal(io::bytes(*content), wal.target);
        const auto minimal = pgdata::minimal_wal_from(io::bytes(*content));
        const pgdata::WalExtent extent =
            pgdata::wal_extent(io::bytes(*content), pgdata::WalReader::Depth::records,
                               pgdata::timeline_of_segment(wal.segments[index].name));
        const std::lock_guard lock(mutex);
        if (minimal && *minimal >= wal.target.from)
            keep_first(result.known.barrier,
                       WalBarrier{wal.segments[index].name, *minimal, {}, ""});
        keep_first(result.known.barrier, damage_in(wal, index, extent));
        keep_first(result.known.barrier,
                   first_not_its_own(wal, wal.segments[index], extent.tablespaces));
        extents[index] = extent;
        if (parameters) result.parameters.raise(*parameters);
        result.known.segments[index].read = true;
        result.known.segments[index].target = found;
        return {};
    };
    static_cast<void>(io::parallel_for(storage::workers_for(storage, process_max),
                                       wal.segments.size(), never, look_at));
    for (std::size_t i = 0; i < wal.segments.size(); ++i) {
        keep_first(result.known.barrier, broken_joint(wal, i, extents));
        if (!goes_on_behind(wal, i)) continue;
        if (const auto created = pgdata::tablespace_across(extents[i], extents[i + 1]))
            keep_first(result.known.barrier, first_not_its_own(wal, wal.segments[i], {*created}));
    }
    result.unread = static_cast<std::size_t>(
        std::ranges::count(result.known.segments, false, &WalKnowledge::Segment::read));
    return result;
}

void take(const WalRead& read, RestorePlan& plan) {
    plan.required_parameters.raise(read.parameters);
    if (read.unread == 0) return;
    plan.warnings.push_back(
        std::to_string(read.unread) + " of " + std::to_string(read.count) +
        " WAL segments were not looked at for raised settings and new tablespaces: should recovery "
        "stand still with "
        "'insufficient parameter settings', give the values that the server log names with "
        "--recovery-option=max_connections=... and the like, or in postgresql.auto.conf");
}

/// Whether the cluster that is replaced, or the original beside it, has tablespaces that the backup
/// has not: then the WAL may create them, which has to be known before anything is changed.
bool has_made_tablespaces(const RestoreRequest& request, const RestorePlan& plan) {
    for (const std::string& pg_path : {request.pg_path, data_directory(plan.manifest)})
        for (const Destination& other : other_tablespaces(plan.manifest, pg_path))
            if (std::error_code none; std::filesystem::exists(other.path, none)) return true;
    return false;
}

}  // namespace

bool is_given(const RestoreRequest& request, std::string name) {
    if (request.recovery_options.contains(name)) return true;
    std::replace(name.begin(), name.end(), '_', '-');
    return request.recovery_options.contains(name);
}

bool WalKnowledge::complete_before(Lsn end) const {
    return listed && std::ranges::all_of(segments, [&](const Segment& segment) {
               return segment.read || segment.of_backup || segment.begin >= end;
           });
}

pgdata::TargetInWal WalKnowledge::target_before(Lsn end) const {
    pgdata::TargetInWal result;
    for (const Segment& segment : segments)
        if (segment.begin < end) result.add(segment.target);
    return result;
}

namespace {

Error not_its_own(const pgdata::TablespaceCreation& created, const WalKnowledge::Barrier& barrier) {
    const std::string place = printable(barrier.in_the_way);
    Error error(
        ErrorKind::path_not_empty,
        "recovery would create tablespace " + std::to_string(created.oid) +
            " where the cluster had it at " + created.begin.str() + " (segment " + barrier.segment +
            "), at '" + printable(created.location) + "': " +
            (place.empty() ? "nothing may be written there for a look or a drill"
                           : "'" + place + "' is there, and its files would be overwritten"));
    if (created.before.value != 0)
        error = std::move(error).with_hint("--type=lsn --target=" + created.before.str() +
                                           " recovers up to there.");
    error = std::move(error).with_hint(
        "A backup that was taken after CREATE TABLESPACE restores it to where --tablespace-map "
        "says.");
    if (place.empty()) return error;
    return std::move(error).with_hint(
        "If they are the files of the cluster that this restore replaces: --save-current, without "
        "--delta and --force, moves them aside with it; so does mv '" +
        place + "' ...");
}

Error error_of(const WalKnowledge::Barrier& barrier) {
    const std::string begin = barrier.begin.str();
    const char* later =
        "What came later is in backups that were taken later: leave out --set, or --target.";
    if (barrier.tablespace) return not_its_own(*barrier.tablespace, barrier);
    if (!barrier.before_damage)
        return Error(ErrorKind::backup_set_invalid,
                     "the server ran with wal_level = minimal from " + begin + " (segment " +
                         barrier.segment + ") on: no recovery gets past that")
            .with_hint("--type=lsn --target=" + begin + " --target-exclusive recovers up to there.")
            .with_hint(later);
    Error error(ErrorKind::backup_set_invalid, "WAL segment " + barrier.segment + " " +
                                                   barrier.flaw + ": no recovery gets past that");
    if (barrier.before_damage->value != 0)
        error = std::move(error).with_hint("--type=lsn --target=" + barrier.before_damage->str() +
                                           " recovers up to there.");
    return std::move(error)
        .with_hint(
            "If another copy of it exists (pg_wal of the former primary or of a standby), put that"
            " in the archive in its place.")
        .with_hint(later);
}

}  // namespace

void add_barrier(const WalKnowledge::Barrier& barrier, std::optional<bool> ends_before,
                 RestorePlan& plan) {
    if (ends_before.value_or(false)) return;
    if (plan.type == RecoveryType::standby && !barrier.tablespace) return;
    Error error = error_of(barrier);
    if (barrier.tablespace && ends_before && plan.type != RecoveryType::preserve) {
        plan.problems.push_back({std::move(error)});
        return;
    }
    const bool of_backup = barrier.begin < plan.manifest.lsn_stop.value_or(Lsn{});
    // Of a time, a transaction or a name nobody knows yet on which side of it they are.
    if (!ends_before || (plan.type == RecoveryType::time && !of_backup))
        plan.warnings.push_back(error.message() +
                                "; if the target is not before it, recovery stops there");
    else if (plan.type == RecoveryType::preserve || plan.type == RecoveryType::none ||
             (!barrier.before_damage && major_of(plan.manifest.pg_version) < 14))
        plan.warnings.push_back(error.message());
    else
        plan.problems.push_back({std::move(error)});
}

WalKnowledge look_into_wal(const RestoreRequest& request,
                           const std::vector<ArchiveLocation>& archives, const TimelinePath& path,
                           std::uint32_t segment_size, RestorePlan& plan) {
    if (major_of(plan.manifest.pg_version) < 12 || plan.type == RecoveryType::none) return {};
    add_control_file(request, plan);
    if (archives.empty()) return {};
    const auto wal = std::make_shared<WalToRead>();
    for (const ArchiveLocation& archive : archives)
        wal->repositories.push_back(*archive.repository);
    wal->stanza = request.stanza;
    wal->segment_size = segment_size;
    wal->target = target_of(plan);
    wal->replay_begin = plan.manifest.lsn_start.value_or(Lsn{});
    wal->version_directory = version_directory_of(plan.manifest);
    wal->writes_nowhere_else = request.writes_nowhere_else;
    if (plan.save_current)
        for (const Destination& other : other_tablespaces(plan.manifest, request.pg_path))
            wal->moved_aside.push_back(other.path);
    SegmentLister(path, last_wanted(request, plan, segment_size), plan, *wal).list(archives);
    if (wal->segments.empty()) return {};
    plan.wal_to_read = wal;
    plan.wal_is_read =
        seeks_target(plan) || request.only_plan || has_made_tablespaces(request, plan);
    if (!plan.wal_is_read) {
        WalKnowledge by_name;
        by_name.barrier = wal->barrier;
        return by_name;
    }
    const auto end =
        std::chrono::steady_clock::now() + (seeks_target(plan) ? kTimeMax : kTimeMaxWithoutTarget);
    WalRead read = read_wal(*wal, request.process_max,
                            [end] { return std::chrono::steady_clock::now() > end; });
    take(read, plan);
    return std::move(read.known);
}

Result<> read_way(const WalToRead& wal, unsigned process_max, const Cancellation& cancel,
                  const std::function<bool(const std::string&, io::Bytes)>& take) {
    const io::Workers workers =
        storage::workers_for(*wal.repositories.front().storage, process_max);
    const std::size_t together =
        std::clamp<std::size_t>(storage::kBytesInFlightMax / wal.segment_size, 1,
                                std::max<std::size_t>(1, workers.threads));
    const std::function<bool()> enough = [&] { return !cancel.check(); };
    std::vector<std::string> contents(together);
    for (std::size_t first = 0; first < wal.segments.size(); first += together) {
        const std::size_t count = std::min(together, wal.segments.size() - first);
        const auto read = [&](std::size_t i) -> Result<> {
            const Segment& segment = wal.segments[first + i];
            contents[i] = CHRONOS_TRY_DOING(read_segment(wal, segment, enough),
                                            "read WAL segment " + segment.name);
            return {};
        };
        CHRONOS_TRY(io::parallel_for(workers, count, cancel, read));
        for (std::size_t i = 0; i < count; ++i)
            if (!take(wal.segments[first + i].name, io::bytes(contents[i]))) return {};
    }
    return {};
}

bool ends_in_segment(const RestorePlan& plan, io::Bytes content) {
    if (!seeks_target(plan)) return false;
    const pgdata::TargetInWal target = pgdata::find_target_in_wal(content, target_of(plan));
    if (plan.type != RecoveryType::time) return target.found;
    return plan.target_us && target.last_end_us && *target.last_end_us > *plan.target_us;
}

struct WalReading::State {
    std::shared_ptr<const WalToRead> wal;
    WalRead read;
    std::atomic<bool> copied{false};   ///< from now on somebody waits
    std::atomic<bool> stopped{false};  ///< nobody wants to know any more
    std::atomic<bool> ended{false};
    std::thread thread;
};

WalReading::WalReading(std::unique_ptr<State> state) : state_(std::move(state)) {}

std::unique_ptr<WalReading> WalReading::start(const RestorePlan& plan) {
    if (plan.wal_to_read == nullptr || plan.wal_is_read) return nullptr;
    auto state = std::make_unique<State>();
    state->wal = plan.wal_to_read;
    state->thread = std::thread([shared = state.get()] {
        const auto begun = std::chrono::steady_clock::now();
        const auto enough = [&] {
            const auto taken = std::chrono::steady_clock::now() - begun;
            return shared->stopped || taken > kTimeMax ||
                   (shared->copied && taken > kTimeMaxWithoutTarget);
        };
        // One at a time: the copying is what somebody waits for.
        try {
            shared->read = read_wal(*shared->wal, 1, enough);
        } catch (const std::exception&) {
            shared->read = {};
            shared->read.count = shared->read.unread = shared->wal->segments.size();
        }
        shared->ended = true;
    });
    return std::unique_ptr<WalReading>(new WalReading(std::move(state)));
}

WalReading::~WalReading() {
    state_->stopped = true;
    if (state_->thread.joinable()) state_->thread.join();
}

std::optional<WalKnowledge::Barrier> WalReading::finish(const Cancellation& cancel,
                                                        RestorePlan& plan) {
    state_->copied = true;
    while (!state_->ended && cancel.check())
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    state_->stopped = true;
    state_->thread.join();
    take(state_->read, plan);
    return state_->read.known.barrier;
}

void raise_parameters(const RestoreRequest& request, const pgdata::ServerConfig& config,
                      RestorePlan& plan) {
    const auto settings = pgdata::ServerParameters::settings(major_of(plan.manifest.pg_version));
    for (std::size_t i = 0; i < settings.size(); ++i) {
        const auto& [view, standard] = settings[i];
        const std::string name(view);
        const std::uint32_t required = plan.required_parameters.values[i];
        const std::string text = config.value_of(name, std::to_string(standard));
        // What cannot be read is not high enough for sure.
        const auto configured = pgdata::parse_config_int(text);
        if ((configured && *configured >= required) || is_given(request, name)) continue;
        if (plan.type == RecoveryType::preserve) {
            std::string warning = "recovery needs " + name + " = " + std::to_string(required) +
                                  ", the configuration has " + printable(text);
            if (std::ranges::find(plan.warnings, warning) == plan.warnings.end())
                plan.warnings.push_back(std::move(warning));
            continue;
        }
        plan.other_settings[name] = std::to_string(required);
    }
}

}  // namespace chronos::ops::restore

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <set>

#include "chronos/base/log.h"
#include "chronos/crypto/hash.h"
#include "chronos/ops/archive/stream.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_commits.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/side_files.h"
#include "chronos/repo/wal_archive.h"
#include "ops/archive/targets.h"

namespace chronos::ops::archive {
namespace {

/// A piece lies within one block of the segment: what is replaced is never more than that, however
/// large a segment is.
constexpr std::uint32_t kBlockSize = 16u << 20;
constexpr std::uint32_t kPageSize = 8192;
/// Recovery reads all pieces of a segment: so many of one block are replaced by one, and fewer when
/// the block is complete.
constexpr std::size_t kPiecesMax = 32;
constexpr std::size_t kPiecesOfCompleteMax = 8;

/// A segment of which a repository has pieces.
struct Part {
    std::uint32_t end = 0;   ///< streamed by us so far, without a hole
    bool replaces = true;    ///< older pieces are to go once the next one is stored
    std::size_t pieces = 0;  ///< stored by us of the block that `end` is in
};

/// What is known of one repository.
struct StreamLane {
    const repo::Repository* repository = nullptr;
    bool listed = false;  ///< pieces that were there before us are among `parts`
    bool failed = false;  ///< has been said in the log
    Lsn until;
    std::map<std::string, Part> parts;
};

struct Bytes {
    std::vector<std::byte> content;
    std::int64_t commit_us = 0;
};

/// Bytes [begin, end) of a segment file, and the last commit in them.
Result<Bytes> read_piece(const std::string& path, Lsn segment_start, std::uint32_t begin,
                         std::uint32_t end) {
    const os::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid())
        return system_error(errno == ENOENT ? ErrorKind::not_found : ErrorKind::file_open,
                            "open '" + path + "'", errno);
    // From a page before on: the record of the last commit may begin there.
    const std::uint32_t aligned = begin / kPageSize * kPageSize;
    const std::uint32_t from = aligned >= kPageSize ? aligned - kPageSize : 0;
    const std::uint32_t pages = (end - from + kPageSize - 1) / kPageSize;
    std::vector<std::byte> buffer(std::size_t{pages} * kPageSize);
    const ssize_t count = ::pread(file.get(), buffer.data(), end - from, from);
    if (count != static_cast<ssize_t>(end - from))
        return system_error(ErrorKind::file_read, "read '" + path + "'", count < 0 ? errno : EIO);
    Bytes bytes;
    if (const auto commit = pgdata::last_commit(buffer, Lsn{segment_start.value + from}))
        bytes.commit_us = commit->time_us;
    buffer.resize(end - from);
    buffer.erase(buffer.begin(), buffer.begin() + (begin - from));
    bytes.content = std::move(buffer);
    return bytes;
}

bool exists(const std::string& path) {
    return ::access(path.c_str(), F_OK) == 0;
}

}  // namespace

class WalStreamer::Impl {
public:
    Impl(PushSettings settings, std::string wal_path)
        : settings_(std::move(settings)), wal_path_(std::move(wal_path)) {
        for (const repo::Repository& repository : settings_.repositories) {
            watches_.emplace_back(settings_, repository);
            lanes_.push_back({.repository = &repository, .until = {}, .parts = {}});
        }
    }

    Result<Streamed> ship(Timeline timeline, Lsn flushed);

private:
    Result<> read_control();
    Result<> ship_to(StreamLane& lane, const Target& target, Timeline timeline, Lsn flushed);
    Result<> ship_segment(StreamLane& lane, const Target& target, const std::string& segment,
                          std::uint32_t end);
    Result<std::string> store_bytes(const Target& target, const std::string& segment,
                                    std::uint32_t begin, std::uint32_t end);
    Result<> store_piece(const Target& target, const repo::WalPiece& piece, io::Bytes content);
    Result<> remove_pieces(const Target& target, const std::string& segment,
                           const std::set<std::string>& but, std::uint32_t from);
    Result<> list_pieces(StreamLane& lane, const Target& target);
    Result<> tidy(StreamLane& lane, const Target& target, const std::string& current);
    void open_segments(StreamLane& lane, Timeline timeline, Lsn flushed) const;
    void note(StreamLane& lane, const Result<>& outcome);
    Lsn start_of(const std::string& segment) const;
    bool is_ready(const std::string& segment) const {
        return exists(wal_path_ + "/archive_status/" + segment + ".ready");
    }

    const PushSettings settings_;
    const std::string wal_path_;
    std::optional<pgdata::ControlFile> control_;
    std::deque<StanzaWatch> watches_;
    std::vector<StreamLane> lanes_;
};

Result<> WalStreamer::Impl::read_control() {
    if (!control_) control_ = CHRONOS_TRY(pgdata::read_control_file(settings_.pg_path));
    return {};
}

Lsn WalStreamer::Impl::start_of(const std::string& segment) const {
    const std::uint64_t log = std::stoull(segment.substr(8, 8), nullptr, 16);
    const std::uint64_t part = std::stoull(segment.substr(16, 8), nullptr, 16);
    return Lsn{(log << 32) + part * control_->wal_segment_size};
}

Result<Streamed> WalStreamer::Impl::ship(Timeline timeline, Lsn flushed) {
    CHRONOS_TRY(read_control());
    Streamed streamed;
    std::vector<RepositoryError> errors;
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
        StreamLane& lane = lanes_[i];
        const Result<Target> target = watches_[i].target(repo::ClusterIdentity::of(*control_));
        Result<> shipped =
            target ? ship_to(lane, *target, timeline, flushed) : Result<>(Error(target.error()));
        note(lane, shipped);
        if (!shipped) {
            errors.push_back({lane.repository->key, std::move(shipped).error()});
            continue;
        }
        lane.until = flushed;
        streamed.until = flushed;
        streamed.waiting = std::max(streamed.waiting, lane.parts.size());
    }
    if (errors.size() < lanes_.size()) return streamed;
    return combine(ErrorKind::command, "unable to stream WAL:", errors);
}

/// Once when it begins and once when it is over: the next round comes in seconds.
void WalStreamer::Impl::note(StreamLane& lane, const Result<>& outcome) {
    if (lane.failed == !outcome) return;
    lane.failed = !outcome;
    const std::string repo = "repo" + std::to_string(lane.repository->key);
    if (outcome)
        log_warn("WAL is streamed to " + repo + " again");
    else
        log_warn("WAL is not streamed to " + repo + ": " + outcome.error().message());
}

Result<> WalStreamer::Impl::ship_to(StreamLane& lane, const Target& target, Timeline timeline,
                                    Lsn flushed) {
    if (!lane.listed) CHRONOS_TRY(list_pieces(lane, target));
    const std::uint32_t size = control_->wal_segment_size;
    const std::string current = pgdata::wal_segment_name(timeline, flushed, size);
    open_segments(lane, timeline, flushed);
    std::vector<std::string> open;
    for (const auto& [segment, part] : lane.parts)
        if (pgdata::timeline_of_segment(segment) == timeline && segment <= current)
            open.push_back(segment);
    for (const std::string& segment : open) {
        if (segment != current && !is_ready(segment)) continue;  // archived, or on its way there
        const std::uint32_t end =
            segment == current ? static_cast<std::uint32_t>(flushed.value % size) : size;
        Result<> shipped = ship_segment(lane, target, segment, end);
        // Archived and gone between the two looks.
        if (!shipped && shipped.error().kind() == ErrorKind::not_found && !is_ready(segment) &&
            segment != current)
            continue;
        CHRONOS_TRY(std::move(shipped));
    }
    return tidy(lane, target, current);
}

/// The current segment, and behind the first one that we have begun those that wait for the
/// archiver: the current one is of no use without them.
void WalStreamer::Impl::open_segments(StreamLane& lane, Timeline timeline, Lsn flushed) const {
    const std::uint32_t size = control_->wal_segment_size;
    const std::string current = pgdata::wal_segment_name(timeline, flushed, size);
    if (flushed.value % size > 0) lane.parts.try_emplace(current);
    std::string before = current;
    while (start_of(before).value >= size) {
        before = pgdata::wal_segment_name(timeline, Lsn{start_of(before).value - size}, size);
        if (!is_ready(before)) return;
        lane.parts.try_emplace(before);
    }
}

Result<> WalStreamer::Impl::ship_segment(StreamLane& lane, const Target& target,
                                         const std::string& segment, std::uint32_t end) {
    Part& part = lane.parts[segment];
    std::set<std::string> stored;
    while (part.end < end) {
        const std::uint32_t block = part.end / kBlockSize * kBlockSize;
        const std::uint32_t until = std::min(end, block + kBlockSize);
        const bool complete = until == block + kBlockSize && until < control_->wal_segment_size;
        const bool replaces = part.pieces >= (complete ? kPiecesOfCompleteMax : kPiecesMax);
        const std::uint32_t begin = replaces ? block : part.end;
        const std::string object = CHRONOS_TRY(store_bytes(target, segment, begin, until));
        stored.insert(object);
        part.pieces = until % kBlockSize == 0 ? 0 : replaces ? 1 : part.pieces + 1;
        part.end = until;
        // Only now: until here the older pieces went farther.
        if (replaces) CHRONOS_TRY(remove_pieces(target, segment, stored, begin));
    }
    if (!part.replaces || stored.empty()) return {};
    CHRONOS_TRY(remove_pieces(target, segment, stored, 0));
    part.replaces = false;
    return {};
}

/// Returns the name of the object.
Result<std::string> WalStreamer::Impl::store_bytes(const Target& target, const std::string& segment,
                                                   std::uint32_t begin, std::uint32_t end) {
    repo::WalPiece piece;
    piece.segment = segment;
    piece.begin = begin;
    piece.end = end;
    const Bytes bytes =
        CHRONOS_TRY(read_piece(wal_path_ + "/" + segment, start_of(segment), begin, end));
    piece.commit_us = bytes.commit_us;
    piece.checksum = crypto::sha1_hex(bytes.content);
    piece.compression = settings_.compress_type;
    CHRONOS_TRY(store_piece(target, piece, bytes.content));
    return piece.object(settings_.stanza, target.cluster.archive_id());
}

Result<> WalStreamer::Impl::store_piece(const Target& target, const repo::WalPiece& piece,
                                        io::Bytes content) {
    const std::string name = piece.object(settings_.stanza, target.cluster.archive_id());
    CHRONOS_TRY(repo::check_side_file(*target.repository, name));
    const std::unique_ptr<io::Sink> object =
        CHRONOS_TRY(target.repository->storage->create(name, storage::WriteMode::atomic));
    repo::Encoding encoding =
        repo::wal_encoding(*target.repository, target.passphrase, piece.compression);
    encoding.compress_level = settings_.compress_level;
    repo::Encoder encoder(encoding, *object);
    CHRONOS_TRY(encoder.write(content));
    return encoder.finish();
}

/// Those that begin at `from` or behind it.
Result<> WalStreamer::Impl::remove_pieces(const Target& target, const std::string& segment,
                                          const std::set<std::string>& but, std::uint32_t from) {
    const std::string archive_id = target.cluster.archive_id();
    for (const repo::WalPiece& piece : CHRONOS_TRY(
             repo::list_wal_pieces(*target.repository, settings_.stanza, archive_id, segment))) {
        const std::string object = piece.object(settings_.stanza, archive_id);
        if (piece.begin >= from && !but.contains(object))
            CHRONOS_TRY(target.repository->storage->remove(object));
    }
    return {};
}

/// What an engine before us has left.
Result<> WalStreamer::Impl::list_pieces(StreamLane& lane, const Target& target) {
    for (const repo::WalPiece& piece : CHRONOS_TRY(repo::list_wal_pieces(
             *target.repository, settings_.stanza, target.cluster.archive_id())))
        lane.parts.try_emplace(piece.segment);
    lane.listed = true;
    return {};
}

/// Removes the pieces of segments that are in the repository whole. One that is neither there nor
/// waiting stays: it is of another timeline, or was dropped, and the pieces are all there is of it.
Result<> WalStreamer::Impl::tidy(StreamLane& lane, const Target& target,
                                 const std::string& current) {
    for (auto part = lane.parts.begin(); part != lane.parts.end();) {
        const std::string& segment = part->first;
        if (segment == current || is_ready(segment)) {
            ++part;
            continue;
        }
        const auto whole = CHRONOS_TRY(repo::list_archived_segment(
            *target.repository, settings_.stanza, target.cluster.archive_id(), segment));
        // Complete in an instant, the mark comes a moment later.
        const bool settled = !exists(wal_path_ + "/" + segment) ||
                             exists(wal_path_ + "/archive_status/" + segment + ".done");
        if (whole.empty() && !settled) {
            ++part;
            continue;
        }
        if (!whole.empty())
            CHRONOS_TRY(target.repository->storage->remove_tree(
                repo::wal_pieces_path(settings_.stanza, target.cluster.archive_id(), segment)));
        part = lane.parts.erase(part);
    }
    return {};
}

WalStreamer::WalStreamer(PushSettings settings, std::string wal_path)
    : impl_(std::make_unique<Impl>(std::move(settings), std::move(wal_path))) {}
WalStreamer::~WalStreamer() = default;

Result<Streamed> WalStreamer::ship(Timeline timeline, Lsn flushed) {
    return impl_->ship(timeline, flushed);
}

}  // namespace chronos::ops::archive

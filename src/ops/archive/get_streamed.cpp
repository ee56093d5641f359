#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "chronos/base/log.h"
#include "chronos/crypto/hash.h"
#include "chronos/ops/archive/stream.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/archives.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/info.h"
#include "chronos/repo/side/wal_notes.h"
#include "ops/archive/missing.h"
#include "ops/archive/tablespaces.h"
#include "ops/archive/verified_file.h"

namespace chronos::ops::archive {
namespace {

/// The pieces of one archive, from the first byte on without a hole.
struct Chain {
    const repo::Repository* repository = nullptr;
    std::string archive_id;
    std::string passphrase;
    std::vector<repo::WalPiece> pieces;
    std::uint64_t end = 0;  ///< how much of it may be used
};

class StreamedGet {
public:
    StreamedGet(const GetSettings& settings, const std::string& segment,
                const std::string& destination)
        : settings_(settings), segment_(segment), destination_(destination) {}

    Result<GetOutcome> run();

private:
    Result<> search(const repo::Repository& repository);
    Result<std::uint64_t> usable(const Chain& chain);
    Result<> fetch(const Chain& chain, VerifiedFile& file) const;
    Result<> fetch_piece(const Chain& chain, const repo::WalPiece& piece, VerifiedFile& file) const;
    Result<> judge_tablespaces(const std::string& file) const {
        return TablespaceJudge(settings_.pg_path, control_,
                               pgdata::read_recovery_state(settings_.pg_path))
            .judge_file(segment_, file);
    }
    bool is_kept(const Chain& chain) const;
    bool take_kept(const Chain& chain) const;
    std::string unverified() const { return destination_ + ".streamed"; }
    std::string kept() const { return settings_.pg_path + "/pg_wal/" + segment_; }
    Lsn segment_start() const;

    const GetSettings& settings_;
    const std::string& segment_;
    const std::string& destination_;
    pgdata::ControlFile control_;
    Chain best_;
    bool left_here_ = false;  ///< the way of the recovery leaves the timeline in this segment
};

Lsn StreamedGet::segment_start() const {
    return pgdata::wal_segment_start(segment_, control_.wal_segment_size);
}

Result<GetOutcome> StreamedGet::run() {
    control_ = CHRONOS_TRY(pgdata::read_control_file(settings_.pg_path));
    for (const repo::Repository& repository : settings_.repositories)
        CHRONOS_TRY(search(repository));
    if (best_.end == 0) return GetOutcome::missing;
    // A part of it that the server takes for the end of the WAL is no more than a hole, if it is
    // not the end.
    if (best_.end < control_.wal_segment_size && !left_here_)
        if (auto judged = judge_missing_segment(settings_, segment_); !judged) return judged;
    if (is_kept(best_)) {
        if (CHRONOS_TRY(get_wal(settings_, segment_, destination_)) == GetOutcome::found)
            return GetOutcome::found;
        CHRONOS_TRY(judge_tablespaces(kept()));
        if (take_kept(best_)) return GetOutcome::found;
    }
    VerifiedFile file = CHRONOS_TRY(VerifiedFile::create(unverified(), std::nullopt));
    CHRONOS_TRY(fetch(best_, file));
    // Archived while the pieces were being read: then the whole segment is the truth.
    if (CHRONOS_TRY(get_wal(settings_, segment_, destination_)) == GetOutcome::found)
        return GetOutcome::found;
    CHRONOS_TRY(file.extend(control_.wal_segment_size));
    CHRONOS_TRY(file.finish());
    if (Result<> judged = judge_tablespaces(unverified()); !judged) {
        ::unlink(unverified().c_str());
        return std::move(judged).error();
    }
    if (std::rename(unverified().c_str(), destination_.c_str()) != 0) {
        const int error_number = errno;
        ::unlink(unverified().c_str());
        return system_error(ErrorKind::file_move,
                            "rename '" + unverified() + "' to '" + destination_ + "'",
                            error_number);
    }
    log_warn("segment " + segment_ + " is not in the archive; put together from " +
             std::to_string(best_.pieces.size()) + " streamed piece(s) in repo" +
             std::to_string(best_.repository->key) + ", up to " +
             Lsn{segment_start().value + best_.end}.str() + ": the WAL ends there");
    return GetOutcome::found;
}

/// Keeps the chain that goes farthest.
Result<> StreamedGet::search(const repo::Repository& repository) {
    const repo::ArchiveInfo info =
        CHRONOS_TRY(repo::load_archive_info(repository, settings_.stanza));
    const repo::ClusterIdentity cluster = repo::ClusterIdentity::of(control_);
    for (const repo::HistoryEntry& entry :
         repo::archives_of(info.history, cluster.version, cluster.system_id)) {
        Chain chain{&repository, entry.archive_id(), info.cipher_pass, {}, 0};
        chain.pieces = repo::joined_pieces(CHRONOS_TRY(
            repo::list_wal_pieces(repository, settings_.stanza, chain.archive_id, segment_)));
        if (chain.pieces.empty()) continue;
        chain.end = CHRONOS_TRY(usable(chain));
        if (chain.end > best_.end) best_ = std::move(chain);
    }
    return {};
}

/// Up to where the way of the recovery leaves this timeline; where that is not known, up to where
/// any later timeline left it.
Result<std::uint64_t> StreamedGet::usable(const Chain& chain) {
    const pgdata::RecoveryState recovery = pgdata::read_recovery_state(settings_.pg_path);
    if (recovery.leg_of(pgdata::timeline_of_segment(segment_))) {
        const auto kept = bytes_of_the_way(recovery, segment_, control_.wal_segment_size);
        left_here_ = left_here_ || kept.has_value();
        return std::min<std::uint64_t>(chain.pieces.back().end, kept.value_or(UINT64_MAX));
    }
    const std::string directory = repo::archive_path(settings_.stanza) + "/" + chain.archive_id;
    const Timeline own = pgdata::timeline_of_segment(segment_);
    const Lsn start = segment_start();
    std::uint64_t end = chain.pieces.back().end;
    for (const storage::Entry& entry : CHRONOS_TRY(chain.repository->storage->list(directory))) {
        if (!pgdata::is_timeline_history(entry.name) ||
            pgdata::timeline_of_segment(entry.name) <= own)
            continue;
        const std::string text = CHRONOS_TRY(
            repo::read_text(*chain.repository, directory + "/" + entry.name, chain.passphrase));
        for (const pgdata::TimelineSwitch& left :
             CHRONOS_TRY(pgdata::parse_timeline_history(text))) {
            if (left.parent != own || left.switch_lsn.value >= start.value + end) continue;
            log_warn("what was streamed of " + segment_ + " behind " + left.switch_lsn.str() +
                     " is not used: timeline " +
                     std::to_string(pgdata::timeline_of_segment(entry.name)) +
                     " left this one there");
            left_here_ = true;
            end = left.switch_lsn <= start ? 0 : left.switch_lsn.value - start.value;
        }
    }
    return end;
}

Result<> StreamedGet::fetch(const Chain& chain, VerifiedFile& file) const {
    for (const repo::WalPiece& piece : chain.pieces) {
        if (piece.begin >= chain.end) break;
        const std::string object = piece.object(settings_.stanza, chain.archive_id);
        Result<> fetched = fetch_piece(chain, piece, file);
        if (fetched) continue;
        // Gone since it was listed: the whole segment has arrived, or a larger piece.
        const bool gone = fetched.error().kind() == ErrorKind::not_found;
        Error error = std::move(fetched).error().while_doing(
            "get streamed WAL " + chain.repository->storage->describe(object));
        return gone ? std::move(error).as_transient() : error;
    }
    std::vector<std::byte> head(file.head().begin(), file.head().end());
    head.resize(pgdata::kWalHeaderSize);
    return check_segment(head, segment_, control_.wal_segment_size,
                         repo::ClusterIdentity::of(control_));
}

/// Passes on the first bytes of a piece, and counts and hashes all of it.
class PieceSink final : public io::Sink {
public:
    PieceSink(io::Sink& next, std::uint64_t wanted, std::uint64_t size_max)
        : next_(next), wanted_(wanted), size_max_(size_max) {}
    Result<> write(io::Bytes in) override {
        sha1_.update(in);
        size_ += in.size();
        if (size_ > size_max_) return Error(ErrorKind::checksum, "content is longer than it says");
        const io::Bytes part = in.first(std::min<std::uint64_t>(wanted_, in.size()));
        wanted_ -= part.size();
        return next_.write(part);
    }
    Result<> finish() override { return {}; }
    std::uint64_t size() const { return size_; }
    std::string hex() { return sha1_.hex(); }

private:
    io::Sink& next_;
    std::uint64_t wanted_;
    std::uint64_t size_max_;
    std::uint64_t size_ = 0;
    crypto::Sha1 sha1_;
};

Result<> StreamedGet::fetch_piece(const Chain& chain, const repo::WalPiece& piece,
                                  VerifiedFile& file) const {
    const std::uint32_t size = piece.end - piece.begin;
    PieceSink plain(file, std::min<std::uint64_t>(chain.end, piece.end) - piece.begin, size);
    CHRONOS_TRY(repo::decode_object(
        *chain.repository, piece.object(settings_.stanza, chain.archive_id),
        repo::wal_encoding(*chain.repository, chain.passphrase, piece.compression), plain));
    if (plain.size() != size || plain.hex() != piece.checksum)
        return Error(ErrorKind::checksum, "content does not have the checksum " + piece.checksum)
            .with_hint("Without this object the recovery ends with the segment before.");
    return {};
}

/// Whether pg_wal has the segment as the pieces make it: every byte of them by its checksum, and
/// nothing behind.
bool StreamedGet::is_kept(const Chain& chain) const {
    if (chain.end != chain.pieces.back().end) return false;
    const os::FileDescriptor file(
        ::open(kept().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat status = {};
    if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
        status.st_size != static_cast<off_t>(control_.wal_segment_size))
        return false;
    std::vector<std::byte> buffer(std::size_t{1} << 20);
    const auto each = [&](std::uint64_t at, std::uint64_t end, const auto& take) {
        while (at < end) {
            const std::size_t wanted = std::min<std::uint64_t>(buffer.size(), end - at);
            const ssize_t count =
                ::pread(file.get(), buffer.data(), wanted, static_cast<off_t>(at));
            if (count <= 0 || !take(io::Bytes(buffer).first(static_cast<std::size_t>(count))))
                return false;
            at += static_cast<std::uint64_t>(count);
        }
        return true;
    };
    for (const repo::WalPiece& piece : chain.pieces) {
        crypto::Sha1 sha1;
        const bool read = each(piece.begin, piece.end, [&](io::Bytes bytes) {
            sha1.update(bytes);
            return true;
        });
        if (!read || sha1.hex() != piece.checksum) return false;
    }
    return each(chain.end, control_.wal_segment_size, [](io::Bytes bytes) {
        return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
    });
}

/// The server removes the file in pg_wal before it puts this one in its place, so that one file
/// under two names is enough.
bool StreamedGet::take_kept(const Chain& chain) const {
    ::unlink(destination_.c_str());
    if (::link(kept().c_str(), destination_.c_str()) != 0) return false;
    log_info("segment " + segment_ + " is not in the archive; what was streamed of it, up to " +
             Lsn{segment_start().value + chain.end}.str() + ", is still in pg_wal");
    return true;
}

}  // namespace

Result<GetOutcome> get_streamed_wal(const GetSettings& settings, const std::string& segment,
                                    const std::string& destination) {
    return StreamedGet(settings, segment, destination).run();
}

}  // namespace chronos::ops::archive

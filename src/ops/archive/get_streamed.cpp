#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/compress/compress.h"
#include "chronos/crypto/hash.h"
#include "chronos/ops/archive_stream.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/info.h"
#include "chronos/repo/wal_notes.h"
#include "verified_file.h"

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
    Result<std::uint64_t> usable(const Chain& chain) const;
    Result<std::string> read(const Chain& chain) const;
    Result<std::string> read_piece(const Chain& chain, const repo::WalPiece& piece) const;
    Result<> write(const Chain& chain, std::string content) const;
    Lsn segment_start() const;

    const GetSettings& settings_;
    const std::string& segment_;
    const std::string& destination_;
    pgdata::ControlFile control_;
    Chain best_;
};

Lsn StreamedGet::segment_start() const {
    const std::uint64_t log = std::stoull(segment_.substr(8, 8), nullptr, 16);
    const std::uint64_t part = std::stoull(segment_.substr(16, 8), nullptr, 16);
    return Lsn{(log << 32) + part * control_.wal_segment_size};
}

Result<GetOutcome> StreamedGet::run() {
    control_ = CHRONOS_TRY(pgdata::read_control_file(settings_.pg_path));
    for (const repo::Repository& repository : settings_.repositories)
        CHRONOS_TRY(search(repository));
    if (best_.end == 0) return GetOutcome::missing;
    std::string content = CHRONOS_TRY(read(best_));
    // Archived while the pieces were being read: then the whole segment is the truth.
    if (CHRONOS_TRY(get_wal(settings_, segment_, destination_)) == GetOutcome::found)
        return GetOutcome::found;
    CHRONOS_TRY(write(best_, std::move(content)));
    return GetOutcome::found;
}

/// Keeps the chain that goes farthest.
Result<> StreamedGet::search(const repo::Repository& repository) {
    const repo::ArchiveInfo info =
        CHRONOS_TRY(repo::load_archive_info(repository, settings_.stanza));
    const repo::ClusterIdentity cluster = repo::ClusterIdentity::of(control_);
    for (const repo::HistoryEntry& entry : info.history) {
        if (!cluster.is(entry)) continue;
        Chain chain{&repository, entry.archive_id(), info.cipher_pass, {}, 0};
        chain.pieces = repo::joined_pieces(CHRONOS_TRY(
            repo::list_wal_pieces(repository, settings_.stanza, chain.archive_id, segment_)));
        if (chain.pieces.empty()) continue;
        chain.end = CHRONOS_TRY(usable(chain));
        if (chain.end > best_.end) best_ = std::move(chain);
    }
    return {};
}

/// Up to where a later timeline left this one, if one did.
Result<std::uint64_t> StreamedGet::usable(const Chain& chain) const {
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
            end = left.switch_lsn <= start ? 0 : left.switch_lsn.value - start.value;
        }
    }
    return end;
}

Result<std::string> StreamedGet::read(const Chain& chain) const {
    std::string content;
    for (const repo::WalPiece& piece : chain.pieces) {
        const std::string object = piece.object(settings_.stanza, chain.archive_id);
        Result<std::string> bytes = read_piece(chain, piece);
        if (!bytes) {
            // Gone since it was listed: the whole segment has arrived, or a larger piece.
            const bool gone = bytes.error().kind() == ErrorKind::not_found;
            Error error = std::move(bytes).error().while_doing(
                "get streamed WAL " + chain.repository->storage->describe(object));
            return gone ? std::move(error).as_transient() : error;
        }
        content += *bytes;
    }
    content.resize(chain.end);
    return content;
}

Result<std::string> StreamedGet::read_piece(const Chain& chain, const repo::WalPiece& piece) const {
    const std::uint32_t size = piece.end - piece.begin;
    io::MemorySink plain(size);
    const auto decompressor =
        compress::make_decompressor(piece.compression, compress::Form::normal, plain);
    std::unique_ptr<io::Sink> decryptor;
    if (chain.repository->encrypted())
        decryptor =
            crypto::make_decryptor(chain.passphrase, crypto::CipherForm::normal, *decompressor);
    const auto source = CHRONOS_TRY(
        chain.repository->storage->open(piece.object(settings_.stanza, chain.archive_id)));
    CHRONOS_TRY(io::copy(*source, decryptor ? *decryptor : *decompressor));
    if (plain.content.size() != size ||
        crypto::sha1_hex(io::bytes(plain.content)) != piece.checksum)
        return Error(ErrorKind::checksum, "content does not have the checksum " + piece.checksum)
            .with_hint("Without this object the recovery ends with the segment before.");
    return std::move(plain.content);
}

Result<> StreamedGet::write(const Chain& chain, std::string content) const {
    content.resize(control_.wal_segment_size, '\0');
    CHRONOS_TRY(check_segment_header(io::bytes(content).first(pgdata::kWalHeaderSize), segment_,
                                     repo::ClusterIdentity::of(control_)));
    VerifiedFile file = CHRONOS_TRY(VerifiedFile::create(destination_, std::nullopt));
    CHRONOS_TRY(file.write(io::bytes(content)));
    CHRONOS_TRY(file.finish());
    log_warn("segment " + segment_ + " is not in the archive; put together from " +
             std::to_string(chain.pieces.size()) + " streamed piece(s) in repo" +
             std::to_string(chain.repository->key) + ", up to " +
             Lsn{segment_start().value + chain.end}.str() + ": the WAL ends there");
    return {};
}

}  // namespace

Result<GetOutcome> get_streamed_wal(const GetSettings& settings, const std::string& segment,
                                    const std::string& destination) {
    return StreamedGet(settings, segment, destination).run();
}

}  // namespace chronos::ops::archive

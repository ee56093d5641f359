#include "ops/archive/stored_check.h"

#include "chronos/crypto/hash.h"
#include "chronos/repo/encoding.h"
#include "chronos/storage/durable.h"

namespace chronos::ops::archive {
namespace {

/// Of what is stored, and not of the way to it.
bool is_damage(ErrorKind kind) {
    return kind == ErrorKind::crypto || kind == ErrorKind::format || kind == ErrorKind::checksum ||
           kind == ErrorKind::not_found;
}

Result<std::string> content_sha1(const Target& target, const repo::ArchivedSegment& stored) {
    io::NullSink nowhere;
    crypto::Sha1Sink sha1(nowhere);
    CHRONOS_TRY(repo::decode_object(
        *target.repository, stored.object,
        repo::wal_encoding(*target.repository, target.passphrase, stored.compression), sha1));
    return sha1.hex();
}

}  // namespace

Result<bool> is_stored_for_good(const Target& target, const repo::ArchivedSegment& stored) {
    const auto sha1 = content_sha1(target, stored);
    if (!sha1 && !sha1.error().transient() && is_damage(sha1.error().kind())) return false;
    if (!sha1) return sha1.error();
    if (*sha1 != stored.checksum) return false;
    CHRONOS_TRY(storage::make_durable(*target.repository->storage, stored.object));
    return true;
}

}  // namespace chronos::ops::archive

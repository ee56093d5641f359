#include "ops/archive/stored_check.h"

#include <memory>

#include "chronos/compress/compress.h"
#include "chronos/crypto/cipher.h"
#include "chronos/crypto/hash.h"
#include "chronos/storage/durable.h"

namespace chronos::ops::archive {
namespace {

class Nowhere final : public io::Sink {
public:
    Result<> write(io::Bytes) override { return {}; }
    Result<> finish() override { return {}; }
};

/// Of what is stored, and not of the way to it.
bool is_damage(ErrorKind kind) {
    return kind == ErrorKind::crypto || kind == ErrorKind::format || kind == ErrorKind::checksum ||
           kind == ErrorKind::not_found;
}

Result<std::string> content_sha1(const Target& target, const repo::ArchivedSegment& stored) {
    Nowhere nowhere;
    crypto::Sha1Sink sha1(nowhere);
    const auto decompressor =
        compress::make_decompressor(stored.compression, compress::Form::normal, sha1);
    std::unique_ptr<io::Sink> decryptor;
    if (target.repository->encrypted())
        decryptor =
            crypto::make_decryptor(target.passphrase, crypto::CipherForm::normal, *decompressor);
    const auto source = CHRONOS_TRY(target.repository->storage->open(stored.object));
    CHRONOS_TRY(io::copy(*source, decryptor ? *decryptor : *decompressor));
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

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "chronos/compress/compress.h"
#include "chronos/crypto/cipher.h"
#include "chronos/io/stream.h"
#include "chronos/repo/repository.h"

/// How content becomes what is stored, and the way back: the one place where a codec and a cipher
/// are put together. Source: docs/format/ciphers.md, Passphrases.
namespace chronos::repo {

struct Manifest;
struct ManifestFile;

/// Compression, then encryption, both in one framing.
struct Encoding {
    compress::CompressType compress_type = compress::CompressType::none;
    int compress_level = 0;                             ///< reading does not need it
    std::optional<crypto::Passphrase> passphrase = {};  ///< nullopt: not encrypted
    compress::Form form = compress::Form::normal;       ///< of the codec and of the cipher

    bool encrypted() const { return passphrase.has_value(); }
    /// Whether stored bytes differ from the content.
    bool transforms() const { return compress_type != compress::CompressType::none || encrypted(); }
};

/// Of a text (info file, manifest, history): whole, in normal form, encrypted if the repository is
/// and `pass` is not "" (read_text()).
Encoding text_encoding(const Repository& repository, const std::string& pass,
                       compress::CompressType type = compress::CompressType::none);

/// Of a WAL segment or a part of one in an archive, by its extension; at the codec's usual level.
/// `archive_pass` is ArchiveInfo::cipher_pass.
Encoding wal_encoding(const Repository& repository, const std::string& archive_pass,
                      compress::CompressType type);

/// Of the files of a backup as it is made: compressed alike, encrypted with the passphrase of the
/// set ("": not), in normal form.
Encoding set_encoding(compress::CompressType type, int level, const std::string& set_pass);
/// In which form such a file is as a member of a bundle; outside of one it is the normal form.
compress::Form member_form(const Manifest& manifest);

/// Of a file of a backup that is stored whole. Kind crypto, for this and the next two, if the
/// repository is encrypted and the manifest has no passphrase: read with an empty one it would fail
/// with a message that sends people looking for damage.
Result<Encoding> file_encoding(const Repository& repository, const Manifest& manifest,
                               const ManifestFile& file);
Result<Encoding> super_block_encoding(const Repository& repository, const Manifest& manifest);
Result<Encoding> block_map_encoding(const Repository& repository, const Manifest& manifest);

/// Content to stored bytes, which go to `next`; that must outlive it. A stage as io::Sink says.
class Encoder final : public io::Sink {
public:
    Encoder(const Encoding& encoding, io::Sink& next);
    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;

    Result<> write(io::Bytes in) override { return front_->write(in); }
    Result<> finish() override { return front_->finish(); }

private:
    // From back to front: a stage is destroyed before the one that it writes to.
    std::unique_ptr<io::Sink> encryptor_;
    std::unique_ptr<io::Sink> compressor_;
    io::Sink* front_;
};

/// Stored bytes to content, which goes to `next`; that must outlive it. finish() fails with kind
/// format or crypto if what was written is cut short, damaged, or of another passphrase.
class Decoder final : public io::Sink {
public:
    Decoder(const Encoding& encoding, io::Sink& next);
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    Result<> write(io::Bytes in) override { return front_->write(in); }
    Result<> finish() override { return front_->finish(); }

private:
    // From back to front, as above.
    std::unique_ptr<io::Sink> decompressor_;
    std::unique_ptr<io::Sink> decryptor_;
    io::Sink* front_;
};

/// Reads an object, or a range of it, and hands its content to `sink`, which it finishes.
Result<> decode_object(const Repository& repository, const std::string& object,
                       const Encoding& encoding, io::Sink& sink, storage::Range range = {});

}  // namespace chronos::repo

#include "chronos/repo/encoding.h"

#include "chronos/repo/manifest.h"

namespace chronos::repo {
namespace {

using compress::CompressType;
using compress::Form;

crypto::CipherForm cipher_form(Form form) {
    return form == Form::raw ? crypto::CipherForm::raw : crypto::CipherForm::normal;
}

Encoding at_usual_level(CompressType type) {
    return {.compress_type = type, .compress_level = compress::default_compress_level(type)};
}

Result<Encoding> of_manifest(const Repository& repository, const Manifest& manifest,
                             CompressType type, Form form) {
    if (repository.encrypted() && manifest.cipher_pass.empty())
        return Error(ErrorKind::crypto, "the repository is encrypted but the manifest of backup '" +
                                            manifest.label + "' holds no passphrase");
    Encoding encoding{.compress_type = type, .form = form};
    if (repository.encrypted()) encoding.passphrase.emplace(manifest.cipher_pass);
    return encoding;
}

}  // namespace

Encoding text_encoding(const Repository& repository, const std::string& pass, CompressType type) {
    Encoding encoding = at_usual_level(type);
    if (repository.encrypted() && !pass.empty()) encoding.passphrase.emplace(pass);
    return encoding;
}

// Whatever the passphrase is: in an encrypted repository nothing lies open because one is missing.
Encoding wal_encoding(const Repository& repository, const std::string& archive_pass,
                      CompressType type) {
    Encoding encoding = at_usual_level(type);
    if (repository.encrypted()) encoding.passphrase.emplace(archive_pass);
    return encoding;
}

Encoding set_encoding(CompressType type, int level, const std::string& set_pass) {
    Encoding encoding{.compress_type = type, .compress_level = level};
    if (!set_pass.empty()) encoding.passphrase.emplace(set_pass);
    return encoding;
}

Form member_form(const Manifest& manifest) {
    return manifest.bundle_raw ? Form::raw : Form::normal;
}

Result<Encoding> file_encoding(const Repository& repository, const Manifest& manifest,
                               const ManifestFile& file) {
    return of_manifest(repository, manifest, manifest.options.compress_type,
                       file.bundled() ? member_form(manifest) : Form::normal);
}

Result<Encoding> super_block_encoding(const Repository& repository, const Manifest& manifest) {
    return of_manifest(repository, manifest, manifest.options.compress_type, Form::raw);
}

Result<Encoding> block_map_encoding(const Repository& repository, const Manifest& manifest) {
    return of_manifest(repository, manifest, CompressType::none, Form::raw);
}

Encoder::Encoder(const Encoding& encoding, io::Sink& next) : front_(&next) {
    if (encoding.passphrase) {
        encryptor_ = crypto::make_encryptor(encoding.passphrase->secret(),
                                            cipher_form(encoding.form), *front_);
        front_ = encryptor_.get();
    }
    if (encoding.compress_type != CompressType::none) {
        compressor_ = compress::make_compressor(encoding.compress_type, encoding.compress_level,
                                                encoding.form, *front_);
        front_ = compressor_.get();
    }
}

Decoder::Decoder(const Encoding& encoding, io::Sink& next) : front_(&next) {
    if (encoding.compress_type != CompressType::none) {
        decompressor_ = compress::make_decompressor(encoding.compress_type, encoding.form, *front_);
        front_ = decompressor_.get();
    }
    if (encoding.passphrase) {
        decryptor_ = crypto::make_decryptor(encoding.passphrase->secret(),
                                            cipher_form(encoding.form), *front_);
        front_ = decryptor_.get();
    }
}

Result<> decode_object(const Repository& repository, const std::string& object,
                       const Encoding& encoding, io::Sink& sink, storage::Range range) {
    Decoder decoder(encoding, sink);
    const auto source = CHRONOS_TRY(repository.storage->open(object, range));
    CHRONOS_TRY(io::copy(*source, decoder));
    return {};
}

}  // namespace chronos::repo

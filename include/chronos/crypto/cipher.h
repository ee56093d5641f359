#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "chronos/io/stream.h"

namespace chronos::crypto {

enum class CipherType { none, aes_256_cbc };

std::string_view cipher_type_name(CipherType type);

/// A secret that opens what is encrypted. It is no text, so that it gets into no message by itself,
/// and it does not stay behind in freed memory.
class Passphrase {
public:
    explicit Passphrase(std::string_view secret) : secret_(secret) {}
    Passphrase(const Passphrase& other) = default;
    Passphrase& operator=(const Passphrase& other);
    ~Passphrase();

    std::string_view secret() const { return secret_; }

private:
    std::string secret_;
};

/// `normal` begins with "Salted__" and the salt, `raw` with the salt alone.
/// Source: docs/format/ciphers.md, Layout.
enum class CipherForm { normal, raw };

/// Encrypts with a fresh random salt; `next` must outlive the stage.
std::unique_ptr<io::Sink> make_encryptor(std::string_view passphrase, CipherForm form,
                                         io::Sink& next);

/// Errors are of kind crypto: no header, wrong magic, or padding that does not fit - which is how
/// a wrong passphrase shows most of the time; there is no authentication.
std::unique_ptr<io::Sink> make_decryptor(std::string_view passphrase, CipherForm form,
                                         io::Sink& next);

/// A passphrase as stanza-create and full backups make it: 48 random bytes, 64 base64 characters.
std::string generate_passphrase();

/// Eight lower-case hexadecimal digits, for exec ids and temporary names.
std::string random_hex8();

}  // namespace chronos::crypto

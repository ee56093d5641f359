#include "chronos/crypto/cipher.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <new>
#include <stdexcept>

#include "chronos/base/text.h"

namespace chronos::crypto {
namespace {

constexpr std::string_view kMagic = "Salted__";
constexpr std::size_t kSaltSize = 8;
constexpr std::size_t kBlockSize = 16;
/// Input a call; the output buffer has room for one block more, which the cipher may hold back.
constexpr std::size_t kSliceMax = std::size_t{64} * 1024;

const EVP_CIPHER* cipher_algorithm() {
    static const EVP_CIPHER* algorithm = EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr);
    if (algorithm == nullptr) throw std::runtime_error("OpenSSL offers no AES-256-CBC");
    return algorithm;
}

const EVP_MD* key_digest() {
    static const EVP_MD* algorithm = EVP_MD_fetch(nullptr, "SHA1", nullptr);
    if (algorithm == nullptr) throw std::runtime_error("OpenSSL offers no SHA-1");
    return algorithm;
}

/// What encryption and decryption share: the context, the key made of passphrase and salt, and the
/// way of the output to the next sink.
class CipherContext {
public:
    CipherContext() : context_(EVP_CIPHER_CTX_new()) {
        if (context_ == nullptr) throw std::bad_alloc();
    }
    ~CipherContext() { EVP_CIPHER_CTX_free(context_); }
    CipherContext(const CipherContext&) = delete;
    CipherContext& operator=(const CipherContext&) = delete;

    enum class Direction { decrypt = 0, encrypt = 1 };

    /// Source: docs/format/ciphers.md, Layout.
    void start(Direction direction, std::string_view passphrase, const unsigned char* salt) {
        constexpr int kIterations = 1;
        std::array<unsigned char, 32> key;
        std::array<unsigned char, 16> iv;
        const int key_size =
            EVP_BytesToKey(cipher_algorithm(), key_digest(), salt,
                           reinterpret_cast<const unsigned char*>(passphrase.data()),
                           static_cast<int>(passphrase.size()), kIterations, key.data(), iv.data());
        const int code = EVP_CipherInit_ex2(context_, cipher_algorithm(), key.data(), iv.data(),
                                            static_cast<int>(direction), nullptr);
        OPENSSL_cleanse(key.data(), key.size());
        OPENSSL_cleanse(iv.data(), iv.size());
        if (key_size != static_cast<int>(key.size()) || code != 1)
            throw std::runtime_error("OpenSSL could not start AES-256-CBC");
    }

    Result<> update(io::Bytes in, io::Sink& next) {
        while (!in.empty()) {
            const io::Bytes slice = in.first(std::min(in.size(), kSliceMax));
            in = in.subspan(slice.size());
            int size = 0;
            if (EVP_CipherUpdate(context_, output_.data(), &size,
                                 reinterpret_cast<const unsigned char*>(slice.data()),
                                 static_cast<int>(slice.size())) != 1)
                return Error(ErrorKind::crypto, "OpenSSL could not process cipher data");
            CHRONOS_TRY(pass_on(size, next));
        }
        return {};
    }

    /// False if the padding does not fit (decryption only).
    Result<bool> end(io::Sink& next) {
        int size = 0;
        if (EVP_CipherFinal_ex(context_, output_.data(), &size) != 1) return false;
        CHRONOS_TRY(pass_on(size, next));
        return true;
    }

private:
    Result<> pass_on(int size, io::Sink& next) {
        if (size == 0) return {};
        return next.write(std::as_bytes(std::span(output_)).first(static_cast<std::size_t>(size)));
    }

    EVP_CIPHER_CTX* context_;
    std::array<unsigned char, kSliceMax + kBlockSize> output_;
};

Result<> fill_random(unsigned char* out, std::size_t size) {
    if (RAND_bytes(out, static_cast<int>(size)) != 1)
        return Error(ErrorKind::crypto, "OpenSSL has no random numbers to give");
    return {};
}

class Encryptor final : public io::Sink {
public:
    Encryptor(std::string_view passphrase, CipherForm form, io::Sink& next)
        : passphrase_(passphrase), form_(form), next_(next) {}

    Result<> write(io::Bytes in) override {
        CHRONOS_TRY(begin());
        return context_.update(in, next_);
    }

    Result<> finish() override {
        CHRONOS_TRY(begin());
        if (!CHRONOS_TRY(context_.end(next_)))
            return Error(ErrorKind::internal, "OpenSSL could not end an encryption");
        return next_.finish();
    }

private:
    Result<> begin() {
        if (begun_) return {};
        begun_ = true;
        std::array<unsigned char, kSaltSize> salt;
        CHRONOS_TRY(fill_random(salt.data(), salt.size()));
        context_.start(CipherContext::Direction::encrypt, passphrase_.secret(), salt.data());
        std::string header(form_ == CipherForm::normal ? kMagic : std::string_view());
        header += io::text(std::as_bytes(std::span(salt)));
        return next_.write(io::bytes(header));
    }

    Passphrase passphrase_;
    CipherForm form_;
    io::Sink& next_;
    CipherContext context_;
    bool begun_ = false;
};

class Decryptor final : public io::Sink {
public:
    Decryptor(std::string_view passphrase, CipherForm form, io::Sink& next)
        : passphrase_(passphrase),
          magic_(form == CipherForm::normal ? kMagic : std::string_view()),
          next_(next) {}

    Result<> write(io::Bytes in) override {
        if (header_.size() < header_size()) {
            const std::size_t missing = header_size() - header_.size();
            const io::Bytes part = in.first(std::min(in.size(), missing));
            header_ += io::text(part);
            in = in.subspan(part.size());
            if (header_.size() < header_size()) return {};
            CHRONOS_TRY(begin());
        }
        cipher_bytes_ += in.size();
        return context_.update(in, next_);
    }

    Result<> finish() override {
        if (header_.size() < header_size())
            return Error(ErrorKind::crypto, "cipher header missing: only " +
                                                std::to_string(header_.size()) + " bytes");
        if (cipher_bytes_ == 0 || cipher_bytes_ % kBlockSize != 0)
            return Error(ErrorKind::crypto,
                         "encrypted data is cut short: " + std::to_string(cipher_bytes_) +
                             " bytes behind the header are not whole cipher blocks");
        if (!CHRONOS_TRY(context_.end(next_)))
            return Error(ErrorKind::crypto, "padding of encrypted data does not fit")
                .with_hint("Wrong passphrase, or damaged data?");
        return next_.finish();
    }

private:
    std::size_t header_size() const { return magic_.size() + kSaltSize; }

    Result<> begin() {
        if (!header_.starts_with(magic_))
            return Error(ErrorKind::crypto, "cipher header invalid")
                .with_hint("Is or was the repository encrypted?");
        const std::string salt = header_.substr(magic_.size());
        context_.start(CipherContext::Direction::decrypt, passphrase_.secret(),
                       reinterpret_cast<const unsigned char*>(salt.data()));
        return {};
    }

    Passphrase passphrase_;
    std::string_view magic_;
    io::Sink& next_;
    CipherContext context_;
    std::string header_;
    std::uint64_t cipher_bytes_ = 0;
};

}  // namespace

Passphrase& Passphrase::operator=(const Passphrase& other) {
    Passphrase copy(other);
    secret_.swap(copy.secret_);
    return *this;
}

Passphrase::~Passphrase() {
    OPENSSL_cleanse(secret_.data(), secret_.size());
}

std::string_view cipher_type_name(CipherType type) {
    return type == CipherType::none ? "none" : "aes-256-cbc";
}

std::unique_ptr<io::Sink> make_encryptor(std::string_view passphrase, CipherForm form,
                                         io::Sink& next) {
    return std::make_unique<Encryptor>(passphrase, form, next);
}

std::unique_ptr<io::Sink> make_decryptor(std::string_view passphrase, CipherForm form,
                                         io::Sink& next) {
    return std::make_unique<Decryptor>(passphrase, form, next);
}

std::string generate_passphrase() {
    std::array<unsigned char, 48> random;
    if (!fill_random(random.data(), random.size()))
        throw std::runtime_error("no random numbers for a passphrase");
    std::string text(random.size() / 3 * 4 + 1, '\0');  // EVP_EncodeBlock() adds a NUL
    EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), random.data(),
                    static_cast<int>(random.size()));
    OPENSSL_cleanse(random.data(), random.size());
    text.pop_back();
    return text;
}

std::string random_hex8() {
    std::array<unsigned char, 4> random;
    if (!fill_random(random.data(), random.size()))
        throw std::runtime_error("no random numbers for a name");
    return to_hex(std::as_bytes(std::span(random)));
}

}  // namespace chronos::crypto
